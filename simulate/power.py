"""The fleet's power over time: peaks, percentiles, and how far it follows the load.

In: state intervals of every replica. Out: watts and shares; within an interval power is level.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.work import Array
from simulate.meter import SERVING, Intervals, State

WINDOWS_S = {"100ms": 0.1, "1s": 1.0, "10s": 10.0, "60s": 60.0}
"""Windows over which power peaks are told, in seconds."""

PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
"""Shares of the time that the fleet draws at most so much."""

SECOND_S = 1.0
"""Windows whose mean power percentiles are over: what sensors and meters resolve."""

LOAD_WINDOW_S = 10.0
"""Windows in which the load of a fleet is told, and the power that goes with it."""

_ROUNDING = 1e-12
"""What sums of seconds may err by, relatively: a share that is met but for it is met."""

_MOST_BINS = 600
_LEVELS = 10
_MOMENTS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Proportionality:
    """How far a fleet's power follows its load: 0 for not at all, 1 for in proportion or better.

    ``dynamic_range`` is 1 - idle / busy power of all replicas (Barroso and Hoelzle, The Case for
    Energy-Proportional Computing, IEEE Computer 2007). ``ep`` is 1 - (A - 1/2) / (1/2), A being the
    area under power over load, both as shares of their highest (Wong and Annavaram, KnightShift,
    MICRO 2012): from idle through the mean power at each tenth of load that the run met to busy.
    """

    dynamic_range: float
    ep: float


def clipped(intervals: Intervals, from_s: float, to_s: float) -> Intervals:
    """Return ``intervals`` as far as they lie within ``from_s`` to ``to_s``."""
    start_s = np.maximum(intervals.start_s, from_s)
    duration_s = np.minimum(intervals.start_s + intervals.duration_s, to_s) - start_s
    return replace(intervals, start_s=start_s, duration_s=duration_s).of(duration_s > 0)


def by_state(intervals: Intervals, amounts: Array | None = None) -> dict[State, float]:
    """Return the sums of ``amounts``, seconds unless given, over the intervals of each state."""
    amounts = intervals.duration_s if amounts is None else amounts
    return {s: math.fsum(amounts[intervals.state == s].tolist()) for s in State}


def peaks_w(intervals: Intervals) -> dict[str, float | None]:
    """Return the fleet's highest mean power over any window of each of :data:`WINDOWS_S`.

    None where the run is shorter than the window.
    """
    moments_s, energy_j = _until(intervals, intervals.power_w)
    return {
        label: _highest_mean_w(moments_s, energy_j, window_s)
        for label, window_s in WINDOWS_S.items()
    }


def percentiles_w(intervals: Intervals) -> dict[str, float]:
    """Return the fleet's mean power that it stays at or below for so much of its seconds.

    The run is cut into seconds from its begin on; the last counts by its length.
    """
    moments_s, energy_j = _until(intervals, intervals.power_w)
    edges_s = _edges(moments_s, SECOND_S)
    weights = np.diff(edges_s)
    power_w = np.diff(np.interp(edges_s, moments_s, energy_j)) / weights
    order = np.argsort(power_w)
    power_w, until = power_w[order], np.cumsum(weights[order])
    needed_s = np.array(list(PERCENTILES.values())) * until[-1]
    places = np.searchsorted(until, needed_s * (1 - _ROUNDING))
    found = power_w[np.minimum(places, power_w.size - 1)].tolist()
    return dict(zip(PERCENTILES, found, strict=True))


def proportionality(intervals: Intervals, replicas: int) -> Proportionality | None:
    """Return how far the power of ``replicas`` replicas follows their load.

    Load is the share of them that serves, over windows of :data:`LOAD_WINDOW_S`; of an engine that
    batches, it does not say how full the batches are. A replica that was never idle counts as
    the others do. None where none ever was, or none was ever anything else.
    """
    is_idle, serves = intervals.state == State.IDLE, np.isin(intervals.state, list(SERVING))
    idle_w, busy_w = (_mean_w(intervals, replicas, of) for of in (is_idle, serves))
    if idle_w is None or busy_w is None or busy_w <= 0:
        return None
    moments_s, energy_j = _until(intervals, intervals.power_w)
    _, busy_s = _until(intervals, serves.astype(np.float64))
    edges_s = _edges(moments_s, LOAD_WINDOW_S)
    weights = np.diff(edges_s)
    load = np.diff(np.interp(edges_s, moments_s, busy_s)) / (replicas * weights)
    level = np.clip(load * _LEVELS, 0, _LEVELS - 1).astype(np.int64)
    total_s, loaded_s, used_j = (
        np.bincount(level, weights=amount, minlength=_LEVELS)
        for amount in (weights, load * weights, np.diff(np.interp(edges_s, moments_s, energy_j)))
    )
    met = (loaded_s > 0) & (loaded_s < total_s)
    at = np.concatenate([[0.0], loaded_s[met] / total_s[met], [1.0]])
    power_w = np.concatenate([[idle_w], used_j[met] / total_s[met], [busy_w]])
    area = float(np.trapezoid(power_w / busy_w, at))
    return Proportionality(1 - idle_w / busy_w, 1 - (area - 0.5) / 0.5)


def bin_width_s(duration_s: float) -> float:
    """Return the smallest of 1, 2, 5, 10, ... seconds that needs at most 600 bins."""
    width_s = 1e-3
    while True:
        for factor in (1, 2, 5):
            if duration_s / (factor * width_s) <= _MOST_BINS:
                return factor * width_s
        width_s *= 10


def binned_power_w(intervals: Intervals, edges_s: Array) -> Array:
    """Return the mean power of all replicas between consecutive edges, shape (edges - 1,)."""
    used_j = np.zeros(edges_s.size)
    order = np.argsort(intervals.replica, kind="stable")
    ends = np.cumsum(np.bincount(intervals.replica))
    for first, last in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
        # One replica's intervals follow each other without gaps: its energy is a broken line.
        mine = order[first:last]
        start_s, duration_s = intervals.start_s[mine], intervals.duration_s[mine]
        energy_j = np.cumsum(intervals.power_w[mine] * duration_s)
        moments_s = np.append(start_s, start_s[-1] + duration_s[-1])
        used_j += np.interp(edges_s, moments_s, np.append(0.0, energy_j))
    return np.asarray(np.diff(used_j) / np.diff(edges_s))


def _mean_w(intervals: Intervals, replicas: int, of: NDArray[np.bool_]) -> float | None:
    """Return the power of all replicas, each at its mean during the intervals ``of``."""
    replica, duration_s = intervals.replica[of], intervals.duration_s[of]
    time_s = np.bincount(replica, weights=duration_s, minlength=replicas)
    energy_j = np.bincount(replica, weights=intervals.energy_j[of], minlength=replicas)
    known = time_s > 0
    return replicas * float((energy_j[known] / time_s[known]).mean()) if known.any() else None


def _until(intervals: Intervals, rate: Array) -> tuple[Array, Array]:
    """Return every moment at which an interval begins or ends, and the sum of ``rate`` until then.

    In place where it can be: a million requests make eight million moments.
    """
    moments_s = np.concatenate([intervals.start_s, intervals.start_s + intervals.duration_s])
    order = np.argsort(moments_s, kind="stable")
    moments_s = moments_s[order]
    change = np.concatenate([rate, -rate])[order]
    del order
    np.cumsum(change, out=change)
    total = np.diff(moments_s, prepend=moments_s[:1])
    total[1:] *= change[:-1]
    np.cumsum(total, out=total)
    return moments_s, total


def _edges(moments_s: Array, window_s: float) -> Array:
    """Return where windows begin and end, those in which nothing changes taken as one."""
    first_s, last_s = moments_s[0], moments_s[-1]
    windows = np.floor((moments_s - first_s) / window_s)
    begins = np.unique(np.concatenate([windows, windows + 1]))
    edges_s = first_s + begins * window_s
    return np.append(edges_s[edges_s < last_s], last_s)


def _highest_mean_w(moments_s: Array, energy_j: Array, window_s: float) -> float | None:
    """Return the highest mean power over any window; None where the run is shorter than it.

    The mean over a sliding window is highest where one of its ends meets a change of power.
    """
    first_s, latest_s = moments_s[0], moments_s[-1] - window_s
    if latest_s < first_s:
        return None
    most_j = 0.0
    for first in range(0, moments_s.size, _MOMENTS_AT_ONCE):
        some_s = moments_s[first : first + _MOMENTS_AT_ONCE]
        starts_s = np.clip(np.concatenate([some_s, some_s - window_s]), first_s, latest_s)
        used_j = np.interp(starts_s + window_s, moments_s, energy_j)
        used_j -= np.interp(starts_s, moments_s, energy_j)
        most_j = max(most_j, float(used_j.max()))
    return most_j / window_s
