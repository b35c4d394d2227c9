"""Which core launches kernels: a quick one, for as long as steps run that wait for their launches.

In: the cores that this process may use. Out: its thread on the core that did a fixed piece of work
soonest; afterwards it may use all of them again. Needs no permission and changes no setting.

A core whose sibling works for somebody else is slow for seconds, and the scheduler of a virtual
machine neither sees that nor moves a thread away: on one with an H100 (November 2026) 40 to 60% of
16 cores were quick at any time, the others 1.4 to 2 times as slow, and eager steps likewise.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

MOST_CORES = 16
"""So many are tried at once: more only take longer."""

TRIALS = 3
_LOOPS = 10_000


@contextmanager
def on_quick_core() -> Iterator[None]:
    """Keep this thread on a quick core meanwhile, where the system lets it choose."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    try:
        _move(quickest(spread(sorted(allowed)), _tried_s))
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def quickest(cores: Sequence[int], tried_s: Callable[[int], float]) -> int:
    """Return the core whose best of :data:`TRIALS` is least; neighbours slow all but some."""
    return min(cores, key=lambda core: min(tried_s(core) for _ in range(TRIALS)))


def spread(cores: Sequence[int]) -> list[int]:
    """Return at most :data:`MOST_CORES` of ``cores``, evenly spread."""
    count = min(len(cores), MOST_CORES)
    return [cores[number * len(cores) // count] for number in range(count)]


def _tried_s(core: int) -> float:
    """Return how long a fixed piece of work takes on ``core``, in s."""
    _move(core)
    start_s = time.perf_counter()
    total = 0
    for number in range(_LOOPS):
        total += number
    return time.perf_counter() - start_s


def _move(core: int) -> None:
    os.sched_setaffinity(0, {core})
