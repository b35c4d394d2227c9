"""One run of a fleet of some size: what a plan asks a worker for.

In: a :class:`RunTask`. Out: :class:`Run`, a few figures. The same draw of arrivals, lengths and
curves has the same number whatever the candidate, so that candidates meet the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import traces
from model.calibration import Calibration
from phasewatt.errors import BadOption, OutOfRange
from simulate.answers import answers_of
from simulate.batching import Disaggregated
from simulate.compare import require_sensible
from simulate.costs import Bill, Costs
from simulate.coverage import is_saturated, warnings_of
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
from simulate.inputs import Inputs
from simulate.meter import SERVING
from simulate.outcome import Outcome
from simulate.plan.candidates import Candidate
from simulate.plan.goals import Figure
from simulate.plan.split import pools_of
from simulate.power import peaks_w
from simulate.prepare import queries_of
from simulate.scenario import Arrivals
from simulate.serving import Queries
from simulate.words import inputs_of_words

MONTH_S = 365 / 12 * 86400.0

_OTHER_DRAWS = 1000
"""The next draw of coefficients, where one contradicts what was measured, comes after so many."""

_DRAWS_AT_MOST = 20

_CASES = 16
"""Draws of traces that a worker remembers."""


@dataclass(frozen=True)
class RunTask:
    """A fleet of ``candidate`` with ``replicas``, at ``load`` times the rate, in draw ``draw``."""

    candidate: Candidate
    replicas: int
    draw: int
    load: float
    figures: tuple[Figure, ...]
    window: str


@dataclass(frozen=True)
class Run:
    """What came of it.

    Attributes:
        replicas: of the fleet.
        draw: the number of the draw.
        load: the factor on the rate.
        seconds: from the first moment to the last token.
        month: the bill of a month that goes on as this run did while requests came: its whole bill
            times what a month is of the time until the last arrival.
        latencies_s: each figure in seconds, by its name.
        unserved: requests rejected or failed.
        requests: all of them.
        output_tokens: of those served.
        utilisation: share of replica time that serves.
        saturated: whether queues still grew at the end.
        gpu_peak_w: the highest mean power of the GPUs over any window, or over the run where that
            is shorter.
        rack_peak_w: with hosts, all of them taken as busy.
        site_peak_w: the same times the PUE.
        warnings: what must be known of it.
    """

    replicas: int
    draw: int
    load: float
    seconds: float
    month: Bill
    latencies_s: Mapping[str, float]
    unserved: int
    requests: int
    output_tokens: int
    utilisation: float
    saturated: bool
    gpu_peak_w: float
    rack_peak_w: float
    site_peak_w: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """What a draw of a candidate meets."""

    inputs: Inputs
    groups: tuple[Group, ...]
    queries: Queries
    costs: Costs

    def sized(self, candidate: Candidate, replicas: int) -> "Case":
        """Return the same with ``replicas`` replicas, unless ``candidate`` says how many."""
        if candidate.fixed is not None:
            return self
        (group,) = self.groups
        batching = group.scenario.batching
        changes: dict[str, Any] = {"replicas": replicas}
        if isinstance(batching, Disaggregated):
            prefilling, decoding = pools_of(replicas, candidate.prefilling or 0.0)
            changes["batching"] = replace(
                batching, prefill_replicas=prefilling, decode_replicas=decoding
            )
            del changes["replicas"]
        scenario = replace(self.inputs.scenario, **changes)
        sized = replace(group, scenario=replace(group.scenario, **changes))
        return replace(self, inputs=replace(self.inputs, scenario=scenario), groups=(sized,))


def run(task: RunTask) -> Run:
    """Replay ``task``.

    Raises:
        UserError: the candidate cannot be run: a policy, a clock or curves that do not go together.
    """
    case = case_of(task.candidate.kind, task.draw, task.load).sized(task.candidate, task.replicas)
    scenario, trace = case.inputs.scenario, case.inputs.trace
    answers = answers_of(trace, scenario, models_of(case.groups))
    fleet = prepare_fleet(task.candidate.policy, case.groups, case.queries, answers)
    outcome = _replayed(fleet, case, task)
    costs, gpus = case.costs, task.candidate.gpus * outcome.replicas
    peak_w = peaks_w(outcome.replayed.intervals)[task.window]
    if peak_w is None:
        peak_w = outcome.energy_j / outcome.makespan_s
    kit = case.groups[0].kit
    site_w = costs.site_power_w(peak_w, gpus, host=costs.host_of(kit))
    times = outcome.time_by_state_s
    served = outcome.served
    return Run(
        replicas=outcome.replicas,
        draw=task.draw,
        load=task.load,
        seconds=outcome.makespan_s,
        month=costs.bill(outcome, [kit]).scaled(MONTH_S / span_s(case)),
        latencies_s={figure.name: figure.of(outcome) for figure in task.figures},
        unserved=int((~served).sum()),
        requests=served.size,
        output_tokens=int(outcome.output_tokens[served].sum()),
        utilisation=sum(times[s] for s in SERVING) / (outcome.replicas * outcome.makespan_s),
        saturated=is_saturated(outcome, scenario),
        gpu_peak_w=peak_w,
        rack_peak_w=site_w / costs.pue,
        site_peak_w=site_w,
        warnings=tuple(warnings_of(trace, case.groups, scenario, [outcome], [fleet])),
    )


@lru_cache(maxsize=_CASES)
def case_of(candidate: Candidate, draw: int, load: float) -> Case:
    """Return what draw ``draw`` of ``candidate`` meets, its size left open.

    Policies do not matter here: ask for :attr:`Candidate.kind`, which is remembered for all.
    A synthetic trace is drawn anew; of others, queries are shuffled among the arrivals.
    """
    seed = candidate.words["seed"] + draw
    inputs = inputs_of_words({**candidate.words, "seed": seed})
    require_sensible(inputs.scenario)
    trace = inputs.trace
    if load != 1:
        trace = traces.scale_rate(trace, load)
    if not candidate.redraws:
        trace = traces.shuffle(trace, seed)
    inputs = replace(inputs, trace=trace)
    if inputs.scenario.arrivals is not Arrivals.TRACE or trace.arrival_s[-1] <= 0:
        raise BadOption("a plan needs requests that arrive over time: found all of them at 0 s")
    return Case(
        inputs,
        groups_of(inputs.scenario, inputs.calibration),
        queries_of(trace, inputs.scenario),
        inputs.scenario.costs or Costs(),
    )


def forget() -> None:
    """Forget what was read and drawn: files may have changed since."""
    case_of.cache_clear()
    drawn_curves.cache_clear()


def span_s(case: Case) -> float:
    """Return how long requests come."""
    return float(case.queries.arrival_s[-1])


@lru_cache(maxsize=_CASES)
def drawn_curves(
    candidate: Candidate, draw: int, load: float, number: int
) -> Mapping[str, Calibration]:
    """Return the calibrations of a case with coefficients of draw ``number``, by their sources."""
    case = case_of(candidate, draw, load)
    return drawn_of(case.groups, case.inputs.scenario.seed, number)


def _replayed(fleet: PreparedFleet, case: Case, task: RunTask) -> Outcome:
    """Return the run on curves of a draw; of the next, where its curves contradict the measured.

    Those would hold no calibrated clock under the power limit.
    """
    sizes = sizes_of(case.groups, [fleet], case.queries)
    for attempt in range(_DRAWS_AT_MOST):
        number = task.draw + attempt * _OTHER_DRAWS
        drawn = drawn_curves(task.candidate.kind, task.draw, task.load, number)
        try:
            return run_fleet(
                redrawn_fleet(fleet, case.groups, drawn), case.groups, case.queries, sizes
            )
        except OutOfRange:
            if attempt + 1 == _DRAWS_AT_MOST:
                raise
    raise AssertionError
