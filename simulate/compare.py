"""Policies against a baseline on the same arrivals, with intervals.

In: a trace, a calibration, a scenario. Out: every policy's outcome and metrics, its saving and its
latency change against the baseline, and what of this is extrapolated.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy

from model.calibration import Calibration
from model.work import Array
from phasewatt.errors import BadOption, OutOfRange
from simulate.answers import Answers, answers_of
from simulate.batching import Alone
from simulate.breakdown import PartMetrics, break_down, require_parts
from simulate.costs.bill import Bill
from simulate.coverage import warnings_of
from simulate.groups import (
    Group,
    PreparedFleet,
    drawn_of,
    groups_of,
    models_of,
    prepare_fleet,
    redrawn_fleet,
    run_fleet,
    sizes_of,
)
from simulate.metrics import Metrics, measure
from simulate.outcome import Outcome
from simulate.percentiles import percentiles
from simulate.power import by_state, clipped
from simulate.prepare import Prepared, queries_of
from simulate.quality import Quality, quality_of, quality_warnings
from simulate.scenario import Scenario
from simulate.serving import Queries
from simulate.warmup import left_out, require_more
from traces import Trace

Advance = Callable[[int], None]

Replay = Callable[
    [PreparedFleet, tuple[Group, ...], Queries, tuple[int, ...], Advance],
    Outcome,
]
"""Runs a fleet that was made ready, as :func:`simulate.groups.run_fleet` does."""

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
        fleet: the policy as it was made ready for each group.
        outcome: what happened.
        metrics: its totals.
        quality: of the answers that it gave, on average.
        request_quality: of each answer, shape (n,), NaN where unknown; None where all is.
        energy_j: the fleet's energy with interval.
        saving: share of the baseline's energy that the policy saves, with interval.
        latency_change: relative change against the baseline of ``ttft_p50`` ... ``e2e_p99``.
        parts: the figures of each part, for each of the scenario's ways to break a run down.
        bill: what it took at the site, from the end of the warm-up on; None without costs.
    """

    fleet: PreparedFleet
    outcome: Outcome
    metrics: Metrics
    quality: Quality
    request_quality: Array | None
    energy_j: Estimate
    saving: Estimate
    latency_change: dict[str, Estimate]
    parts: dict[str, tuple[PartMetrics, ...]]
    bill: Bill | None

    @property
    def prepared(self) -> Prepared:
        """The policy as it was made ready for the first group: model, clocks, curves."""
        return self.fleet.groups[0]


@dataclass(frozen=True)
class Comparison:
    """All policies on one trace; the first result is the baseline's.

    ``replicas`` are those of all ``groups``; ``words`` are what asked for it, None where nobody
    used words.
    """

    scenario: Scenario
    trace: Trace
    groups: tuple[Group, ...]
    replicas: int
    results: tuple[PolicyResult, ...]
    warnings: tuple[str, ...]
    words: Mapping[str, Any] | None = None

    @property
    def calibration(self) -> Calibration:
        """The calibration of the first group."""
        return self.groups[0].calibration


def compare(
    trace: Trace,
    calibration: Calibration,
    scenario: Scenario,
    advance: Advance = lambda _n: None,
    replay: Replay = run_fleet,
) -> Comparison:
    """Replay ``trace`` under the baseline and every policy of ``scenario``.

    Every policy meets the same arrivals on the same number of replicas; ``calibration`` is that of
    every group that names no other. Each draw of coefficients
    is shared by all policies, so that savings are differences within one draw. ``replay`` runs each
    policy once on the curves as they are; one that remembers outcomes spares doing so again.

    Raises:
        BadPolicy, BadCalibration, BadOption, OutOfRange: see :func:`simulate.prepare.prepare`.
    """
    ready = _ready(trace, calibration, scenario)
    queries, groups, answers = ready.queries, ready.groups, ready.answers
    fleets, sizes = ready.fleets, ready.sizes
    asked = replace(queries, tokens=_needs_tokens(scenario))
    outcomes = [replay(fleet, groups, asked, sizes, advance) for fleet in fleets]
    start = left_out(scenario.warm_up, outcomes)
    metrics = [measure(outcome, scenario.slo, start.since_s) for outcome in outcomes]
    qualities = [quality_of(o, f.selected, answers) for o, f in zip(outcomes, fleets, strict=True)]
    draws, failed = _draws(fleets, groups, scenario, queries, sizes, start.since_s, advance)
    nominal = [_figures(outcome, start.since_s) for outcome in outcomes]
    results = tuple(
        PolicyResult(
            fleets[i],
            outcomes[i],
            metrics[i],
            *qualities[i],
            _estimate(nominal[i]["energy_j"], draws[i]["energy_j"]),
            _estimate(
                1 - nominal[i]["energy_j"] / nominal[0]["energy_j"],
                1 - draws[i]["energy_j"] / draws[0]["energy_j"],
            ),
            {
                key: _estimate(
                    nominal[i][key] / nominal[0][key] - 1, draws[i][key] / draws[0][key] - 1
                )
                # Where nothing got through, there is no latency to compare.
                for key in nominal[i]
                if key != "energy_j" and key in nominal[0]
            },
            _parts(outcomes[i], trace, scenario, start.since_s),
            _bill(outcomes[i], groups, scenario, start.since_s),
        )
        for i in range(len(fleets))
    )
    return Comparison(
        scenario,
        trace,
        groups,
        sum(sizes),
        results,
        (
            *(() if start.note is None else (start.note,)),
            *_of_draws(failed, scenario.draws),
            *warnings_of(trace, groups, scenario, outcomes, fleets),
            *quality_warnings(answers, [f.selected for f in fleets], [q for q, _ in qualities]),
        ),
    )


def planned_replicas(trace: Trace, calibration: Calibration, scenario: Scenario) -> int:
    """Return how many replicas :func:`compare` will take; it raises what that raises, sooner."""
    return sum(_ready(trace, calibration, scenario).sizes)


def planned_queries(trace: Trace, scenario: Scenario) -> int:
    """Return how many queries :func:`compare` will serve in all, for a progress bar."""
    policies = len(dict.fromkeys((scenario.baseline, *scenario.policies)))
    return len(trace) * policies * (1 + scenario.draws)


def require_sensible(scenario: Scenario) -> None:
    """Raise :class:`BadOption` for numbers that no scenario can have."""
    for name, value, least in (
        ("--replicas", scenario.replicas, 1),
        ("--queue-limit", scenario.queue_limit, 1),
        ("--tensor-parallel", scenario.tensor_parallel, 1),
        ("--switch-latency", scenario.switch_latency_s, 0),
        ("--min-dwell", scenario.min_dwell_s, 0),
        ("--idle-power-w", scenario.idle_power_w, 0),
        ("--max-slowdown", scenario.max_slowdown, 0),
        ("--draws", scenario.draws, 0),
        ("--seed", scenario.seed, 0),
    ):
        if value is not None and not least <= value < float("inf"):
            raise BadOption(f"{name}: found {value:g}; expected {least} or more")
    if scenario.token_times and isinstance(scenario.batching, Alone):
        raise BadOption(
            "--token-times belongs to engines that batch; found --batching none, whose decodes are "
            "an interval each: expected static:1, say, which serves one request at a time, too"
        )
    if scenario.draws == 1:
        raise BadOption("--draws: found 1; expected 0, or at least 2 for an interval")


@dataclass(frozen=True)
class _Ready:
    """What :func:`compare` replays: every policy on every group, and the replicas of each."""

    queries: Queries
    groups: tuple[Group, ...]
    answers: Answers
    fleets: list[PreparedFleet]
    sizes: tuple[int, ...]


def _ready(trace: Trace, calibration: Calibration, scenario: Scenario) -> _Ready:
    queries = queries_of(trace, scenario)
    _require_parts(trace, scenario, queries)
    groups = groups_of(scenario, calibration)
    _require_priced(scenario, groups, queries)
    answers = answers_of(trace, scenario, models_of(groups))
    names = dict.fromkeys((scenario.baseline, *scenario.policies))
    fleets = [prepare_fleet(name, groups, queries, answers) for name in names]
    return _Ready(queries, groups, answers, fleets, sizes_of(groups, fleets, queries))


def _require_parts(trace: Trace, scenario: Scenario, queries: Queries) -> None:
    last_s = float(queries.arrival_s[-1])
    require_more(scenario.warm_up, last_s)
    for by in scenario.by:
        require_parts(by, trace.task is not None, last_s)


def _require_priced(scenario: Scenario, groups: tuple[Group, ...], queries: Queries) -> None:
    """Raise a user error for costs that tell nothing of a group, or of the span of arrivals."""
    if scenario.costs is None:
        return
    scenario.costs.require_cover(0.0, float(queries.arrival_s[-1]))
    for group in groups:
        scenario.costs.hardware.require(group.kit)


def _bill(
    outcome: Outcome, groups: tuple[Group, ...], scenario: Scenario, since_s: float
) -> Bill | None:
    if scenario.costs is None:
        return None
    return scenario.costs.bill(outcome, [group.kit for group in groups], since_s)


def _needs_tokens(scenario: Scenario) -> bool:
    """Return whether gaps between tokens must be told apart by their requests."""
    if isinstance(scenario.batching, Alone):
        return False
    return scenario.token_times or scenario.warm_up.seconds != 0 or bool(scenario.by)


def _parts(
    outcome: Outcome, trace: Trace, scenario: Scenario, since_s: float
) -> dict[str, tuple[PartMetrics, ...]]:
    tasks = None if trace.task is None else trace.task.to_pylist()
    return {by.label: break_down(outcome, by, tasks, scenario.slo, since_s) for by in scenario.by}


def _draws(
    fleets: list[PreparedFleet],
    groups: tuple[Group, ...],
    scenario: Scenario,
    queries: Queries,
    sizes: tuple[int, ...],
    since_s: float,
    advance: Advance,
) -> tuple[list[dict[str, Array]], int]:
    """Return every policy's figures of every draw, and how many draws were left out.

    A draw whose curves would hold no calibrated clock under the power limit contradicts what was
    measured: clocks that held.
    """
    found: list[list[dict[str, float]]] = [[] for _ in fleets]
    failed = 0
    for draw in range(scenario.draws):
        drawn = drawn_of(groups, scenario.seed, draw)
        try:
            row = [
                _figures(
                    run_fleet(redrawn_fleet(fleet, groups, drawn), groups, queries, sizes, advance),
                    since_s,
                )
                for fleet in fleets
            ]
        except OutOfRange:
            failed += 1
            continue
        for rows, figures in zip(found, row, strict=True):
            rows.append(figures)
    keys = ["energy_j", *(f"{a}_{q}" for a in LATENCIES for q in QUANTILES)]
    draws = [
        {key: np.array([row.get(key, np.nan) for row in rows]) for key in keys} for rows in found
    ]
    return draws, failed


def _of_draws(failed: int, draws: int) -> tuple[str, ...]:
    if not failed:
        return ()
    return (
        f"intervals rest on {draws - failed} of {draws} draws: the others would hold no calibrated "
        "clock under the power limit, so the curves' power is known badly",
    )


def _figures(outcome: Outcome, since_s: float) -> dict[str, float]:
    """Return what draws are compared by; the peaks of power take a tenth as long as a replay."""
    figures = {"energy_j": outcome.energy_j}
    if since_s > 0:
        intervals = clipped(outcome.replayed.intervals, since_s, outcome.makespan_s)
        figures["energy_j"] = math.fsum(by_state(intervals, intervals.energy_j).values())
    kept = outcome.arrival_s >= since_s
    for latency in LATENCIES:
        values = percentiles(getattr(outcome, f"{latency}_s")[kept])
        for quantile in QUANTILES:
            value = getattr(values, f"{quantile}_s")
            if value is not None:
                figures[f"{latency}_{quantile}"] = value
    return figures


def _estimate(value: float, draws: Array) -> Estimate:
    draws = draws[~np.isnan(draws)]
    if draws.size < 2:
        return Estimate(value, None, None)
    reach = float(scipy.special.stdtrit(draws.size - 1, 0.975)) * float(np.std(draws, ddof=1))
    return Estimate(value, value - reach, value + reach)
