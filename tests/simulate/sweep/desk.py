"""What tests of sweeps share: a small trace, a small calibration, an engine that tells."""

from pathlib import Path

import tiny

import simulate
from model.calibration import dump
from simulate.sweep.sweep import prepare_sweep, run_sweep
from simulate.sweep.task import run_task

KILLERS = Path(__file__).parent / "killers.py"

ROWS = "\n".join(f"{t},{p},{o}" for t, p, o in ((0, 900, 8), (1, 100, 3), (2, 2000, 5), (9, 50, 1)))


def furnish(directory):
    """Put ``t.csv`` and ``tiny.json`` into ``directory``."""
    (directory / "t.csv").write_text(f"arrival_s,prompt_tokens,output_tokens\n{ROWS}\n")
    (directory / "tiny.json").write_text(dump(tiny.calibration()))


def words_for(directory, **changes):
    """Words that name what :func:`furnish` has put into ``directory``, with ``changes``."""
    named = {"trace": str(directory / "t.csv"), "calibration": str(directory / "tiny.json")}
    said = {"draws": "0", **named, **{name.replace("_", "-"): v for name, v in changes.items()}}
    return simulate.worded(simulate.default_words(), said)


class Counting:
    """Runs tasks in this process and notes them; cut off after some if asked to be."""

    def __init__(self, cut_off_after=None):
        self.ran = []
        self.cut_off_after = cut_off_after

    def __call__(self, tasks):
        for task in tasks:
            if len(self.ran) == self.cut_off_after:
                raise KeyboardInterrupt
            self.ran.append(task)
            yield run_task(task)


def swept(words, grids=(), seeds=1, directory=None, engine=None, latency="e2e_p95"):
    """The sweep over ``grids``, run by ``engine``."""
    prepared = prepare_sweep(words, simulate.parse_axes(grids), seeds, latency)
    with prepared.store(directory) as store:
        return run_sweep(prepared, store, engine or Counting(), latency)
