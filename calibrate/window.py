"""From samples of a GPU to what one steady window says: energy, power, clock, throttling.

In: :class:`Samples`, columns on one time axis, and the window's bounds. Out: a :class:`Window`.
Pure array code; energy comes from counter edges, never from the averaged power of a short window.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from calibrate.gpu import THROTTLE_WORDS
from phasewatt.errors import UserError

FloatArray = NDArray[np.float64]

MIN_EDGE_SPAN_S = 1.5
"""Shortest span between two counter edges: 15 periods of the 100 ms counter of an H100."""

MIN_AVERAGED_SPAN_S = 5.0
"""Shortest window over which one-second averages are read, after their first second is dropped."""

AVERAGING_S = 1.0
"""Trailing span of nvmlDeviceGetPowerUsage on Ampere and later (nvml.h)."""

BLOCK_S = 0.5
"""Length of the blocks that steady-state detection compares."""

SHORTEST_STEADY_S = MIN_EDGE_SPAN_S + BLOCK_S
"""Shortest span that can be told to be level."""

STEADY_TOLERANCE = 0.03
"""Largest relative distance of a block's power or clock from the mean of the steady part."""


class NoEnergy(UserError):
    """A window from which no energy can be told, with what to change."""


class EnergySource(StrEnum):
    """Where a window's energy comes from, best first."""

    COUNTER = "energy counter"
    INSTANT = "instantaneous power"
    AVERAGED = "averaged power"


@dataclass(frozen=True)
class Samples:
    """Looks at a GPU as columns of one length, ascending in time; NaN where a figure is missing.

    ``time_s`` is on the monotonic clock of the measured process; the other columns are those of
    :class:`calibrate.gpu.Reading`.
    """

    time_s: FloatArray
    energy_j: FloatArray
    power_instant_w: FloatArray
    power_average_w: FloatArray
    sm_mhz: FloatArray
    memory_mhz: FloatArray
    temperature_c: FloatArray
    throttle: NDArray[np.int64]

    def between(self, start_s: float, end_s: float) -> "Samples":
        """Return the samples with ``start_s <= time_s <= end_s``."""
        first = np.searchsorted(self.time_s, start_s, side="left")
        last = np.searchsorted(self.time_s, end_s, side="right")
        return Samples(*(getattr(self, f.name)[first:last] for f in fields(self)))


@dataclass(frozen=True)
class Window:
    """What a window says.

    Attributes:
        start_s, end_s: the span that the energy belongs to (between two counter edges).
        energy_j: energy over that span.
        power_w: energy over span.
        power_se_w: standard error of ``power_w`` from when the counter was seen to move, or from
            the scatter of the samples.
        energy_source: where the energy comes from.
        sm_mhz: mean SM clock over the window's samples, weighted by time.
        sm_mhz_median, sm_mhz_min, sm_mhz_max: its spread.
        memory_mhz: median memory clock.
        temperature_c: mean temperature.
        throttle_shares: share of the window's time under each throttle reason that occurred.
        samples: number of samples in the window.
    """

    start_s: float
    end_s: float
    energy_j: float
    power_w: float
    power_se_w: float
    energy_source: EnergySource
    sm_mhz: float
    sm_mhz_median: float
    sm_mhz_min: float
    sm_mhz_max: float
    memory_mhz: float
    temperature_c: float
    throttle_shares: Mapping[str, float]
    samples: int


def summarise(samples: Samples, start_s: float, end_s: float) -> Window:
    """Return what the samples between ``start_s`` and ``end_s`` say.

    Raises:
        NoEnergy: too few samples, a window too short for the only source there is, or a counter
            that fell.
    """
    inside = samples.between(start_s, end_s)
    if inside.time_s.size < 2:
        raise NoEnergy(
            f"{inside.time_s.size} samples in a window of {end_s - start_s:.2f} s; "
            "lengthen the window or shorten the sampling period"
        )
    source, first_s, last_s, energy_j, power_se_w = _energy(inside)
    weight = _time_weights(inside.time_s)
    lowest_mhz, highest_mhz = float(np.min(inside.sm_mhz)), float(np.max(inside.sm_mhz))
    return Window(
        start_s=first_s,
        end_s=last_s,
        energy_j=energy_j,
        power_w=energy_j / (last_s - first_s),
        power_se_w=power_se_w,
        energy_source=source,
        # A weighted mean of equal values rounds to either side of them: keep it inside their range.
        sm_mhz=float(np.clip(np.average(inside.sm_mhz, weights=weight), lowest_mhz, highest_mhz)),
        sm_mhz_median=float(np.median(inside.sm_mhz)),
        sm_mhz_min=lowest_mhz,
        sm_mhz_max=highest_mhz,
        memory_mhz=float(np.median(inside.memory_mhz)),
        temperature_c=float(np.average(inside.temperature_c, weights=weight)),
        throttle_shares=_throttle_shares(inside.throttle, weight),
        samples=int(inside.time_s.size),
    )


def steady_from_s(samples: Samples, start_s: float, end_s: float) -> float | None:
    """Return the moment from which power and SM clock stay level until ``end_s``, or None.

    The span is cut into blocks of :data:`BLOCK_S`; the steady part is the longest run of blocks up
    to the end of which each is within :data:`STEADY_TOLERANCE` of their mean. None if that run is
    shorter than :data:`MIN_EDGE_SPAN_S` and a block.
    """
    inside = samples.between(start_s, end_s)
    blocks = int((end_s - start_s) / BLOCK_S)
    if blocks * BLOCK_S < SHORTEST_STEADY_S or inside.time_s.size < 2 * blocks:
        return None
    bounds = end_s - BLOCK_S * np.arange(blocks, -1, -1, dtype=np.float64)
    series = (_block_power(inside, bounds), _block_mean(inside.time_s, inside.sm_mhz, bounds))
    shortest = int(np.ceil(SHORTEST_STEADY_S / BLOCK_S))
    for first in range(blocks - shortest + 1):
        if all(_level(values[first:]) for values in series):
            return float(max(bounds[first], start_s))
    return None


def edges(samples: Samples) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return when the energy counter moved: times in s, energies in J, uncertainty of time in s.

    A move is seen between two samples: its time is their middle, its uncertainty the standard
    deviation of a uniform distribution between them.

    Raises:
        NoEnergy: the counter fell, as it does when the driver is loaded again.
    """
    known = np.isfinite(samples.energy_j)
    time_s, energy_j = samples.time_s[known], samples.energy_j[known]
    step_j = np.diff(energy_j)
    if np.any(step_j < 0):
        raise NoEnergy(
            "the GPU's energy counter fell during the window (driver reset?); measure again"
        )
    moved = np.flatnonzero(step_j > 0)
    gap_s = time_s[moved + 1] - time_s[moved]
    return (time_s[moved] + time_s[moved + 1]) / 2, energy_j[moved + 1], gap_s / np.sqrt(12)


_Energy = tuple[EnergySource, float, float, float, float]


def _energy(inside: Samples) -> _Energy:
    """Return source, start and end in s, energy in J, standard error of power in W."""
    moved_s, energy_j, error_s = edges(inside)
    if moved_s.size >= 2 and moved_s[-1] - moved_s[0] >= MIN_EDGE_SPAN_S:
        span_s = moved_s[-1] - moved_s[0]
        used_j = energy_j[-1] - energy_j[0]
        span_error_s = np.hypot(error_s[0], error_s[-1])
        power_se_w = used_j / span_s**2 * span_error_s
        return (
            EnergySource.COUNTER,
            float(moved_s[0]),
            float(moved_s[-1]),
            float(used_j),
            float(power_se_w),
        )
    if np.isfinite(inside.energy_j).any():
        seen = moved_s[-1] - moved_s[0] if moved_s.size else 0.0
        raise NoEnergy(
            f"the energy counter moved over {seen:.2f} s of the window; two moves at least "
            f"{MIN_EDGE_SPAN_S} s apart are needed: lengthen the window"
        )
    if np.isfinite(inside.power_instant_w).all():
        return _integral(EnergySource.INSTANT, inside.time_s, inside.power_instant_w)
    if np.isfinite(inside.power_average_w).all():
        late = inside.time_s >= inside.time_s[0] + AVERAGING_S
        time_s = inside.time_s[late]
        if time_s.size >= 2 and time_s[-1] - time_s[0] >= MIN_AVERAGED_SPAN_S:
            return _integral(EnergySource.AVERAGED, time_s, inside.power_average_w[late])
        raise NoEnergy(
            "this GPU gives only power averaged over one second: use a steady window of at least "
            f"{MIN_AVERAGED_SPAN_S + AVERAGING_S:.0f} s"
        )
    raise NoEnergy("this GPU gives neither an energy counter nor power; nothing to measure")


def _integral(source: EnergySource, time_s: FloatArray, power_w: FloatArray) -> _Energy:
    energy_j = float(np.trapezoid(power_w, time_s))
    # An average over AVERAGING_S makes neighbours repeat each other: count independent ones only.
    span_s = float(time_s[-1] - time_s[0])
    independent = span_s / AVERAGING_S if source is EnergySource.AVERAGED else float(power_w.size)
    spread_w = float(np.std(power_w, ddof=1))
    power_se_w = spread_w / independent**0.5
    return source, float(time_s[0]), float(time_s[-1]), energy_j, power_se_w


def _time_weights(time_s: FloatArray) -> FloatArray:
    """Return the time that each sample stands for: half the gaps to its neighbours."""
    gap_s = np.diff(time_s)
    weight = np.zeros_like(time_s)
    weight[:-1] += gap_s / 2
    weight[1:] += gap_s / 2
    return weight if weight.sum() > 0 else np.ones_like(time_s)


def _throttle_shares(throttle: NDArray[np.int64], weight: FloatArray) -> Mapping[str, float]:
    total = weight.sum()
    shares = {
        word: float(weight[(throttle & bit) != 0].sum() / total)
        for bit, word in THROTTLE_WORDS.items()
    }
    return {word: share for word, share in shares.items() if share > 0}


def _block_power(inside: Samples, bounds: FloatArray) -> FloatArray:
    """Return mean power per block in W; from the counter where there is one."""
    moved_s, energy_j, _ = edges(inside)
    if moved_s.size >= 2:
        # Outside the first and last edge nothing is known: hold the blocks that they cut to theirs.
        clipped = np.clip(bounds, moved_s[0], moved_s[-1])
        return np.diff(np.interp(clipped, moved_s, energy_j)) / np.diff(clipped)
    if np.isfinite(inside.power_instant_w).all():
        return _block_mean(inside.time_s, inside.power_instant_w, bounds)
    return _block_mean(inside.time_s, inside.power_average_w, bounds)


def _block_mean(time_s: FloatArray, values: FloatArray, bounds: FloatArray) -> FloatArray:
    block = np.clip(np.searchsorted(bounds, time_s, side="right") - 1, 0, bounds.size - 2)
    inside = (time_s >= bounds[0]) & (time_s <= bounds[-1])
    mean = np.full(bounds.size - 1, np.nan)
    count = np.bincount(block[inside], minlength=mean.size)
    total = np.bincount(block[inside], weights=values[inside], minlength=mean.size)
    mean[count > 0] = total[count > 0] / count[count > 0]
    return mean


def _level(values: FloatArray) -> bool:
    """Return whether every known block is near the mean; a block without samples is not known."""
    known = values[np.isfinite(values)]
    if known.size == 0:
        return False
    mean = known.mean()
    return bool(np.all(np.abs(known - mean) <= STEADY_TOLERANCE * abs(mean)))
