"""What the curves alone say of a candidate: bounds to prune by, and where to begin.

In: a :class:`LookTask`. Out: :class:`Look`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from model.work import Phase
from phasewatt.errors import OutOfRange
from simulate.answers import answers_of
from simulate.costs import Bill, Costs, Rate, Signal
from simulate.costs.signal import constant
from simulate.groups import models_of, prepare_fleet, redrawn_fleet
from simulate.plan.bounds import Floor, fewest_replicas, floor_of
from simulate.plan.candidates import Candidate
from simulate.plan.goals import LatencyGoal
from simulate.plan.runs import MONTH_S, Case, case_of, drawn_curves, span_s
from simulate.plan.split import pool_seconds
from simulate.plan.waiting import wait_s
from simulate.prepare import Prepared
from simulate.quality import How, quality_of_queries
from simulate.scenario import TARGET_UTILISATION
from simulate.serving import Queries, ServingAlone


@dataclass(frozen=True)
class LookTask:
    """What ``candidate`` could do at best at ``load`` times the rate, in draw ``draw``."""

    candidate: Candidate
    draw: int
    load: float
    goals: tuple[LatencyGoal, ...]


@dataclass(frozen=True)
class Look:
    """What a candidate comes to at least.

    Attributes:
        model: what it serves.
        latencies_s: the percentile of each goal if nobody ever waits, by its name.
        fewest: replicas that it needs at least.
        likely: replicas that it may need: an estimate, from which to begin.
        busy_s, joules, standing_w: see :class:`simulate.plan.bounds.Floor`.
        seconds: from the first moment to the last arrival.
        quality: mean quality of its answers, None where unknown; ``how`` it is known.
        costs: what bills are made of, with the least price and intensity at all times; None where
            a price may be negative, so that less energy is no less money.
        rate: what one replica is made of; the rest is of no meaning.
        prefilling: the share of replicas that prefill; None where all do both.
    """

    model: str
    latencies_s: Mapping[str, float]
    fewest: int
    likely: int
    busy_s: float
    joules: float
    standing_w: float
    seconds: float
    quality: float | None
    how: How
    costs: Costs | None
    rate: Rate
    prefilling: float | None

    def month(self, replicas: int) -> Bill | None:
        """Return what a month on ``replicas`` replicas takes at least; None where nobody knows."""
        if self.costs is None:
            return None
        span_s = replicas * self.seconds
        gpu_w = (self.joules + self.standing_w * span_s) / span_s
        serving = self.busy_s / span_s
        rate = Rate(self.rate.kit, replicas, gpu_w, serving)
        return self.costs.bill_of_rates([rate], self.seconds).scaled(MONTH_S / self.seconds)

    def site_power_w(self, replicas: int) -> float:
        """Return what the site of ``replicas`` replicas draws at least at any time."""
        kit, costs = self.rate.kit, self.costs or Costs()
        return costs.site_power_w(
            self.standing_w * replicas, replicas * kit.gpus, 0.0, costs.host_of(kit)
        )


def look(task: LookTask) -> Look:
    """Return what the curves say of ``task``, those of its draw as far as they can.

    Raises:
        UserError: the candidate cannot be run.
    """
    case = case_of(task.candidate.kind, task.draw, task.load)
    group, scenario = case.groups[0], case.groups[0].scenario
    answers = answers_of(case.inputs.trace, scenario, models_of(case.groups))
    fleet = prepare_fleet(task.candidate.policy, case.groups, case.queries, answers)
    nominal = fleet.groups[0]
    try:
        drawn = drawn_curves(task.candidate.kind, task.draw, task.load, task.draw)
        ready = redrawn_fleet(fleet, case.groups, drawn).groups[0]
        floor = floor_of(ready, scenario, case.queries)
    except OutOfRange:
        # These curves contradict the measured ones; what takes their place is only known to a run.
        ready, floor = nominal, _nothing(case.queries)
    how, quality = quality_of_queries(
        (nominal.model,), np.zeros(case.queries.arrival_s.size, dtype=np.int64), answers
    )
    known = None if quality is None else quality[~np.isnan(quality)]
    likely = _likely(nominal, scenario.switch_latency_s, case.queries, task.goals)
    prefilling = None
    if task.candidate.pools:
        seconds = pool_seconds(nominal, case.queries, task.goals)
        prefilling = seconds[0] / sum(seconds)
        likely = math.ceil(sum(seconds) / span_s(case) / TARGET_UTILISATION)
    smallest = task.candidate.smallest
    return Look(
        model=nominal.model,
        latencies_s={goal.figure.name: floor.percentile_s(goal.figure) for goal in task.goals},
        fewest=smallest
        if floor.busy_s == 0
        else max(smallest, fewest_replicas(ready, scenario, case.queries, task.goals)),
        likely=max(smallest, likely),
        busy_s=floor.busy_s,
        joules=floor.joules,
        standing_w=floor.standing_w,
        seconds=span_s(case),
        quality=None if known is None or not known.size else float(known.mean()),
        how=how,
        costs=_cheapest(case),
        rate=Rate(group.kit, 1.0, 0.0, 0.0),
        prefilling=prefilling,
    )


def _nothing(queries: Queries) -> Floor:
    none = np.zeros(queries.arrival_s.size)
    return Floor(none, none, none, 0.0, 0.0, 0.0)


def _likely(
    ready: Prepared, switch_s: float, queries: Queries, goals: tuple[LatencyGoal, ...]
) -> int:
    """Return an estimate of the replicas that goals ask for, by load, and by waiting in M/G/c."""
    fewest = ready.serving.fewest_replicas(queries, switch_s)
    goal = next((goal for goal in goals if goal.figure.latency in ("ttft", "e2e")), None)
    gaps_s = np.diff(queries.arrival_s)
    if goal is None or not isinstance(ready.serving, ServingAlone) or not gaps_s.sum():
        return fewest
    prefill_s, decode_s = (ready.serving.service[phase].time_s for phase in Phase)
    whole_s = prefill_s + decode_s
    own_s = prefill_s if goal.figure.latency == "ttft" else whole_s
    patience_s = goal.limit_s - float(np.percentile(own_s, goal.figure.percentile))
    for replicas in range(fewest, min(2 * fewest + 10, queries.arrival_s.size) + 1):
        waited_s = wait_s(
            goal.figure.percentile / 100,
            1 / float(gaps_s.mean()),
            float(whole_s.mean()),
            float((gaps_s.std() / gaps_s.mean()) ** 2),
            float((whole_s.std() / whole_s.mean()) ** 2),
            replicas,
        )
        if waited_s <= patience_s:
            return replicas
    return fewest


def _cheapest(case: Case) -> Costs | None:
    costs = case.costs
    if costs.price is not None and min(costs.price.values) < 0:
        return None
    return replace(costs, price=_least(costs.price), carbon=_least(costs.carbon))


def _least(signal: Signal | None) -> Signal | None:
    return None if signal is None else constant(signal.name, min(signal.values), signal.origin)


def lowest_common_mhz(candidate: Candidate, model: str) -> float | None:
    """Return the lowest clock that both phases can be asked for where measured; None for none."""
    case = case_of(candidate.kind, 0, 1.0)
    group, scenario = case.groups[0], case.groups[0].scenario
    prefill_mhz, decode_mhz = (
        group.calibration.gpu.clocks_mhz(group.calibration.curves_of(model, p, scenario.engine))
        for p in Phase
    )
    common = np.intersect1d(prefill_mhz, decode_mhz)
    return float(common[0]) if common.size else None
