"""Which wall a step hits: the host, memory, compute or the power cap; and where that changes.

In: curves, a GPU, steps and the clock asked for. Out: a :class:`Regime` for each step, and the
batch or length at which one regime gives way to the next.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.curves import Curves
from model.gpu import Gpu
from model.work import Array, Phase, Work


class Regime(StrEnum):
    """What sets the pace of a step."""

    LAUNCH_BOUND = "launch-bound"
    MEMORY_BOUND = "memory-bound"
    MIXED = "mixed"
    COMPUTE_BOUND = "compute-bound"
    POWER_CAPPED = "power-capped"


LAUNCH_SHARE = 0.5
"""A step is launch-bound when launches take more than half of its time."""

MEMORY_BELOW = 0.25
"""Elasticity below which a step counts as memory-bound: a clock lower by 10% costs under 2.7% of
time. A copy of memory measures about 0, decode of small batches 0.1 to 0.4."""

COMPUTE_ABOVE = 0.7
"""Elasticity above which a step counts as compute-bound: a clock lower by 10% costs over 7.7% of
time. Large matrix products measure 0.86 to 1."""


@dataclass(frozen=True)
class Boundary:
    """The size (a batch or a length) at which ``before`` gives way to ``after``."""

    size: float
    before: Regime
    after: Regime


def elasticity(curves: Curves, work: Work, sm_mhz: ArrayLike) -> Array:
    """Return how many percent of time each step loses per percent of clock, shape of the work."""
    clock = np.asarray(sm_mhz, dtype=np.float64)
    up, down = curves.time_s(work, clock * (1 + _STEP)), curves.time_s(work, clock * (1 - _STEP))
    return np.asarray(-np.log(up / down) / np.log((1 + _STEP) / (1 - _STEP)))


def regimes(curves: Curves, gpu: Gpu, work: Work, requested_mhz: ArrayLike) -> NDArray[np.str_]:
    """Return the :class:`Regime` of each step when ``requested_mhz`` is asked for, shape (n,).

    Where no lock is asked for (inf), the highest calibrated clock counts as asked for. A step that
    holds it is power-capped all the same where it would draw more than the limit at the GPU's
    highest clock: of such steps none was seen there.

    Forms that do not know launches leave launch-bound steps among the memory-bound: their time
    does not move with the clock either.

    Raises:
        OutOfRange: the clock that would hold lies outside the calibrated domain.
    """
    asked, _ = np.broadcast_arrays(np.asarray(requested_mhz, np.float64), np.empty(work.shape))
    free = np.isinf(asked)
    asked = np.where(free, curves.domain.sm_mhz[1], asked)
    held = np.broadcast_to(gpu.settle(asked, curves, work), work.shape)
    moves = elasticity(curves, work, held)
    found = np.full(work.shape, str(Regime.MIXED), dtype=_NAMES)
    found[moves < MEMORY_BELOW] = Regime.MEMORY_BOUND
    found[moves > COMPUTE_ABOVE] = Regime.COMPUTE_BOUND
    capped = held < np.minimum(asked, curves.domain.sm_mhz[1]) - _TOLERANCE_MHZ
    if gpu.sm_mhz_max is not None and gpu.sm_mhz_max > curves.domain.sm_mhz[1]:
        capped |= free & (curves.power_of(work)(gpu.sm_mhz_max) > gpu.limit_w(curves))
    found[capped] = Regime.POWER_CAPPED
    parts = curves.parts(work, held)
    if parts is not None:
        whole_s = curves.time_s(work, held) / curves.time.scale
        found[parts.launch_s > LAUNCH_SHARE * whole_s] = Regime.LAUNCH_BOUND
    return found


def batch_boundaries(
    curves: Curves, gpu: Gpu, requested_mhz: float, tokens: float
) -> tuple[Boundary, ...]:
    """Return the batches in the calibrated domain at which the regime changes.

    ``tokens`` is the context (decode) or prompt (prefill) of every sequence.

    Raises:
        OutOfRange: the clock that would hold lies outside the calibrated domain.
    """
    return _boundaries(
        curves, gpu, requested_mhz, lambda size: _work(curves, size, tokens), curves.domain.batch
    )


def length_boundaries(
    curves: Curves, gpu: Gpu, requested_mhz: float, batch: float
) -> tuple[Boundary, ...]:
    """Return the prompts or contexts in the calibrated domain at which the regime changes.

    Raises:
        OutOfRange: the clock that would hold lies outside the calibrated domain.
    """
    domain = curves.domain
    span = domain.prompt_tokens if curves.phase is Phase.PREFILL else domain.context_tokens
    assert span is not None, "every phase has a span of lengths"
    return _boundaries(curves, gpu, requested_mhz, lambda size: _work(curves, batch, size), span)


_STEP = 1e-4
_TOLERANCE_MHZ = 1e-3
_NAMES = f"<U{max(map(len, Regime))}"
_GRID = 65
_BISECTIONS = 30


def _boundaries(
    curves: Curves,
    gpu: Gpu,
    requested_mhz: float,
    steps: Callable[[Array], Work],
    span: tuple[float, float],
) -> tuple[Boundary, ...]:
    def at(sizes: Array) -> NDArray[np.str_]:
        return regimes(curves, gpu, steps(sizes), requested_mhz)

    low, high = max(span[0], 1.0), span[1]
    if high <= low:
        return ()
    sizes = np.geomspace(low, high, _GRID)
    found = at(sizes)
    changes = np.flatnonzero(found[1:] != found[:-1])
    below, above = sizes[changes], sizes[changes + 1]
    for _ in range(_BISECTIONS):
        if not changes.size:
            break
        middle = np.sqrt(below * above)
        same = at(middle) == found[changes]
        below, above = np.where(same, middle, below), np.where(same, above, middle)
    return tuple(
        Boundary(float(size), Regime(found[i]), Regime(found[i + 1]))
        for size, i in zip(above, changes.tolist(), strict=True)
    )


def _work(curves: Curves, batch: ArrayLike, tokens: ArrayLike) -> Work:
    make = Work.prefill if curves.phase is Phase.PREFILL else Work.decode
    return make(batch, tokens)
