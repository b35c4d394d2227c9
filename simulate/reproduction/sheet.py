"""A table of pairs: what the paper prints beside what we find, and what explains the difference.

In: figures. Out: values that the terminal, a document and a test read alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Value = float | str | None


@dataclass(frozen=True)
class Column:
    """A column: its heading, and how one figure of it is written."""

    heading: str
    written: Callable[[Value], str]


@dataclass(frozen=True)
class Pair:
    """The paper's figure and ours; None where there is none."""

    paper: Value
    ours: Value


@dataclass(frozen=True)
class Sheet:
    """One table: ``rows`` maps a label to one :class:`Pair` a column, or a plain figure of ours.

    ``key`` names it in documents, ``notes`` explain it, one sentence or more each.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: dict[str, tuple[Pair, ...]]
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the table as plain values."""
        return {
            "title": self.title,
            "rows": {
                label: {
                    column.heading: {"paper": pair.paper, "ours": pair.ours}
                    for column, pair in zip(self.columns, pairs, strict=True)
                }
                for label, pairs in self.rows.items()
            },
            "notes": list(self.notes),
        }


def percent(value: Value) -> str:
    """Return a fraction as percent with one digit."""
    return _dash(value) if not isinstance(value, float) else f"{_percent(value):.1f}%"


def signed(value: Value) -> str:
    """Return a fraction as percent with its sign."""
    return _dash(value) if not isinstance(value, float) else f"{_percent(value):+.1f}%"


def whole(value: Value) -> str:
    """Return a figure without decimals."""
    return _dash(value) if not isinstance(value, float) else f"{value:,.0f}"


def joules(value: Value) -> str:
    """Return a figure with two decimals, or none where it is large."""
    if not isinstance(value, float):
        return _dash(value)
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def words(value: Value) -> str:
    """Return words as they are."""
    return _dash(value)


def cell(column: Column, pair: Pair) -> str:
    """Return a pair as ``paper | ours``, or the only one that there is."""
    if pair.paper is None and pair.ours is None:
        return "-"
    if pair.paper is None:
        return column.written(pair.ours)
    return f"{column.written(pair.paper)} | {column.written(pair.ours)}"


def ours(value: Value) -> Pair:
    """Return a figure that the paper does not have."""
    return Pair(None, value)


def _percent(fraction: float) -> float:
    # A mean of figures with three decimals, such as 0.8375, may fall short by a rounding error.
    return round(100 * fraction, 9)


def _dash(value: Value) -> str:
    return "-" if value is None else str(value)
