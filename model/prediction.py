"""What one step would cost: time, power, energy, the clock that holds, and how sure that is.

In: a calibration and a step in words. Out: a :class:`Prediction` with 95% intervals, its regime,
and what of it lies outside the calibrated domain.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy

from model.beyond import LOWEST_SHARE, reaching
from model.calibration import Calibration
from model.curves import Curves
from model.gpu import Gpu
from model.optimum import Optimum, draws_of, least_energy
from model.provenance import Origin
from model.regimes import Regime, elasticity, regimes
from model.work import Array, Phase, Work
from phasewatt.errors import BadOption

STOCK_MHZ = float("inf")
"""A request for no lock at all: the governor's own choice."""


@dataclass(frozen=True)
class Step:
    """One step in words.

    Attributes:
        model: name of the model.
        engine: name of the engine; None takes the calibration's first.
        phase: prefill or decode.
        batch: sequences.
        tokens: prompt tokens (prefill) or tokens in the KV cache (decode) of each sequence.
        requested_mhz: SM clock that is asked for; inf for none.
    """

    model: str
    engine: str | None
    phase: Phase
    batch: float
    tokens: float
    requested_mhz: float = STOCK_MHZ


@dataclass(frozen=True)
class Figure:
    """A value with the 95% interval of what a new measurement would show."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Prediction:
    """What the step would cost.

    Attributes:
        step: what was asked, with the engine that answers.
        sm_mhz: the clock that holds.
        time_s, power_w, energy_j: of one step.
        energy_per_token_j: of each token that the step computes.
        regime: which wall the step hits.
        elasticity: percent of time lost per percent of clock.
        outside: what lies outside the calibrated domain, one sentence each; empty inside.
        transferred: the same of a clock below the measured ones, where public GPUs say how the
            curves go on (docs/fits.md).
        origin: where the curves come from.
    """

    step: Step
    sm_mhz: Figure
    time_s: Figure
    power_w: Figure
    energy_j: Figure
    energy_per_token_j: Figure
    regime: Regime
    elasticity: float
    outside: tuple[str, ...]
    transferred: tuple[str, ...]
    origin: Origin


def predict(calibration: Calibration, step: Step) -> Prediction:
    """Predict ``step``; what lies outside the calibrated domain is said.

    Below the measured clocks the curves go on as those of public GPUs do; elsewhere outside the
    domain the forms extrapolate.

    Where the power cap holds the clock down, the power is the cap's, and what is not known of the
    power curve becomes uncertainty of the clock and through it of time.

    Raises:
        BadCalibration: the model, engine or phase has no curves.
        BadOption: a batch, a length or a clock that no GPU could run.
        OutOfRange: the power limit holds a clock below the calibrated domain, or the curves know
            nothing of batches and this one was not measured.
    """
    curves = calibration.curves_of(step.model, step.phase, step.engine)
    _require_possible(step, calibration.gpu)
    if not curves.time.definition.varies_with_work:
        curves.require_batch(step.batch)
    work = _work(step)
    asked = min(step.requested_mhz, _highest_mhz(curves, step))
    wide = reaching(curves, asked)
    clock = calibration.gpu.settle([asked], wide, work)
    held = float(clock[0])
    capped = held < asked - 1e-3
    moves = float(elasticity(wide, work, clock)[0])
    time_sd = float(wide.time_relative_sd(work, clock)[0])
    power_sd = float(wide.power_relative_sd(work, clock)[0])
    clock_sd = 0.0
    if capped:
        clock_sd = power_sd / _power_elasticity(wide, work, clock)
        power_sd = wide.power.residual_sd
        time_sd = float(np.hypot(time_sd, moves * clock_sd))
    time_s, power_w = float(wide.time_s(work, clock)[0]), float(wide.power_w(work, clock)[0])
    degrees = min(wide.time.degrees_of_freedom, wide.power.degrees_of_freedom)
    energy_sd = float(np.hypot(time_sd, power_sd))
    energy_j = time_s * power_w
    tokens = step.batch * (step.tokens if step.phase is Phase.PREFILL else 1)
    return Prediction(
        step=replace(step, engine=curves.engine),
        sm_mhz=_figure(held, clock_sd, wide.power.degrees_of_freedom),
        time_s=_figure(time_s, time_sd, wide.time.degrees_of_freedom),
        power_w=_figure(power_w, power_sd, wide.power.degrees_of_freedom),
        energy_j=_figure(energy_j, energy_sd, degrees),
        energy_per_token_j=_figure(energy_j / tokens, energy_sd, degrees),
        regime=Regime(regimes(wide, calibration.gpu, work, asked)[0]),
        elasticity=moves,
        outside=tuple(_outside(curves, step, held)),
        transferred=tuple(_transferred(curves, held)),
        origin=curves.origin,
    )


def best_step(calibration: Calibration, step: Step) -> tuple[Step, Optimum]:
    """Return ``step`` at the clock of least energy in its curves' range, and how sure that is.

    Raises:
        BadCalibration, BadOption, OutOfRange: see :func:`predict`.
    """
    curves = calibration.curves_of(step.model, step.phase, step.engine)
    _require_possible(step, calibration.gpu)
    if not curves.time.definition.varies_with_work:
        curves.require_batch(step.batch)
    optimum = least_energy(curves, draws_of(curves), calibration.gpu, _work(step))
    return replace(step, requested_mhz=optimum.sm_mhz), optimum


def _work(step: Step) -> Work:
    make = Work.prefill if step.phase is Phase.PREFILL else Work.decode
    return make([step.batch], [step.tokens])


def _require_possible(step: Step, gpu: Gpu) -> None:
    length = "prompt" if step.phase is Phase.PREFILL else "context"
    least = 1 if step.phase is Phase.PREFILL else 0
    for name, value, lowest in (("batch", step.batch, 1), (length, step.tokens, least)):
        if not lowest <= value < np.inf:
            raise BadOption(f"{name}: found {value:g}; expected {lowest} or more")
    if not step.requested_mhz > 0:
        raise BadOption(f"SM clock: found {step.requested_mhz:g} MHz; expected more than 0")
    top = gpu.sm_mhz_max
    if top is not None and np.isfinite(step.requested_mhz) and step.requested_mhz > top:
        raise BadOption(
            f"SM clock: found {step.requested_mhz:g} MHz; expected at most {top:g} MHz, "
            f"the highest of {gpu.name}"
        )


def _highest_mhz(curves: Curves, step: Step) -> float:
    """The untouched GPU is taken to reach the highest calibrated clock where power allows."""
    return np.inf if np.isfinite(step.requested_mhz) else curves.domain.sm_mhz[1]


def _power_elasticity(curves: Curves, work: Work, sm_mhz: Array) -> float:
    power_w = curves.power_of(work)
    rise = np.log(power_w(sm_mhz * 1.001)) - np.log(power_w(sm_mhz * 0.999))
    return max(float(rise[0]) / float(np.log(1.001 / 0.999)), 1e-3)


def _outside(curves: Curves, step: Step, held_mhz: float) -> list[str]:
    domain = curves.domain
    length, span = "prompt", domain.prompt_tokens
    if step.phase is Phase.DECODE:
        length, span = "context", domain.context_tokens
    checked = [("batch", step.batch, domain.batch, "")]
    if not _transferred(curves, held_mhz):
        checked.insert(0, ("clock", held_mhz, curves.measured_mhz, " MHz"))
    if span is not None:
        checked.append((length, step.tokens, span, " tokens"))
    return [
        f"{name} {value:g}{unit} is outside the measured {low:g} to {high:g}{unit}"
        for name, value, (low, high), unit in checked
        if not low * (1 - _ROUNDING) <= value <= high * (1 + _ROUNDING)
    ]


def _transferred(curves: Curves, held_mhz: float) -> list[str]:
    low, high = curves.measured_mhz
    lowest = LOWEST_SHARE * curves.time.reference_mhz
    if not lowest * (1 - _ROUNDING) <= held_mhz < low * (1 - _ROUNDING):
        return []
    return [
        f"clock {held_mhz:g} MHz is below the measured {low:g} to {high:g} MHz: there the curves "
        "go on as those of public GPUs do"
    ]


_ROUNDING = 1e-9


def _figure(value: float, relative_sd: float, degrees_of_freedom: int) -> Figure:
    reach = float(scipy.special.stdtrit(degrees_of_freedom, 0.975)) * relative_sd
    return Figure(value, value * float(np.exp(-reach)), value * float(np.exp(reach)))
