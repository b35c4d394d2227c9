"""Device time between marks in a stream of work, without stopping the stream.

In: marks between pieces of work. Out: seconds between them. Two real sides: CUDA events, and the
CPU's own clock.
"""

import time
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Device = Any


class Stopwatch(Protocol):
    """Times work on one device."""

    def mark(self) -> None:
        """Note the moment when all work launched before is done."""
        ...

    def wait(self) -> None:
        """Return when all work launched so far is done."""
        ...

    def spans_s(self) -> FloatArray:
        """Wait for the last mark; return the time between each two in s, shape (marks - 1,)."""
        ...


def stopwatch(device: Device, lead: int) -> Stopwatch:
    """Return a stopwatch for ``device`` that lets the host run ``lead`` marks ahead of it.

    The lead keeps the device busy while the host hiccups, and is bounded so that a loop that is
    interrupted ends soon.
    """
    return _Wall() if device.type == "cpu" else _Events(lead)


class _Events:
    def __init__(self, lead: int) -> None:
        self._lead = lead
        self._events: list[torch.cuda.Event] = []

    def mark(self) -> None:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._events.append(event)
        if len(self._events) > self._lead:
            self._events[-1 - self._lead].synchronize()

    def wait(self) -> None:
        torch.cuda.current_stream().synchronize()

    def spans_s(self) -> FloatArray:
        self._events[-1].synchronize()
        pairs = zip(self._events[:-1], self._events[1:], strict=True)
        return np.array([1e-3 * before.elapsed_time(after) for before, after in pairs])


class _Wall:
    def __init__(self) -> None:
        self._marks_s: list[float] = []

    def mark(self) -> None:
        self._marks_s.append(time.perf_counter())

    def wait(self) -> None:
        return

    def spans_s(self) -> FloatArray:
        return np.diff(np.array(self._marks_s))
