"""Bars side by side, each under its own name: a narrow page has no room for names beside them.

In: names and values. Out: a plot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.core.properties import value
from bokeh.models import HBar, Range1d, Span, Text

from simulate.html.figures.frame import FONT, coloured, draw, frame, hover, plain_numbers

_LONGEST_NAME = 44
_BAR_PX = 52


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its length, what hovering tells, the name of its colour."""

    name: str
    length: float
    says: str
    colour: str = "series-1"


def bars(axis: str, shown: Sequence[Bar]) -> Any:
    """Return a plot of ``shown`` from the top down; ``axis`` says what lengths are, with a unit."""
    plot = frame(axis, "", height_px=90 + _BAR_PX * len(shown))
    plot.yaxis.visible = False
    plot.ygrid.visible = False
    plot.y_range = Range1d(len(shown) - 0.45, -0.75)
    plot.x_range.range_padding = 0.05
    plain_numbers(plot.xaxis)
    lowest = min(0.0, *(bar.length for bar in shown))
    drawn = []
    for index, bar in enumerate(shown):
        columns = {"y": [index], "end": [bar.length], "name": [bar.name], "says": [bar.says]}
        glyph = HBar(y="y", left=0.0, right="end", height=0.42, line_color=None)
        drawn.append(draw(plot, columns, glyph, bar.colour))
        name = {"x": [lowest], "y": [index - 0.27], "text": [short(bar.name)]}
        draw(plot, name, label(), "ink")
    plot.add_layout(coloured(Span(location=0.0, dimension="height"), "line"))
    hover(plot, drawn, [("", "@name"), ("", "@says")])
    return plot


def label() -> Any:
    """Return the glyph that writes a name above its bar."""
    glyph = Text(x="x", y="y", text="text", text_font_size="13px", text_baseline="bottom")
    glyph.x_offset = 2
    glyph.text_font = value(FONT)
    return glyph


def short(name: str) -> str:
    """Return ``name``, cut where a narrow plot would cut it."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
