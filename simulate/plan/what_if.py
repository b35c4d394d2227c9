"""What becomes of the best choice where what was assumed turns out otherwise, and its headroom.

In: a ranking, its question. Out: rows of what changes, and the load up to which goals are kept.
More load, tighter limits and headroom are reckoned from the first draw: its latencies times what
the plan's own bounds are above them.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from simulate.costs import Costs
from simulate.plan.candidates import STOCK, Candidate
from simulate.plan.goals import Goals, LatencyGoal
from simulate.plan.looks import lowest_common_mhz
from simulate.plan.ranking import Choice, Ranking
from simulate.plan.runs import Run, RunTask
from simulate.plan.search import Found, Question, promised, screened
from simulate.plan.workers import Workers

MORE_LOAD = 1.2
TIGHTER = 0.8
DEARER = 2.0

_FIRST_LOADS = (1.1, 1.2, 1.5)
_MORE_LOADS = (2.0, 3.0, 4.0)
_ROUNDS = 1
"""Each puts three loads between the highest that is kept and the lowest that is not."""

Asking = Generator[Sequence[RunTask], list[Run], Found]


@dataclass(frozen=True)
class WhatIf:
    """One change, and the fleet that it asks for.

    Attributes:
        change: in words.
        policy: the governor then.
        replicas: how many are needed then; None where no number does.
        value: what is to be least then; None where no fleet does.
        against: its ratio to the plan's; None where that comes to nothing.
        note: what else must be known.
    """

    change: str
    policy: str
    replicas: int | None
    value: float | None
    against: float | None
    note: str = ""


@dataclass(frozen=True)
class Headroom:
    """The fleet keeps its goals at ``kept`` times the load, and breaks them at ``broken`` times.

    ``broken`` is None where no load that was tried does; ``why`` names what breaks first.
    """

    kept: float
    broken: float | None
    why: str


def what_ifs(
    ranking: Ranking, question: Question, costs: Costs, running: Workers[RunTask, Run]
) -> tuple[WhatIf, ...]:
    """Return how the best choice changes with load, goals, clocks and prices."""
    best, goals = ranking.choices[0], _reckoned(ranking.choices[0], question)
    most = None if goals.max_gpus is None else goals.max_gpus // best.candidate.gpus
    usual = replace(question, goals=goals)
    asked = {
        f"load {MORE_LOAD - 1:+.0%}": replace(usual, load=question.load * MORE_LOAD),
        f"latency limits {TIGHTER - 1:+.0%}": replace(usual, goals=goals.tightened(TIGHTER)),
    }
    likely = [math.ceil(best.replicas * MORE_LOAD), best.replicas]
    pressed = running.drive(
        [
            screened(best.candidate, each, best.replicas, size, most)
            for each, size in zip(asked.values(), likely, strict=True)
        ]
    )
    clocks = {"clocks left alone": STOCK}
    low_mhz = lowest_common_mhz(best.candidate, best.looks[0].model)
    if low_mhz is not None:
        clocks[f"lowest clock, {low_mhz:,.0f} MHz"] = f"fixed:{low_mhz:g}"
    others = {what: best.candidate.under(policy) for what, policy in clocks.items()}
    others = {what: other for what, other in others.items() if other != best.candidate}
    clocked = running.drive(
        [_settled(each, ranking, question, best.replicas, most) for each in others.values()]
    )
    return (
        *(
            _pressed(what, found, each, question, best)
            for (what, each), found in zip(asked.items(), pressed, strict=True)
        ),
        *(
            _clocked(what, found, question, best)
            for what, found in zip(others, clocked, strict=True)
        ),
        *_dearer(ranking, question, costs),
    )


def headroom(best: Choice, question: Question, running: Workers[RunTask, Run]) -> Headroom:
    """Return up to which load ``best`` keeps its goals; more load is taken never to mend them."""
    usual = replace(question, goals=_reckoned(best, question))

    def kept(run: Run) -> bool:
        return usual.met(run) and usual.over_power(run) is None

    low, high = 1.0, math.inf
    broken: Run | None = None
    for loads in (_FIRST_LOADS, _MORE_LOADS, *((),) * _ROUNDS):
        if not loads:
            if broken is None:
                break
            loads = tuple(low + (high - low) * part / 4 for part in (1, 2, 3))
        elif broken is not None:
            continue
        tasks = [
            replace(usual, load=question.load * load).task(best.candidate, best.replicas, 0)
            for load in loads
        ]
        for load, run in zip(loads, running.results(tasks), strict=True):
            if not kept(run):
                high, broken = load, run
                break
            low = load
    if broken is None:
        return Headroom(low, None, "")
    missed = [
        goal.figure.label
        for goal in usual.goals.latencies
        if broken.latencies_s[goal.figure.name] > goal.limit_s
    ]
    return Headroom(low, high, " and ".join(missed) or "power")


def _reckoned(best: Choice, question: Question) -> Goals:
    """Return goals for the first draw alone: limits lowered as bounds are above its figures."""

    def lowered(goal: LatencyGoal) -> LatencyGoal:
        first_s, bound_s = (
            best.runs[0].latencies_s[goal.figure.name],
            best.bounds_s[goal.figure.name],
        )
        return replace(goal, limit_s=goal.limit_s * (first_s / bound_s if bound_s else 1.0))

    return replace(question.goals, latencies=tuple(map(lowered, question.goals.latencies)))


def _settled(
    candidate: Candidate, ranking: Ranking, question: Question, likely: int, most: int | None
) -> Asking:
    """Find the size of another candidate that keeps its promise, if that is not known yet."""
    for each in ranking.choices:
        if each.candidate == candidate:
            return Found(candidate, each.replicas, each.runs)
    found = yield from screened(candidate, question, candidate.smallest, likely, most)
    if found.failed is None:
        found = yield from promised(found, question, most, math.inf)
    return found


def _pressed(what: str, found: Found, asked: Question, question: Question, best: Choice) -> WhatIf:
    """Return what the plan's kind of fleet needs then, by its ratio to the plan in draw 0."""
    policy = best.candidate.policy
    if found.failed is not None:
        return WhatIf(what, policy, None, None, None, found.failed)
    ratio = _ratio(asked.value(found.runs), question.value(best.runs[:1]))
    value = best.value if ratio is None else ratio * best.value
    return WhatIf(what, policy, found.replicas, value, ratio)


def _clocked(what: str, found: Found, question: Question, best: Choice) -> WhatIf:
    policy = found.candidate.policy
    if found.failed is not None:
        return WhatIf(what, policy, None, None, None, found.failed)
    value, note = question.value(found.runs), ""
    if value < best.value:
        note = f"less than the plan: try it with --policy {policy}"
    return WhatIf(what, policy, found.replicas, value, _ratio(value, best.value), note)


def _ratio(value: float, plans: float) -> float | None:
    return value / plans if plans else None


def _dearer(ranking: Ranking, question: Question, costs: Costs) -> tuple[WhatIf, ...]:
    """Return which choice is best where electricity costs twice as much; nothing is run again."""
    if costs.price is None or "cost" not in dict(question.objective.weights):
        return ()

    def value(choice: Choice) -> float:
        bills = [
            replace(run.month, energy_cost=DEARER * (run.month.energy_cost or 0.0))
            for run in choice.runs
        ]
        return math.fsum(map(question.objective.of, bills)) / len(bills)

    then = min(ranking.choices, key=value)
    same = then is ranking.choices[0]
    return (
        WhatIf(
            f"price of electricity x {DEARER:g}",
            then.candidate.policy,
            then.replicas,
            value(then),
            _ratio(value(then), ranking.choices[0].value),
            "" if same else f"then the best is {then.candidate.label}",
        ),
    )
