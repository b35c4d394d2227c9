"""What the page is made of, before it is HTML.

In: nothing. Out: the values that figures and tables fill and the template lays out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from simulate.html.palette import SERIES_COUNT

Cell = str | Markup

MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "plus", "x")
_DASHES: tuple[tuple[int, ...], ...] = ((), (6, 3), (2, 2), (8, 3, 2, 3), (12, 4), (1, 3))


@dataclass(frozen=True)
class Series:
    """One policy of one run, as every plot draws it.

    Attributes:
        run: number of its run.
        policy: number of its policy in that run.
        run_name: what its run is called; empty where there is one.
        policy_name: what its policy is called.
        colour: name of its colour; the same for the same policy in all runs.
        tags: what switches it on and off.
        marker: how its points look.
        dash: how its lines look; solid in the first run.
    """

    run: int
    policy: int
    run_name: str
    policy_name: str
    colour: str
    tags: tuple[str, ...]
    marker: str
    dash: tuple[int, ...]

    @property
    def name(self) -> str:
        """What plots and tables call it."""
        return f"{self.run_name}: {self.policy_name}" if self.run_name else self.policy_name


@dataclass(frozen=True)
class Table:
    """Rows under columns; the first cell of each row is its heading.

    ``prose`` are the numbers of the columns that hold words and no figures.
    """

    columns: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]
    prose: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plot:
    """A picture and the same in words and figures.

    Attributes:
        name: its id on the page.
        title: what it shows, with units.
        says: the same for those who do not see it.
        model: the Bokeh figure.
        table: its figures.
        keys: what its colours mean, where they are not those of policies: colour and words.
    """

    name: str
    title: str
    says: str
    model: Any
    table: Table
    keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of the page: its id, its heading, what must be known to read its plots."""

    name: str
    heading: str
    note: str
    plots: Sequence[Plot]


@dataclass(frozen=True)
class Part:
    """What another command found, a plan or a sweep.

    Attributes:
        name: its id.
        heading: what it is.
        answer: its first sentence.
        lines: what to know beside it.
        plots: in their order.
        tables: each with its caption.
        command: what to run next, or what made it.
        warnings: what to know before trusting it.
        rests_on: figures that it takes for granted, and where they are from.
    """

    name: str
    heading: str
    answer: str
    lines: tuple[str, ...]
    plots: tuple[Plot, ...]
    tables: tuple[tuple[str, Table], ...]
    command: str
    warnings: tuple[str, ...]
    rests_on: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Switch:
    """What shows and hides all that carries ``tag``; ``colour`` is empty for a run."""

    tag: str
    words: str
    colour: str


def series_of(runs: Sequence[tuple[str, Sequence[str]]]) -> list[Series]:
    """Return the series of ``runs``, each its name and its policies."""
    policies = list(dict.fromkeys(policy for _, found in runs for policy in found))
    several = len(runs) > 1
    return [
        Series(
            run=run,
            policy=number,
            run_name=name if several else "",
            policy_name=policy,
            colour=f"series-{policies.index(policy) % SERIES_COUNT}",
            tags=(f"policy-{policies.index(policy)}", f"run-{run}"),
            marker=MARKERS[(run if several else number) % len(MARKERS)],
            dash=_DASHES[run % len(_DASHES)],
        )
        for run, (name, found) in enumerate(runs)
        for number, policy in enumerate(found)
    ]


def switches_of(series: Sequence[Series]) -> list[Switch]:
    """Return a switch for each policy, then one for each run where there are several."""
    policies = {s.tags[0]: Switch(s.tags[0], s.policy_name, s.colour) for s in series}
    runs = {s.tags[1]: Switch(s.tags[1], s.run_name, "") for s in series if s.run_name}
    return [*policies.values(), *runs.values()]
