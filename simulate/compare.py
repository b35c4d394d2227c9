"""Policies against a baseline on the same arrivals, with intervals.

In: a trace, a calibration, a scenario. Out: every policy's outcome and metrics, its saving and its
latency change against the baseline, and what of this is extrapolated.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy

from model.calibration import Calibration
from model.work import Array
from phasewatt.errors import BadOption
from simulate.coverage import warnings_of
from simulate.metrics import Metrics, Percentiles, measure
from simulate.outcome import Outcome
from simulate.prepare import Prepared, fleet_size, prepare, queries_of, redrawn, run
from simulate.scenario import Scenario
from simulate.serving import Queries
from traces import Trace

LATENCIES = ("ttft", "tpot", "e2e")
QUANTILES = ("p50", "p95", "p99")


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval over draws of the curves' coefficients; None without draws."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PolicyResult:
    """One policy's run.

    Attributes:
        prepared: the policy as it was made ready: model, clocks, curves.
        outcome: what happened.
        metrics: its totals.
        energy_j: the fleet's energy with interval.
        saving: share of the baseline's energy that the policy saves, with interval.
        latency_change: relative change against the baseline of ``ttft_p50`` ... ``e2e_p99``.
    """

    prepared: Prepared
    outcome: Outcome
    metrics: Metrics
    energy_j: Estimate
    saving: Estimate
    latency_change: dict[str, Estimate]


@dataclass(frozen=True)
class Comparison:
    """All policies on one trace; the first result is the baseline's."""

    scenario: Scenario
    trace: Trace
    calibration: Calibration
    replicas: int
    results: tuple[PolicyResult, ...]
    warnings: tuple[str, ...]


def compare(
    trace: Trace,
    calibration: Calibration,
    scenario: Scenario,
    advance: Callable[[int], None] = lambda _n: None,
) -> Comparison:
    """Replay ``trace`` under the baseline and every policy of ``scenario``.

    Every policy meets the same arrivals on the same number of replicas. Each draw of coefficients
    is shared by all policies, so that savings are differences within one draw.

    Raises:
        BadPolicy, BadCalibration, BadOption, OutOfRange: see :func:`simulate.prepare.prepare`.
    """
    names = list(dict.fromkeys((scenario.baseline, *scenario.policies)))
    queries = queries_of(trace, scenario.arrivals)
    prepared = [prepare(name, scenario, calibration, queries) for name in names]
    replicas = fleet_size(prepared, scenario, queries)
    outcomes = [run(p, scenario, queries, replicas, advance) for p in prepared]
    metrics = [measure(outcome, scenario.slo) for outcome in outcomes]
    draws = _draws(prepared, calibration, scenario, queries, replicas, advance)
    nominal = [_figures(m) for m in metrics]
    results = tuple(
        PolicyResult(
            prepared[i],
            outcomes[i],
            metrics[i],
            _estimate(nominal[i]["energy_j"], draws[i]["energy_j"]),
            _estimate(
                1 - nominal[i]["energy_j"] / nominal[0]["energy_j"],
                1 - draws[i]["energy_j"] / draws[0]["energy_j"],
            ),
            {
                key: _estimate(
                    nominal[i][key] / nominal[0][key] - 1, draws[i][key] / draws[0][key] - 1
                )
                for key in nominal[i]
                if key != "energy_j"
            },
        )
        for i in range(len(names))
    )
    return Comparison(
        scenario,
        trace,
        calibration,
        replicas,
        results,
        tuple(warnings_of(trace, calibration, scenario, [r.outcome for r in results], prepared)),
    )


def planned_queries(trace: Trace, scenario: Scenario) -> int:
    """Return how many queries :func:`compare` will serve in all, for a progress bar."""
    policies = len(dict.fromkeys((scenario.baseline, *scenario.policies)))
    return len(trace) * policies * (1 + scenario.draws)


def require_sensible(scenario: Scenario) -> None:
    """Raise :class:`BadOption` for numbers that no scenario can have."""
    for name, value, least in (
        ("--replicas", scenario.replicas, 1),
        ("--switch-latency", scenario.switch_latency_s, 0),
        ("--min-dwell", scenario.min_dwell_s, 0),
        ("--idle-power-w", scenario.idle_power_w, 0),
        ("--max-slowdown", scenario.max_slowdown, 0),
        ("--draws", scenario.draws, 0),
        ("--seed", scenario.seed, 0),
    ):
        if value is not None and not least <= value < float("inf"):
            raise BadOption(f"{name}: found {value:g}; expected {least} or more")
    if scenario.draws == 1:
        raise BadOption("--draws: found 1; expected 0, or at least 2 for an interval")


def _draws(
    prepared: list[Prepared],
    calibration: Calibration,
    scenario: Scenario,
    queries: Queries,
    replicas: int,
    advance: Callable[[int], None],
) -> list[dict[str, Array]]:
    found: list[list[dict[str, float]]] = [[] for _ in prepared]
    for draw in range(scenario.draws):
        drawn = calibration.drawn(np.random.default_rng([scenario.seed, draw]))
        for rows, policy in zip(found, prepared, strict=True):
            other = redrawn(policy, drawn, scenario.engine, queries)
            rows.append(_figures(measure(run(other, scenario, queries, replicas, advance))))
    keys = _figure_keys(found)
    return [{key: np.array([row[key] for row in rows]) for key in keys} for rows in found]


def _figures(metrics: Metrics) -> dict[str, float]:
    figures = {"energy_j": metrics.energy_j}
    for latency in LATENCIES:
        values: Percentiles = getattr(metrics, latency)
        for quantile in QUANTILES:
            value = getattr(values, f"{quantile}_s")
            if value is not None:
                figures[f"{latency}_{quantile}"] = value
    return figures


def _figure_keys(found: list[list[dict[str, float]]]) -> list[str]:
    if not found[0]:
        return ["energy_j", *(f"{a}_{q}" for a in LATENCIES for q in QUANTILES)]
    return list(found[0][0])


def _estimate(value: float, draws: Array) -> Estimate:
    if draws.size == 0:
        return Estimate(value, None, None)
    reach = float(scipy.special.stdtrit(draws.size - 1, 0.975)) * float(np.std(draws, ddof=1))
    return Estimate(value, value - reach, value + reach)
