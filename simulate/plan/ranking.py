"""The order in which candidates are looked at, pruned, run and promised.

In: candidates and a question. Out: :class:`Ranking`: choices by what they cost, and why the others
are none.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from phasewatt.errors import UserError
from simulate.costs import Costs
from simulate.plan.candidates import Candidate
from simulate.plan.looks import Look, LookTask
from simulate.plan.runs import Run, RunTask
from simulate.plan.search import (
    UNRUNNABLE,
    Found,
    Question,
    counted,
    least,
    promised,
    screened,
    seconds,
    worthwhile,
)
from simulate.plan.workers import Workers

MARGIN = 0.05
"""Candidates that cost so much more than the best in the first draw, which both meet, are left."""

_FIRST = 2
"""So many candidates of the least bounds are run before bounds of others are held against them."""


@dataclass(frozen=True)
class Choice:
    """A candidate that keeps the promise.

    Attributes:
        candidate: what kind of fleet.
        replicas: how many.
        runs: one in each draw.
        bounds_s: what each goal's percentile stays below in a new run, by its name.
        value: the mean of what is to be least.
        below: why one replica fewer does not do.
        looks: what the curves say of it, in each draw.
    """

    candidate: Candidate
    replicas: int
    runs: tuple[Run, ...]
    bounds_s: dict[str, float]
    value: float
    below: str
    looks: tuple[Look, ...]


@dataclass(frozen=True)
class Dropped:
    """A candidate that is no choice.

    Attributes:
        candidate: what kind of fleet.
        stage: ``bound``, without any run; ``run``, after the first draw; ``promise``, after all.
        reason: why, with figures.
        nearest: how far its latencies are from their limits, as the largest ratio; inf where
            nobody knows.
        run: the run that shows it, if any.
    """

    candidate: Candidate
    stage: str
    reason: str
    nearest: float
    run: Run | None = None


@dataclass(frozen=True)
class Ranking:
    """Choices, the best first, and everybody else, the nearest first."""

    choices: tuple[Choice, ...]
    dropped: tuple[Dropped, ...]


Looks = dict[Candidate, tuple[Look, ...] | str]
"""What the curves say of each candidate, draw by draw, or why it cannot be run."""


def look_at(
    candidates: Sequence[Candidate], question: Question, looking: Workers[LookTask, Look]
) -> Looks:
    """Return what the curves say of ``candidates``."""
    found = looking.drive([_looked(each, question) for each in candidates])
    return {
        who if isinstance(looks, str) else replace(who, prefilling=looks[0].prefilling): looks
        for who, looks in zip(candidates, found, strict=True)
    }


def rank(looks: Looks, question: Question, costs: Costs, running: Workers[RunTask, Run]) -> Ranking:
    """Find the size of every candidate that bounds and first runs leave, and order them.

    Raises:
        BadOption, OutOfRange: ``costs`` do not tell of some candidate, or of the span of the trace.
    """
    contest = _Contest(question, running, {})
    left: list[Candidate] = []
    for candidate, found in looks.items():
        if isinstance(found, str):
            contest.drop(candidate, "bound", f"{UNRUNNABLE}{found}")
            continue
        contest.looks[candidate] = found
        costs.hardware.require(found[0].rate.kit)
        costs.require_cover(0.0, found[0].seconds)
        reason = _impossible(candidate, found, question)
        if reason is None:
            left.append(candidate)
        else:
            contest.drop(candidate, "bound", reason, _nearest_floor(found, question))
    left.sort(key=contest.least_likely)
    contest.meet(left[:_FIRST])
    contest.meet(left[_FIRST:])
    choices = sorted(
        contest.choices, key=lambda each: (each.value, each.replicas * each.candidate.gpus)
    )
    dropped = sorted(contest.dropped, key=lambda each: each.nearest)
    return Ranking(tuple(choices), tuple(dropped))


class _Contest:
    """What is known so far: choices, whom they leave behind, and looks."""

    def __init__(
        self,
        question: Question,
        running: Workers[RunTask, Run],
        looks: dict[Candidate, tuple[Look, ...]],
    ) -> None:
        self.question, self.running, self.looks = question, running, looks
        self.choices: list[Choice] = []
        self.dropped: list[Dropped] = []

    def drop(
        self,
        candidate: Candidate,
        stage: str,
        reason: str,
        nearest: float = math.inf,
        run: Run | None = None,
    ) -> None:
        self.dropped.append(Dropped(candidate, stage, reason, nearest, run))

    def least_likely(self, candidate: Candidate) -> float:
        """Return what the candidate costs at least with the replicas that it likely needs."""
        looks = self.looks[candidate]
        return least(looks, max(each.likely for each in looks), self.question.objective)

    def meet(self, candidates: Sequence[Candidate]) -> None:
        """Run ``candidates`` in the first draw, and those that may be the best in all draws."""
        left = [each for each in candidates if not self._beaten(each, self._fewest(each))]
        found = self.running.drive([self._screened(each) for each in left])
        kept: list[Found] = []
        for outcome in found:
            if outcome.failed is None:
                kept.append(outcome)
            else:
                run = outcome.runs[0] if outcome.runs else None
                nearest = math.inf if run is None else _nearest(run, self.question)
                self.drop(outcome.candidate, "run", outcome.failed, nearest, run)
        kept.sort(key=lambda outcome: self.question.value(outcome.runs))
        for outcome in kept:
            self._settle(outcome)

    def _settle(self, outcome: Found) -> None:
        candidate, question = outcome.candidate, self.question
        assert outcome.replicas is not None
        first = outcome.runs[0]
        if self._beaten(candidate, outcome.replicas):
            return
        worst = math.inf
        if self.choices:
            best = min(self.choices, key=lambda each: each.value)
            least_value = question.value(best.runs[:1])
            worst = least_value + MARGIN * abs(least_value)
            if question.value([first]) > worst:
                self.drop(
                    candidate,
                    "run",
                    f"comes to {_times(question.value([first]), least_value)} in the first draw, "
                    f"with {counted(first.replicas)}",
                    _nearest(first, question),
                    first,
                )
                return
        (settled,) = self.running.drive([self._promised(outcome, worst)])
        if settled.failed is not None:
            run = settled.runs[0]
            self.drop(candidate, "promise", settled.failed, _nearest(run, question), run)
            return
        assert settled.replicas is not None
        self.choices.append(
            Choice(
                candidate,
                settled.replicas,
                settled.runs,
                question.bounds_s(settled.runs),
                question.value(settled.runs),
                settled.below or "",
                self.looks[candidate],
            )
        )

    def _beaten(self, candidate: Candidate, replicas: int) -> bool:
        """Drop ``candidate`` where its bound is above what a choice costs; return whether so."""
        best = min((each.value for each in self.choices), default=math.inf)
        bound = least(self.looks[candidate], replicas, self.question.objective)
        if bound <= best:
            return False
        self.drop(
            candidate,
            "bound",
            f"comes to {_times(bound, best)} at least, with {counted(replicas)} or more",
        )
        return True

    def _fewest(self, candidate: Candidate) -> int:
        return candidate.fixed or max(each.fewest for each in self.looks[candidate])

    def _most(self, candidate: Candidate) -> int | None:
        gpus = self.question.goals.max_gpus
        return None if gpus is None else gpus // candidate.gpus

    def _screened(self, candidate: Candidate) -> Generator[Sequence[RunTask], list[Run], Found]:
        likely = max(each.likely for each in self.looks[candidate])
        fewest, most = self._fewest(candidate), self._most(candidate)
        return screened(candidate, self.question, fewest, likely, most)

    def _promised(
        self, outcome: Found, worst: float
    ) -> Generator[Sequence[RunTask], list[Run], Found]:
        most = self._most(outcome.candidate)
        try:
            settled = yield from promised(outcome, self.question, most, worst)
            if settled.failed is None:
                looks = self.looks[settled.candidate]
                settled = yield from worthwhile(settled, self.question, looks, most)
        except UserError as error:
            return replace(outcome, failed=f"{UNRUNNABLE}{error}")
        return settled


def _looked(
    candidate: Candidate, question: Question
) -> Generator[Sequence[LookTask], list[Look], tuple[Look, ...] | str]:
    goals = question.goals.latencies
    try:
        looks = yield [
            LookTask(candidate, draw, question.load, goals) for draw in range(question.draws)
        ]
    except UserError as error:
        return str(error)
    return tuple(looks)


def _impossible(candidate: Candidate, looks: Sequence[Look], question: Question) -> str | None:
    """Return why no fleet of ``candidate`` can do, by the bounds; None where one may."""
    goals, first = question.goals, looks[0]
    if goals.min_quality is not None:
        if first.quality is None:
            return "the quality of its answers is unknown: --quality-from or --predictor may tell"
        if first.quality < goals.min_quality:
            return (
                f"quality {first.quality:.1%} ({first.how}) is below the {goals.min_quality:.1%} "
                "asked for"
            )
    for goal in goals.latencies:
        floor_s = _mean_floor_s(looks, goal.figure.name)
        if floor_s > goal.limit_s:
            return (
                f"{goal.figure.label} is {seconds(goal.figure.latency, floor_s)} even where nobody "
                f"waits; the limit is {seconds(goal.figure.latency, goal.limit_s)}"
            )
    fewest = max(each.fewest for each in looks)
    if candidate.fixed is not None and candidate.fixed < fewest:
        return f"needs {counted(fewest)} at least, and has {candidate.fixed}"
    replicas = candidate.fixed or fewest
    if goals.max_gpus is not None and replicas * candidate.gpus > goals.max_gpus:
        return f"needs {replicas * candidate.gpus} GPUs at least; {goals.max_gpus} are allowed"
    watts = first.site_power_w(replicas)
    pue = 1.0 if first.costs is None else first.costs.pue
    for name, least_w, budget_w in (
        ("rack", watts / pue, goals.rack_power_w),
        ("site", watts, goals.site_power_w),
    ):
        if budget_w is not None and least_w > budget_w:
            return (
                f"the {name} draws {least_w / 1e3:.3g} kW at least; the budget is "
                f"{budget_w / 1e3:.3g} kW"
            )
    return None


def _mean_floor_s(looks: Sequence[Look], goal: str) -> float:
    """Return the geometric mean over draws: the bound of a promise is never below it."""
    floors = [each.latencies_s[goal] for each in looks]
    if min(floors) <= 0:
        return 0.0
    return math.exp(math.fsum(map(math.log, floors)) / len(floors))


def _nearest_floor(looks: Sequence[Look], question: Question) -> float:
    return max(_mean_floor_s(looks, g.figure.name) / g.limit_s for g in question.goals.latencies)


def _nearest(run: Run, question: Question) -> float:
    return max(run.latencies_s[g.figure.name] / g.limit_s for g in question.goals.latencies)


def _times(value: float, best: float) -> str:
    return f"{value / best:.3g} x the best" if best > 0 else f"{value:.4g}, the best to {best:.4g}"
