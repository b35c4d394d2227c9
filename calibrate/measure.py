"""Measures one point: loops its steps until time and power are known well enough.

In: a bench, a GPU, a running sampler and the clock that both keep. Out: a :class:`Measurement`:
time, power and energy per step with their errors, filed under the clock that was achieved.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.bench import Bench, Clock, Engine, Point
from calibrate.clocks import ClockVerdict, verdict
from calibrate.estimate import Estimate, batch_errors, pooled
from calibrate.gpu import Gpu, Kind
from calibrate.sampler import Sampler
from calibrate.undisturbed import BAND, undisturbed
from calibrate.window import EnergySource, Window, steady_from_s, summarise

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class MeasurePlan:
    """How long and how often one point is measured.

    Attributes:
        settle_s: time that every repeat runs before its window begins.
        window_s: length of the window of a repeat.
        precision: relative half-width of the 95% interval of time and power at which to stop.
        min_repeats, max_repeats: bounds on the number of repeats.
        patience_s: after so long no repeat is begun beyond the fewest: what the host scatters, more
            windows of the same point do not mend, and its error says so.
    """

    settle_s: float = 1.0
    window_s: float = 2.5
    precision: float = 0.02
    min_repeats: int = 2
    max_repeats: int = 6
    patience_s: float = 20.0


@dataclass(frozen=True)
class WindowFigures:
    """What one window of a point gave: of several, they show how repeatable a point is.

    Attributes:
        sm_mhz: SM clock, as for the point.
        time_s: mean device time of one step.
        power_w, power_error_w: mean power and its standard error.
        temperature_c: mean temperature.
        steps: steps inside the window.
        undisturbed_s: mean device time of the steps that nothing disturbed; None in older logs.
    """

    sm_mhz: float
    time_s: float
    power_w: float
    power_error_w: float
    temperature_c: float
    steps: int
    undisturbed_s: float | None = None


@dataclass(frozen=True)
class Measurement:
    """One point at one clock, measured.

    Attributes:
        point: what ran.
        kind: hardware or twin.
        gemms_per_step: GEMMs that ran before each step to steer the clock; 0 for the step alone.
        sm_mhz: achieved SM clock under load: the sampled mean, or where GEMMs steer, the mean of
            the clocks read on the device before and after each step.
        sm_mhz_min, sm_mhz_max: its range over the windows.
        clock: what became of the requested clock; None where none was requested.
        time_s: device time of one step.
        gemm_time_s: device time of the GEMMs before one step; 0 where there are none.
        power_w: mean board power of the window, GEMMs included.
        energy_j: energy of one step and the GEMMs before it.
        energy_source: where the energy comes from.
        throttle_shares: share of time under each throttle reason, mean of the windows.
        temperature_c: mean temperature of the windows.
        memory_mhz: memory clock.
        repeats, steps: windows kept and steps inside them.
        steady: whether power and clock were level in every window kept.
        started_s: when the first repeat began, on the clock of the measurement.
        windows: the windows kept, in order. Where the host launches every kernel, windows that
            were disturbed from end to end are not kept.
        undisturbed_s: device time of the steps that nothing disturbed
            (:mod:`calibrate.undisturbed`); None in older logs.
    """

    point: Point
    kind: Kind
    gemms_per_step: int
    sm_mhz: float
    sm_mhz_min: float
    sm_mhz_max: float
    clock: ClockVerdict | None
    time_s: Estimate
    gemm_time_s: Estimate
    power_w: Estimate
    energy_j: Estimate
    energy_source: EnergySource
    throttle_shares: Mapping[str, float]
    temperature_c: float
    memory_mhz: float
    repeats: int
    steps: int
    steady: bool
    started_s: float
    windows: tuple[WindowFigures, ...]
    undisturbed_s: Estimate | None = None


def measure(
    bench: Bench,
    gpu: Gpu,
    sampler: Sampler,
    clock: Clock,
    point: Point,
    requested_sm_mhz: int | None = None,
    plan: MeasurePlan | None = None,
) -> Measurement:
    """Measure ``point`` at the clock in force, which is meant to be ``requested_sm_mhz``.

    The sampler runs already. ``clock`` is the one that the sampler stamps with.

    Raises:
        OutOfMemory: the point does not fit.
        NoEnergy: the windows tell no energy.
        UnsupportedGpu: the GPU or the sampler was lost.
    """

    def run(steps: int) -> FloatArray:
        step_s = bench.run(steps).step_time_s
        return np.stack([step_s, np.zeros(steps), np.full(steps, np.nan)], axis=1)

    bench.prepare(point)
    return _measure(run, gpu, sampler, clock, point, 0, requested_sm_mhz, plan or MeasurePlan())


def measure_mixed(
    bench: Bench,
    gpu: Gpu,
    sampler: Sampler,
    clock: Clock,
    point: Point,
    gemms_per_step: int,
    plan: MeasurePlan | None = None,
) -> Measurement:
    """Measure ``point`` with ``gemms_per_step`` GEMMs before each step, which steer the clock.

    Power and energy are those of the mixture; time is the step's own.

    Raises:
        OutOfMemory: the point does not fit.
        NoEnergy: the windows tell no energy.
        UnsupportedGpu: the GPU or the sampler was lost.
    """

    def run(steps: int) -> FloatArray:
        mixed = bench.run_mixed(steps, gemms_per_step)
        sm_mhz = (mixed.sm_mhz_before + mixed.sm_mhz_after) / 2
        return np.stack([mixed.step_time_s, mixed.gemm_time_s, sm_mhz], axis=1)

    bench.prepare(point)
    used = plan or MeasurePlan()
    return _measure(run, gpu, sampler, clock, point, gemms_per_step, None, used)


def measure_idle(sampler: Sampler, clock: Clock, duration_s: float = 3.0) -> Window:
    """Return what the GPU draws while nobody asks anything of it for ``duration_s``.

    Raises:
        NoEnergy: the window tells no energy.
        UnsupportedGpu: the sampler was lost.
    """
    start_s = clock.now_s()
    clock.sleep_s(duration_s)
    return summarise(sampler.read(start_s), start_s, clock.now_s())


PILOT_STEPS = 3
PILOT_SCATTER = 0.05
PILOT_S = 0.4
"""A pilot of few steps, and what is run instead where they differ by more than that from the
fastest: too short a loop is run again from its start."""

MIN_STEPS = 5
LONGEST_SETTLE_S = 8.0

Z_95 = 1.96


@dataclass(frozen=True)
class _Repeat:
    """One window. ``means`` and ``errors`` are of (step s, GEMM s, SM MHz, energy J).

    ``undisturbed`` is mean and error of the steps that nothing disturbed, in s.
    """

    window: Window
    means: FloatArray
    errors: FloatArray
    undisturbed: Estimate
    steps: int
    steady: bool


_Run = Callable[[int], FloatArray]
"""Runs so many steps; returns a row each: step s, GEMM s, SM MHz (NaN where not read)."""


def _measure(
    run: _Run,
    gpu: Gpu,
    sampler: Sampler,
    clock: Clock,
    point: Point,
    gemms_per_step: int,
    requested_sm_mhz: int | None,
    plan: MeasurePlan,
) -> Measurement:
    started_s = clock.now_s()
    launched = point.engine is Engine.EAGER
    run(1)
    round_s = _round_s(run, PILOT_STEPS)
    repeats: list[_Repeat] = []
    settle_s = plan.settle_s
    for _ in range(plan.max_repeats):
        steps = max(math.ceil((settle_s + plan.window_s) / round_s), MIN_STEPS)
        repeat, round_s = _repeat(run, sampler, clock, steps, settle_s, plan.window_s)
        repeats.append(repeat)
        # No settling ends what a host scatters.
        if not repeat.steady and not launched:
            settle_s = min(2 * settle_s, LONGEST_SETTLE_S)
        kept = _kept(repeats, launched)
        if len(kept) >= plan.min_repeats and _half_width(kept, launched) <= plan.precision:
            break
        tired = clock.now_s() - started_s > plan.patience_s
        if tired and len(repeats) >= plan.min_repeats:
            break
    kept = _kept(repeats, launched) or repeats
    return _report(kept, gpu, point, gemms_per_step, requested_sm_mhz, started_s)


def _kept(repeats: list[_Repeat], launched: bool) -> list[_Repeat]:
    """Return the windows that tell of the step: the steady ones, or those with quick steps."""
    if not launched:
        return [repeat for repeat in repeats if repeat.steady]
    quickest_s = min(repeat.undisturbed.value for repeat in repeats)
    return [r for r in repeats if r.undisturbed.value <= (1 + BAND) * quickest_s]


def _round_s(run: _Run, steps: int) -> float:
    """Return how long a round lasts in s, from more of them where few say little."""
    rounds_s = run(steps)[:, :2].sum(axis=1)
    if steps == PILOT_STEPS and np.ptp(rounds_s) > PILOT_SCATTER * rounds_s.min():
        return _round_s(run, math.ceil(PILOT_S / float(np.median(rounds_s))) + PILOT_STEPS + 1)
    return float(np.median(rounds_s))


def _repeat(
    run: _Run, sampler: Sampler, clock: Clock, steps: int, settle_s: float, window_s: float
) -> tuple[_Repeat, float]:
    """Return one window, and the mean time of a round in s."""
    while True:
        start_s = clock.now_s()
        rows = run(steps)
        end_s = clock.now_s()
        lasted_s = end_s - start_s
        if lasted_s >= settle_s + 0.9 * window_s:
            break
        # The pilot ran slower than the loop does: make the loop longer.
        steps = math.ceil(steps * (settle_s + window_s) / max(lasted_s, 1e-3 * window_s))
    samples = sampler.read(start_s)
    level_s = steady_from_s(samples, start_s + settle_s / 2, end_s)
    begin_s = end_s - window_s if level_s is None else max(level_s, start_s + settle_s)
    window = summarise(samples, max(begin_s, start_s), end_s)
    # Device times leave out the little that the host takes: stretch them over the loop.
    rounds_s = rows[:, :2].sum(axis=1)
    middle_s = start_s + (np.cumsum(rounds_s) - rounds_s / 2) * lasted_s / rounds_s.sum()
    inside = rows[(middle_s >= window.start_s) & (middle_s <= window.end_s)]
    inside = inside if len(inside) >= 2 else rows
    energy_j = inside[:, :2].sum(axis=1, keepdims=True) * window.power_w
    columns = np.concatenate([inside, energy_j], axis=1)
    errors = batch_errors(columns)
    errors[3] = np.hypot(errors[3], columns[:, 3].mean() * window.power_se_w / window.power_w)
    own = inside[undisturbed(inside[:, 0]), :1]
    own_error_s = batch_errors(own)[0] if len(own) > 1 else errors[0]
    own_s = Estimate(float(own.mean()), float(own_error_s))
    steady = level_s is not None
    repeat = _Repeat(window, columns.mean(axis=0), errors, own_s, len(inside), steady)
    return repeat, lasted_s / steps


def _column(repeats: list[_Repeat], column: int) -> Estimate:
    return pooled(
        [float(r.means[column]) for r in repeats], [float(r.errors[column]) for r in repeats]
    )


def _power(repeats: list[_Repeat]) -> Estimate:
    windows = [repeat.window for repeat in repeats]
    return pooled([w.power_w for w in windows], [w.power_se_w for w in windows])


def _undisturbed(repeats: list[_Repeat]) -> Estimate:
    own = [repeat.undisturbed for repeat in repeats]
    return pooled([each.value for each in own], [each.error for each in own])


def _half_width(repeats: list[_Repeat], launched: bool) -> float:
    """Return the largest relative half-width of the 95% intervals of step time and power.

    Power beside a host that comes and goes does so too, and follows from the energy balance.
    """
    figures = [_undisturbed(repeats)] if launched else [_column(repeats, 0), _power(repeats)]
    return max(Z_95 * figure.error / figure.value for figure in figures)


def _report(
    repeats: list[_Repeat],
    gpu: Gpu,
    point: Point,
    gemms_per_step: int,
    requested_sm_mhz: int | None,
    started_s: float,
) -> Measurement:
    windows = [repeat.window for repeat in repeats]
    read_mhz = _column(repeats, 2).value
    sampled_mhz = float(np.mean([window.sm_mhz for window in windows]))
    words = sorted({word for window in windows for word in window.throttle_shares})
    clock = None
    if requested_sm_mhz is not None:
        verdicts = [verdict(requested_sm_mhz, window) for window in windows]
        # One window in which the clock slipped is enough to file the point elsewhere.
        clock = next((v for v in verdicts if not v.held), verdicts[0])
    return Measurement(
        point=point,
        kind=gpu.identity().kind,
        gemms_per_step=gemms_per_step,
        sm_mhz=sampled_mhz if math.isnan(read_mhz) else read_mhz,
        sm_mhz_min=min(window.sm_mhz_min for window in windows),
        sm_mhz_max=max(window.sm_mhz_max for window in windows),
        clock=clock,
        time_s=_column(repeats, 0),
        gemm_time_s=_column(repeats, 1),
        power_w=_power(repeats),
        energy_j=_column(repeats, 3),
        energy_source=windows[0].energy_source,
        throttle_shares={
            word: float(np.mean([w.throttle_shares.get(word, 0.0) for w in windows]))
            for word in words
        },
        temperature_c=float(np.mean([window.temperature_c for window in windows])),
        memory_mhz=float(np.median([window.memory_mhz for window in windows])),
        repeats=len(repeats),
        steps=sum(repeat.steps for repeat in repeats),
        steady=all(repeat.steady for repeat in repeats),
        started_s=started_s,
        windows=tuple(_figures(repeat) for repeat in repeats),
        undisturbed_s=_undisturbed(repeats),
    )


def _figures(repeat: _Repeat) -> WindowFigures:
    window, read_mhz = repeat.window, float(repeat.means[2])
    return WindowFigures(
        sm_mhz=window.sm_mhz if math.isnan(read_mhz) else read_mhz,
        time_s=float(repeat.means[0]),
        power_w=window.power_w,
        power_error_w=window.power_se_w,
        temperature_c=window.temperature_c,
        steps=repeat.steps,
        undisturbed_s=repeat.undisturbed.value,
    )
