"""How far the predictions of a calibration lie from what logs hold.

In: a calibration, and the study of logs that its fit saw or never saw. Out: :class:`Misses`, row by
row, and the project's goals beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from calibrate.fit import CAPPED_ABOVE
from calibrate.measurements import Measurements, Strings, Study
from calibrate.refit import held_out
from model.calibration import Calibration
from model.curves import Curves
from model.work import Array, Phase
from phasewatt.errors import BadCalibration, OutOfRange


class Clock(StrEnum):
    """How the clock of a row came about."""

    FREE = "free"
    CAPPED = "capped"
    SET = "set"


@dataclass(frozen=True)
class Misses:
    """Predictions against rows, shape (n,): each miss is predicted over measured, less one.

    Attributes:
        model, engine, phase, clock: of which row; ``clock`` is a :class:`Clock`.
        time, power, energy: at the clock that was read; NaN where the row does not tell it.
        time_inside, power_inside: whether the row lies in the 95% prediction interval.
        outside: whether it lies outside the calibrated batches, lengths or clocks.
        settled_mhz, settled_time, settled_energy: the same where the calibration says which clock
            the untouched governor holds; NaN where the clock was set.
    """

    model: Strings
    engine: Strings
    phase: Strings
    clock: Strings
    time: Array
    power: Array
    energy: Array
    time_inside: NDArray[np.bool_]
    power_inside: NDArray[np.bool_]
    outside: NDArray[np.bool_]
    settled_mhz: Array
    settled_time: Array
    settled_energy: Array

    def rows(self, chosen: NDArray[np.bool_]) -> "Misses":
        """Return the rows where ``chosen`` is true."""
        return Misses(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    @staticmethod
    def joined(parts: Sequence["Misses"]) -> "Misses":
        """Return the rows of all ``parts``."""
        names = [f.name for f in fields(Misses)]
        return Misses(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


def check(calibration: Calibration, study: Study) -> Misses:
    """Return how far ``calibration`` lies from the rows of ``study``, where it has their curves.

    Raises:
        BadCalibration: the rows are of another GPU, or none has curves.
    """
    if study.gpu.name != calibration.gpu.name:
        raise BadCalibration(
            f"logs of {study.gpu.name}; expected {calibration.gpu.name}, the GPU of calibration "
            f"{calibration.name}"
        )
    parts = _all_missed(calibration, study.measurements)
    if not parts:
        raise BadCalibration(
            f"calibration {calibration.name} has no curves of any point in these logs; "
            f"it has {', '.join(calibration.models)}"
        )
    return Misses.joined(parts)


def check_held_out(calibration: Calibration, study: Study) -> Misses:
    """Return the same of predictions by coefficients that did not see the row's kind of step.

    Raises:
        BadCalibration: the rows are of another GPU, or a curve depends on the clock alone.
    """
    check(calibration, study)
    parts = []
    for held, others in held_out(calibration, study):
        parts += _all_missed(others, study.measurements.rows(held))
    return Misses.joined(parts)


def _of(curves: Curves, rows: Measurements) -> NDArray[np.bool_]:
    same = (rows.model == curves.model) & (rows.engine == curves.engine)
    return np.asarray(same & (rows.phase == curves.phase.value))


def _all_missed(calibration: Calibration, rows: Measurements) -> list[Misses]:
    return [
        _missed(calibration, curves, rows.rows(mine))
        for curves in calibration.curves
        if np.any(mine := _of(curves, rows))
    ]


def _missed(calibration: Calibration, curves: Curves, rows: Measurements) -> Misses:
    work = rows.work(curves.phase)
    time_s, power_w = curves.time_s(work, rows.sm_mhz), curves.power_w(work, rows.sm_mhz)
    t_low, t_high = curves.time_interval_s(work, rows.sm_mhz)
    p_low, p_high = curves.power_interval_w(work, rows.sm_mhz)
    settled_mhz = _settled_mhz(calibration, curves, rows)
    energy_j = rows.time_s * rows.power_w
    return Misses(
        model=rows.model,
        engine=rows.engine,
        phase=rows.phase,
        clock=_clock(calibration, rows),
        time=time_s / rows.time_s - 1,
        power=power_w / rows.power_w - 1,
        energy=time_s * power_w / energy_j - 1,
        time_inside=(t_low <= rows.time_s) & (rows.time_s <= t_high),
        power_inside=(p_low <= rows.power_w) & (rows.power_w <= p_high),
        outside=_outside(curves, rows),
        settled_mhz=settled_mhz / rows.sm_mhz - 1,
        settled_time=curves.time_s(work, settled_mhz) / rows.time_s - 1,
        settled_energy=curves.energy_j(work, settled_mhz) / energy_j - 1,
    )


def _clock(calibration: Calibration, rows: Measurements) -> Strings:
    gpu = calibration.gpu
    capped = rows.sm_mhz < _BELOW_TOP * (gpu.sm_mhz_max or np.inf)
    capped &= rows.power_w >= CAPPED_ABOVE * gpu.power_limit_w
    names = np.where(capped, Clock.CAPPED.value, Clock.FREE.value)
    return np.where(rows.stock, names, Clock.SET.value)


def _settled_mhz(calibration: Calibration, curves: Curves, rows: Measurements) -> Array:
    """Return the clock at which the untouched governor holds each row, NaN where it was set.

    It is NaN too where the limit holds a clock below the calibrated ones.
    """
    work = rows.work(curves.phase)
    found = np.full(len(rows), np.nan)
    for row in np.flatnonzero(rows.stock):
        try:
            held = calibration.gpu.settle(
                curves.domain.sm_mhz[1], curves, work.at(slice(row, row + 1))
            )
        except OutOfRange:
            continue
        found[row] = float(held[0])
    return found


def _outside(curves: Curves, rows: Measurements) -> NDArray[np.bool_]:
    """Whether rows lie beyond what was calibrated; clocks above the driver's highest do not."""
    domain = curves.domain
    prefill = curves.phase is Phase.PREFILL
    lengths = domain.prompt_tokens if prefill else domain.context_tokens
    assert lengths is not None, "every phase has a span of lengths"
    found = rows.sm_mhz < domain.sm_mhz[0] * (1 - _ROUNDING)
    for column, (low, high) in (
        (rows.batch, domain.batch),
        (rows.prompt_tokens if prefill else rows.context_tokens, lengths),
    ):
        found |= (column < low) | (column > high)
    return np.asarray(found)


_BELOW_TOP = 0.99
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Goal:
    """What the project asks of shipped calibrations at kinds of step that a fit did not see.

    ``value`` and ``found`` are mean absolute relative errors; ``found`` is None where no row tells.
    """

    engine: str
    what: str
    value: float
    found: float | None

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.found is not None and self.found <= self.value


def goals(held_out: Misses) -> tuple[Goal, ...]:
    """Return each goal beside what hold-out shows."""
    graph, eager = held_out.engine == "cuda-graph", held_out.engine == "eager"
    capped = (
        graph & (held_out.phase == Phase.PREFILL.value) & (held_out.clock == Clock.CAPPED.value)
    )
    return (
        Goal("cuda-graph", "time", 0.04, mape(held_out.time[graph])),
        Goal("cuda-graph", "power", 0.05, mape(held_out.power[graph])),
        Goal("cuda-graph", "time of capped prefill", 0.04, mape(held_out.settled_time[capped])),
        Goal("cuda-graph", "energy of capped prefill", 0.05, mape(held_out.settled_energy[capped])),
        Goal("eager", "time", 0.08, mape(held_out.time[eager])),
        Goal("eager", "power", 0.08, mape(held_out.power[eager])),
    )


def mape(misses: Array) -> float | None:
    """Return the mean absolute value of those that are told, or None."""
    told = misses[np.isfinite(misses)]
    return float(np.mean(np.abs(told))) if told.size else None


def bias(misses: Array) -> float | None:
    """Return the mean of those that are told, or None."""
    told = misses[np.isfinite(misses)]
    return float(np.mean(told)) if told.size else None
