"""A policy that kills the process that makes it; for ``--policy FILE.py:NAME:ARGUMENT``."""

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Once:
    """Kills the first process that makes it, which leaves the file ``argument`` behind."""

    argument: str
    setting: object = field(repr=False)
    name: str = "once"
    cap_w: float | None = None
    idle_mhz: float | None = None

    def __post_init__(self):
        try:
            Path(self.argument).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def request_mhz(self, phase, work):
        return np.full(work.shape, 1500.0)


def always(argument, setting):
    """Kills every process that makes it."""
    os.kill(os.getpid(), signal.SIGKILL)


def interrupts(argument, setting):
    """Is there when someone presses Ctrl-C."""
    raise KeyboardInterrupt


def breaks(argument, setting):
    """Has a bug."""
    raise ZeroDivisionError("mine")
