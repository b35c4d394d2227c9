"""How many replicas a candidate needs: in one draw, then in all of them, then whether more pay.

In: a candidate, what the curves say of it, and runs as they are asked for. Out: how it fared. These
are generators that yield tasks: see :mod:`simulate.plan.workers`.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from phasewatt.errors import UserError
from simulate.costs import Objective
from simulate.plan.candidates import Candidate
from simulate.plan.goals import Goals
from simulate.plan.looks import Look
from simulate.plan.promise import each_of, upper_bound
from simulate.plan.runs import Run, RunTask

Runs = Generator[Sequence[RunTask], list[Run], "Found"]

UNRUNNABLE = "cannot be run: "
"""How reasons begin that are mistakes in what was asked of a candidate."""

_DRAWS_AT_ONCE = 2

_ONE_BY_ONE = 8
"""Sizes from the screened one on that are tried one by one."""

_DOUBLINGS = 3
"""From the estimate, or the most that a bound asks for, a fleet is doubled so often."""


@dataclass(frozen=True)
class Question:
    """What all candidates are asked: goals, an objective, draws, a load.

    ``draws`` is how many runs stand behind a promise.
    """

    goals: Goals
    objective: Objective
    draws: int
    load: float = 1.0

    def task(self, candidate: Candidate, replicas: int, draw: int) -> RunTask:
        """Return the run of a fleet in one draw."""
        goals = self.goals
        return RunTask(candidate, replicas, draw, self.load, goals.figures, goals.window)

    def met(self, run: Run) -> bool:
        """Whether one run keeps every latency."""
        return all(
            run.latencies_s[goal.figure.name] <= goal.limit_s for goal in self.goals.latencies
        )

    def bounds_s(self, runs: Sequence[Run]) -> dict[str, float]:
        """Return what each goal's percentile stays below in a new run, all goals together."""
        goals = self.goals.latencies
        each = each_of(len(goals), self.goals.confidence)
        return {
            goal.figure.name: upper_bound([run.latencies_s[goal.figure.name] for run in runs], each)
            for goal in goals
        }

    def promised(self, runs: Sequence[Run]) -> bool:
        """Whether each of ``runs`` keeps every latency, and a new one will, as surely as asked."""
        bounds_s = self.bounds_s(runs)
        return all(map(self.met, runs)) and all(
            bounds_s[goal.figure.name] <= goal.limit_s for goal in self.goals.latencies
        )

    def value(self, runs: Sequence[Run]) -> float:
        """Return the mean of what is to be least of a month, over ``runs``."""
        return math.fsum(self.objective.of(run.month) for run in runs) / len(runs)

    def over_power(self, run: Run) -> str | None:
        """Return how ``run`` draws too much; None where it does not."""
        for name, peak_w, budget_w in (
            ("rack", run.rack_peak_w, self.goals.rack_power_w),
            ("site", run.site_peak_w, self.goals.site_power_w),
        ):
            if budget_w is not None and peak_w > budget_w:
                return (
                    f"{name} peaks at {peak_w / 1e3:.3g} kW over {self.goals.window} with "
                    f"{counted(run.replicas)}; the budget is {budget_w / 1e3:.3g} kW"
                )
        return None


@dataclass(frozen=True)
class Found:
    """How a candidate fared.

    Attributes:
        candidate: who.
        replicas: its size, as far as it was found.
        runs: those behind it, all draws or the first one.
        failed: why it is no choice; None where it is one.
        below: why one replica fewer does not do.
        tried: runs of every size that was tried, on the first draw.
    """

    candidate: Candidate
    replicas: int | None
    runs: tuple[Run, ...]
    failed: str | None = None
    below: str | None = None
    tried: tuple[Run, ...] = ()


def screened(
    candidate: Candidate, question: Question, low: int, likely: int, high: int | None
) -> Runs:
    """Find the least size that keeps every latency in the first draw, ``low`` to ``high``.

    More replicas are taken never to break what fewer keep; the promise checks that beside the size
    that comes out. Sizes are tried around ``likely``; without ``high``, up to so many doublings.
    """
    tried: dict[int, Run] = {}

    def asked(replicas: int) -> Generator[Sequence[RunTask], list[Run], bool]:
        if replicas not in tried:
            (tried[replicas],) = yield [question.task(candidate, replicas, 0)]
        return question.met(tried[replicas])

    if candidate.fixed is not None:
        low = high = candidate.fixed
    most = max(low, likely) << _DOUBLINGS
    high = most if high is None else min(high, most)
    size = min(max(likely, low), high)
    try:
        bad, good, step = low - 1, high + 1, 1
        while bad + 1 < good:
            if (yield from asked(size)):
                good = size
            else:
                bad = size
            if good > high:
                size = min(high, bad + step)
            elif bad < low:
                size = max(low, good - step)
            else:
                size = (bad + good) // 2
            step *= 2
    except UserError as error:
        return Found(candidate, None, (), f"{UNRUNNABLE}{error}")
    runs = tuple(tried[replicas] for replicas in sorted(tried))
    if good > high:
        return Found(candidate, None, (tried[high],), _missed(question, tried[high]), tried=runs)
    power = question.over_power(tried[good])
    return Found(candidate, good, (tried[good],), power, tried=runs)


def promised(found: Found, question: Question, high: int | None, worst: float) -> Runs:
    """Find the least size, from the screened one on, that keeps its promise in all draws.

    One by one at first, since bounds of few runs are noisy, then by bisection. No size is a
    choice whose objective in the first draw is above ``worst``.
    """
    candidate, bad = found.candidate, (found.replicas or 1) - 1
    ceiling = bad + 1 << _DOUBLINGS if high is None else high
    below, over, good = _one_fewer(found, question), "", None
    if candidate.fixed is not None:
        below, ceiling = "the size is given", bad + 1
    size, step = bad + 1, 1
    kept: tuple[Run, ...] = ()
    last: tuple[Run, ...] = found.runs
    while bad + 1 < (ceiling + 1 if good is None else good):
        runs, missed, over_here = yield from _tested(candidate, size, question, worst)
        last = runs
        if over_here is not None:
            over, ceiling = over_here, size - 1
        elif missed is not None:
            below, bad = missed, size
        else:
            good, kept = size, runs
        if good is None:
            if bad - (found.replicas or 1) >= _ONE_BY_ONE:
                step *= 2
            size = min(ceiling, bad + step)
        else:
            size = (bad + good) // 2
    if good is None:
        smaller = bad >= (found.replicas or 1)
        failed = f"{over}, and with fewer: {below}" if over and smaller else over or below
        return Found(candidate, bad + 1, last, failed, below, found.tried)
    return Found(candidate, good, kept, None, below, found.tried)


def _tested(
    candidate: Candidate, replicas: int, question: Question, worst: float
) -> Generator[Sequence[RunTask], list[Run], tuple[tuple[Run, ...], str | None, str | None]]:
    """Return runs of one size, why it misses its goals, and why it is too large; None for not.

    No further draw is run after one that misses.
    """
    runs: list[Run] = []
    for first in range(0, question.draws, _DRAWS_AT_ONCE):
        last = min(first + _DRAWS_AT_ONCE, question.draws)
        runs += yield [question.task(candidate, replicas, draw) for draw in range(first, last)]
        if question.value(runs[:1]) > worst:
            return tuple(runs), None, f"comes to too much with {counted(replicas)}"
        missed = next((run for run in runs if not question.met(run)), None)
        if missed is not None:
            return tuple(runs), _missed(question, missed), None
        over = next(filter(None, map(question.over_power, runs)), None)
        if over is not None:
            return tuple(runs), None, over
    return tuple(runs), None if question.promised(runs) else _unsure(question, runs), None


def _one_fewer(found: Found, question: Question) -> str:
    """Return why one replica fewer than was found in the first draw does not do."""
    if found.replicas == found.candidate.smallest:
        return "there is no smaller fleet"
    fewer = (run for run in found.tried if run.replicas + 1 == found.replicas)
    return next((_missed(question, run) for run in fewer), "ruled out by the bound")


def worthwhile(chosen: Found, question: Question, looks: Sequence[Look], high: int | None) -> Runs:
    """Add replicas while that pays in the first draw; return the size of least objective.

    As soon as one more costs more, no further one is tried, nor where the bound of one more says
    that it cannot pay. Without ``high``, where energy is paid for and more always pay, a few
    doublings are the most.
    """
    best = chosen
    assert chosen.replicas is not None
    high = chosen.replicas << _DOUBLINGS if high is None else high
    while best.candidate.fixed is None:
        assert best.replicas is not None
        more = best.replicas + 1
        if more > high:
            break
        if least(looks, more, question.objective) >= question.value(best.runs):
            break
        (run,) = yield [question.task(best.candidate, more, 0)]
        cheaper = question.value([run]) < question.value(best.runs[:1])
        if not cheaper or not question.met(run) or question.over_power(run):
            break
        runs = yield [question.task(best.candidate, more, k) for k in range(question.draws)]
        over = any(map(question.over_power, runs))
        if over or not question.promised(runs) or question.value(runs) >= question.value(best.runs):
            break
        below = f"it would do, and come to {question.value(best.runs):.4g}"
        best = replace(best, replicas=more, runs=tuple(runs), below=below)
    return best


def least(looks: Sequence[Look], replicas: int, objective: Objective) -> float:
    """Return what the objective is at least on so many replicas, on average over the draws."""
    bills = [each.month(replicas) for each in looks]
    known = [bill for bill in bills if bill is not None]
    if len(known) < len(bills):
        return -math.inf
    return math.fsum(objective.of(bill) for bill in known) / len(known)


def _missed(question: Question, run: Run) -> str:
    missed = [
        f"{goal.figure.label} {seconds(goal.figure.latency, run.latencies_s[goal.figure.name])}"
        for goal in question.goals.latencies
        if run.latencies_s[goal.figure.name] > goal.limit_s
    ]
    return f"{' and '.join(missed)} with {counted(run.replicas)} in draw {run.draw + 1}"


def _unsure(question: Question, runs: Sequence[Run]) -> str:
    first = next((run for run in runs if not question.met(run)), None)
    if first is not None:
        return _missed(question, first)
    bounds_s = question.bounds_s(runs)
    missed = [
        f"{goal.figure.label} up to {seconds(goal.figure.latency, bounds_s[goal.figure.name])}"
        for goal in question.goals.latencies
        if bounds_s[goal.figure.name] > goal.limit_s
    ]
    return f"{' and '.join(missed)} in a new run with {counted(runs[0].replicas)}"


def seconds(latency: str, value_s: float) -> str:
    """Return a latency as people say it: time between tokens in ms."""
    if not math.isfinite(value_s):
        return "without end"
    return f"{1e3 * value_s:.3g} ms" if latency == "tpot" else f"{value_s:.3g} s"


def counted(replicas: int) -> str:
    """Return a number of replicas in words."""
    return f"{replicas} replica{'' if replicas == 1 else 's'}"
