"""How a fleet grows with its load: sizes from month to month, and what they come to.

In: choices at the highest load, a growth. Out: a schedule for each, and the choices in the order of
what they cost over the horizon.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simulate.costs import Bill, Growth
from simulate.plan.ranking import Choice, Ranking
from simulate.plan.runs import Run, RunTask
from simulate.plan.search import Found, Question, promised, screened
from simulate.plan.workers import Workers


@dataclass(frozen=True)
class Month:
    """One month of a plan.

    Attributes:
        number: 0 is now.
        load: the factor on today's.
        replicas: of the fleet.
        bounds_s: what each goal's percentile stays below in a new run, by its name; empty where
            the same fleet keeps its promise at a later, higher load.
        value: what is to be least, of the whole month at that load.
        bill: of the whole month at that load.
    """

    number: int
    load: float
    replicas: int
    bounds_s: dict[str, float]
    value: float
    bill: Bill


def schedule(
    ranking: Ranking,
    question: Question,
    growth: Growth,
    running: Workers[RunTask, Run],
) -> tuple[Ranking, tuple[Month, ...]]:
    """Return the choices in the order of what they cost over all months, and the best's months."""
    months = running.drive([_months(each, question, growth) for each in ranking.choices])
    totals = [math.fsum(month.value for month in each) for each in months]
    order = sorted(range(len(totals)), key=totals.__getitem__)
    choices = tuple(ranking.choices[index] for index in order)
    return replace(ranking, choices=choices), months[order[0]]


def _months(
    choice: Choice, question: Question, growth: Growth
) -> Generator[Sequence[RunTask], list[Run], tuple[Month, ...]]:
    """Find the size of each month: between months of one size, all have that one.

    Lower loads are taken never to need more replicas.
    """
    loads = growth.factors.tolist()
    order = sorted(range(len(loads)), key=loads.__getitem__)
    sizes: dict[int, Found] = {order[-1]: Found(choice.candidate, choice.replicas, choice.runs)}

    def find(which: int, low: int, high: int) -> Generator[Sequence[RunTask], list[Run], None]:
        asked = replace(question, load=loads[which])
        likely = math.ceil(choice.replicas * loads[which] / question.load)
        found = yield from screened(choice.candidate, asked, low, min(likely, high), high)
        if found.replicas is not None:
            found = yield from promised(found, asked, high, math.inf)
        if found.replicas is None or found.failed is not None:
            # The size that a higher load needs does here, by what more load never mends.
            runs = yield [asked.task(choice.candidate, high, draw) for draw in range(asked.draws)]
            found = Found(choice.candidate, high, tuple(runs))
        sizes[which] = found

    def between(first: int, last: int) -> Generator[Sequence[RunTask], list[Run], None]:
        if last - first < 2:
            return
        low, high = (sizes[order[place]].replicas or 1 for place in (first, last))
        if low == high:
            return
        middle = (first + last) // 2
        yield from find(order[middle], low, high)
        yield from between(first, middle)
        yield from between(middle, last)

    if len(order) > 1:
        yield from find(order[0], choice.candidate.smallest, choice.replicas)
        yield from between(0, len(order) - 1)
    found, size = {}, choice.replicas
    for which in reversed(order):
        size = sizes[which].replicas or size if which in sizes else size
        asked = replace(question, load=loads[which])
        runs = sizes[which].runs if which in sizes else ()
        bounds_s = asked.bounds_s(runs) if runs else {}
        if not runs:
            runs = tuple((yield [asked.task(choice.candidate, size, 0)]))
        bill = mean_bill([run.month for run in runs])
        found[which] = Month(which, loads[which], size, bounds_s, question.objective.of(bill), bill)
    return tuple(found[which] for which in range(len(loads)))


def mean_bill(bills: Sequence[Bill]) -> Bill:
    """Return the mean of each figure of ``bills``, which know the same figures."""
    figures: dict[str, Any] = {
        name: math.fsum(getattr(bill, name) for bill in bills) / len(bills)
        for name, figure in vars(bills[0]).items()
        if isinstance(figure, float)
    }
    return replace(bills[0], **figures)
