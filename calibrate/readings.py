"""What logs say of the readings themselves: two clocks of one step, and one step read again.

In: logs. Out: how far the clock read on the device lies from NVML's, how far points that were
measured more than once lie from one another, on one machine and on two, and how times answered to
the clock where load steered it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import scipy

from calibrate.hosted import told
from calibrate.log import Log, Measured


@dataclass(frozen=True)
class ClockReading:
    """The clock read on the device against the middle of those that NVML showed.

    ``mean``, ``low`` and ``high`` are of device over NVML, less one, over ``points`` points.
    """

    engine: str
    phase: str
    kind: str
    points: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Repeats:
    """Pairs of measurements of one untouched step in different logs, or twice in one.

    ``machines`` is "same" or "different"; each figure is the median and the largest relative
    difference between the two of a pair.
    """

    engine: str
    phase: str
    machines: str
    pairs: int
    time: tuple[float, float]
    power: tuple[float, float]
    clock: tuple[float, float]


@dataclass(frozen=True)
class Response:
    """How the time of steered steps of one batch answered to the clock.

    ``slope`` is d ln time / d ln clock within kinds of step, each on one machine, and
    ``half_width`` that of its 95% interval; clocks from ``low_mhz`` to ``high_mhz``.
    """

    engine: str
    phase: str
    batch: int
    kinds: int
    points: int
    low_mhz: float
    high_mhz: float
    slope: float
    half_width: float


def clock_readings(logs: Sequence[Log]) -> tuple[ClockReading, ...]:
    """Compare both clocks by engine, phase and kind: free, capped or steered."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for record in (record for log in logs for record in told(log)):
        measured, point = record.measurement, record.cell.point
        middle = (measured.sm_mhz_min + measured.sm_mhz_max) / 2
        key = (point.engine.value, point.phase.value, _kind(record))
        found.setdefault(key, []).append(measured.sm_mhz / middle - 1)
    return tuple(
        ClockReading(*key, len(off), float(np.mean(off)), min(off), max(off))
        for key, off in sorted(found.items())
    )


def repeats(logs: Sequence[Log]) -> tuple[Repeats, ...]:
    """Compare untouched steps that were measured more than once, by engine, phase and machine."""
    taken: dict[object, list[tuple[str, Measured]]] = {}
    for log in logs:
        for record in told(log):
            if _kind(record) in (_FREE, _CAPPED):
                taken.setdefault(record.cell.point, []).append((log.header.gpu.uuid, record))
    pairs: dict[tuple[str, str, str], list[tuple[float, float, float]]] = {}
    for found in taken.values():
        for (one, first), (other, second) in combinations(found, 2):
            point = first.cell.point
            key = (point.engine.value, point.phase.value, "same" if one == other else "different")
            pairs.setdefault(key, []).append(_apart(first, second))
    return tuple(
        Repeats(*key, len(apart), *(_spread(column) for column in zip(*apart, strict=True)))
        for key, apart in sorted(pairs.items())
    )


def responses(logs: Sequence[Log]) -> tuple[Response, ...]:
    """Return how times answered to the clock, by engine, phase and batch, where load steered it.

    Every kind of step on every machine has a level of its own: only its own clocks are compared.
    Where there are no more points than numbers to find, nothing is told.
    """
    kinds: dict[object, list[Measured]] = {}
    for log in logs:
        for record in told(log):
            kinds.setdefault((log.header.gpu.uuid, record.cell.point), []).append(record)
    steered: dict[tuple[str, str, int], list[list[Measured]]] = {}
    for found in kinds.values():
        point = found[0].cell.point
        if any(_kind(record) == _STEERED for record in found):
            key = (point.engine.value, point.phase.value, point.batch)
            steered.setdefault(key, []).append(found)
    return tuple(
        _response(key, found)
        for key, found in sorted(steered.items())
        if sum(map(len, found)) > len(found) + 1
    )


def _response(key: tuple[str, str, int], kinds: Sequence[Sequence[Measured]]) -> Response:
    clocks = [np.log([record.measurement.sm_mhz for record in kind]) for kind in kinds]
    times = [np.log([record.measurement.time_s.value for record in kind]) for kind in kinds]
    x, y = (np.concatenate([each - each.mean() for each in all_]) for all_ in (clocks, times))
    slope = float(x @ y / (x @ x))
    freedom = x.size - len(kinds) - 1
    sd = float(np.sqrt(np.sum((y - slope * x) ** 2) / freedom / (x @ x)))
    every = np.exp(np.concatenate(clocks))
    reach = float(scipy.special.stdtrit(freedom, 0.975)) * sd
    low_mhz, high_mhz = float(every.min()), float(every.max())
    return Response(*key, len(kinds), x.size, low_mhz, high_mhz, slope, reach)


_FREE, _CAPPED, _LOCKED, _STEERED = "free", "capped", "locked", "steered"


def _kind(record: Measured) -> str:
    if record.cell.gemm_ratio > 0:
        return _STEERED
    if record.cell.sm_mhz is not None:
        return _LOCKED
    capped = record.measurement.throttle_shares.get("power cap", 0.0) > 0.5
    return _CAPPED if capped else _FREE


def _apart(first: Measured, second: Measured) -> tuple[float, float, float]:
    one, other = first.measurement, second.measurement
    return (
        abs(other.time_s.value / one.time_s.value - 1),
        abs(other.power_w.value / one.power_w.value - 1),
        abs(other.sm_mhz / one.sm_mhz - 1),
    )


def _spread(column: Sequence[float]) -> tuple[float, float]:
    return float(np.median(column)), max(column)
