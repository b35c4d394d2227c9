"""How well whole runs on a twin find what is true of it: coefficients, intervals, best clocks.

In: how many seeds, which strategies. Out: a table on standard output. The truth is the twin's own
(calibrate/twin/truth.py); nothing here describes hardware.

    python benchmarks/twin_recovery.py --seeds 50 --strategies lock,steer
"""

import argparse
import itertools
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy

from calibrate.bench import Engine, Point
from calibrate.campaign import Campaign, run_campaign
from calibrate.fit import fit_study
from calibrate.heat import leakage
from calibrate.log import Log
from calibrate.measure import MeasurePlan
from calibrate.rig import twin_rig
from calibrate.study import powers_of, study_of
from calibrate.sweep import Strategy, Sweep
from calibrate.twin import TwinTruth, step_cost, twin_truth
from model.calibration import Calibration
from model.fitted import FittedForm
from model.work import Phase, Work

TWIN = "twin:h100"

SWEEP = Sweep(
    models=("llama-3.2-1b", "llama-3.1-8b"),
    engines=(Engine.CUDA_GRAPH,),
    phases=(Phase.PREFILL, Phase.DECODE),
    batches=(1, 8, 64),
    prompts=(128, 512, 2048),
    contexts=(128, 1024, 4096),
    dtype="bfloat16",
    strategy=Strategy.LOCK,
    sm_mhz=(),
    precision=0.02,
    seed=0,
)

TYPICAL = {Phase.PREFILL: (1, 512), Phase.DECODE: (8, 1024)}
"""Batch and length at which the best clock is looked for."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--strategies", default="lock,steer")
    parser.add_argument("--budget", type=float, default=900.0, help="virtual seconds of each run")
    arguments = parser.parse_args()
    for word in arguments.strategies.split(","):
        _table(Strategy(word), arguments.seeds, arguments.budget)


def _table(strategy: Strategy, seeds: int, budget_s: float) -> None:
    truth = twin_truth(TWIN)
    inside, misses = defaultdict(list), defaultdict(list)
    curves_off, steps_off, loss, spent_s = defaultdict(list), [], [], []
    steered: list[tuple[float, ...]] = []
    for seed in range(seeds):
        begun_s = time.perf_counter()
        log, calibration = _run(strategy, seed, budget_s)
        spent_s.append(time.perf_counter() - begun_s)
        celsius = leakage([r.measurement for r in log.measured], truth.cap_w).reference_c
        for name, (found, error, true) in _coefficients(calibration, truth, celsius).items():
            inside[name].append(abs(found - true) <= error)
            misses[name].append(found / true - 1)
        steered += _steered(log, truth)
        for phase in Phase:
            curves_off[phase].append(_curve_errors(calibration, truth, log, phase))
        for off, lost in _best_clocks(calibration, truth):
            steps_off.append(off)
            loss.append(lost)
    points = len(log.measured)
    print(f"\n{TWIN}, --clocks {strategy}, {seeds} seeds, {budget_s:g} virtual s, {points} points")
    print(f"{np.mean(spent_s):.1f} s of one core each (campaign and fit)")
    print(f"{'coefficient':24} {'seeds':>5} {'inside 95%':>10} {'bias':>8} {'spread':>8}")
    for name, hits in inside.items():
        off = np.array(misses[name])
        bias, spread = np.median(off), np.median(np.abs(off))
        print(f"{name:24} {len(hits):5d} {np.mean(hits):10.0%} {bias:8.2%} {spread:8.2%}")
    for phase, errors in curves_off.items():
        time_off, power_off = np.mean(errors, axis=0)
        print(
            f"{phase}: curves against truth, mean error: time {time_off:.2%}, power {power_off:.2%}"
        )
    if strategy is Strategy.STEER:
        _print_steered(np.array(steered))
    steps = np.array(steps_off)
    print(
        f"energy-minimal clock: within one step in {np.mean(np.abs(steps) <= 1):.0%}, median "
        f"{np.median(np.abs(steps)):.0f} steps off, energy lost {np.mean(loss):.3%} on average, "
        f"{np.max(loss):.3%} at worst"
    )


def _run(strategy: Strategy, seed: int, budget_s: float) -> tuple[Log, Calibration]:
    sweep = replace(SWEEP, strategy=strategy, seed=seed)
    campaign = Campaign(sweep, budget_s, MeasurePlan(precision=sweep.precision))
    with tempfile.TemporaryDirectory() as directory:
        log = run_campaign(twin_rig(TWIN, seed), campaign, Path(directory) / "run.jsonl")
    return log, fit_study(study_of(log))


def _steered(log: Log, truth: TwinTruth) -> list[tuple[float, ...]]:
    """Return per measured point: ratio of GEMMs, relative clock, errors of time, power; stated."""
    warmth = leakage([record.measurement for record in log.measured], truth.cap_w)
    powers = powers_of(log.measured, warmth, truth.cap_w)
    rows = []
    for record, power_w, stated in zip(
        log.measured, powers.power_w, powers.power_error, strict=True
    ):
        found, step = record.measurement, step_cost(record.cell.point)
        true_w = truth.true_power_w(step, found.sm_mhz, warmth.reference_c)
        true_s = truth.true_time_s(step, found.sm_mhz)
        ratio = found.gemm_time_s.value / found.time_s.value
        off = (found.time_s.value / true_s - 1, power_w / true_w - 1)
        rows.append((ratio, found.sm_mhz / truth.sm_max_mhz, *off, stated))
    return rows


def _print_steered(rows: np.ndarray) -> None:
    ratio, clock, time_off, power_off, stated = rows.T
    print(f"{'GEMM / step time':>16} {'points':>6} {'clock / f_max':>13}", end="")
    print(f"{'time rms':>9} {'power rms':>9} {'stated':>7} {'in 95%':>6} {'told':>5}")
    bounds = (0.0, 0.01, 0.75, 2.0, 6.0, np.inf)
    for low, high in itertools.pairwise(bounds):
        here = (ratio >= low) & (ratio < high)
        if not here.any():
            continue
        told = here & np.isfinite(power_off)
        rms_time = np.sqrt(np.mean(time_off[here] ** 2))
        rms_power = np.sqrt(np.mean(power_off[told] ** 2))
        inside = np.mean(np.abs(power_off[told]) < 1.96 * stated[told])
        print(
            f"{np.median(ratio[here]):16.2f} {here.sum():6d} {clock[here].min():5.2f} to "
            f"{clock[here].max():.2f}{rms_time:9.2%} {rms_power:9.2%} "
            f"{np.median(stated[told]):7.2%} {inside:6.0%} {told.sum() / here.sum():5.0%}"
        )


def _coefficients(
    calibration: Calibration, truth: TwinTruth, temperature_c: float
) -> dict[str, tuple[float, float, float]]:
    """Return found value, half-width of its 95% interval, and truth of every common coefficient.

    Static power is that at ``temperature_c``, the temperature at which a campaign tells power.
    """
    top_voltage = 1 + truth.slope * (1 - truth.knee)
    true = {
        "launch_s": truth.graph_launch_s,
        "weight_bytes_per_s": truth.weight_bytes_per_s,
        "kv_bytes_per_s": truth.kv_bytes_per_s,
        "flops_per_s": truth.flops_per_s,
        "weight_clock_share": truth.weight_clock_share,
        "kv_clock_share": truth.kv_clock_share,
        "compute_clock_share": truth.compute_clock_share,
        "overlap": truth.overlap,
        "static_w": truth.static_w + truth.leakage_w(temperature_c),
        "memory_static_w": truth.memory_static_w,
        "memory_dynamic_w": truth.memory_dynamic_w * top_voltage**2,
        "compute_dynamic_w": truth.compute_dynamic_w * top_voltage**2,
        "knee": truth.knee,
        "voltage_slope": truth.slope / top_voltage,
    }
    found: dict[str, tuple[float, float, float]] = {}
    for curves in calibration.curves:
        for form in (curves.time, curves.power):
            for index, (name, value) in enumerate(form.coefficients.items()):
                error = _half_width(form, index)
                if name in true and error > 0:
                    found.setdefault(name, (value, error, true[name]))
    return found


def _half_width(form: FittedForm, index: int) -> float:
    reach = float(scipy.special.stdtrit(form.degrees_of_freedom, 0.975))
    return reach * float(form.covariance_matrix[index, index]) ** 0.5


def _curve_errors(
    calibration: Calibration, truth: TwinTruth, log: Log, phase: Phase
) -> tuple[float, float]:
    """Return mean relative errors of time and power at every measured point of ``phase``."""
    time_off, power_off = [], []
    for record in log.measured:
        point = record.cell.point
        if point.phase is not phase:
            continue
        curves = calibration.curves_of(point.model, phase, point.engine)
        mhz, work, step = record.measurement.sm_mhz, _work(point), step_cost(point)
        time_off.append(curves.time_s(work, mhz)[0] / truth.true_time_s(step, mhz) - 1)
        power_off.append(curves.power_w(work, mhz)[0] / truth.true_power_w(step, mhz) - 1)
    return float(np.mean(np.abs(time_off))), float(np.mean(np.abs(power_off)))


def _best_clocks(calibration: Calibration, truth: TwinTruth) -> list[tuple[float, float]]:
    """Return, per model and phase, clock steps from the true best clock, and energy lost by it.

    Of the clocks inside the calibrated range, as a policy would choose among them.
    """
    found = []
    for model in calibration.models:
        for phase, (batch, tokens) in TYPICAL.items():
            lengths = (tokens, 0) if phase is Phase.PREFILL else (0, tokens)
            point = Point(model, Engine.CUDA_GRAPH, phase, batch, *lengths)
            curves = calibration.curves_of(model, phase)
            clocks = calibration.gpu.clocks_mhz(curves)
            step = step_cost(point)
            true_j = truth.true_time_s(step, clocks) * truth.true_power_w(step, clocks)
            work = _work(point)
            told_j = np.array([float(curves.energy_j(work, mhz)[0]) for mhz in clocks])
            best, chosen = int(np.argmin(true_j)), int(np.argmin(told_j))
            found.append((float(chosen - best), float(true_j[chosen] / true_j[best] - 1)))
    return found


def _work(point: Point) -> Work:
    if point.phase is Phase.PREFILL:
        return Work.prefill([point.batch], [point.prompt_tokens])
    return Work.decode([point.batch], [point.context_tokens])


if __name__ == "__main__":
    main()
