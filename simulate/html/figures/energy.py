"""Where the energy goes: by state of the replicas, by phase of the requests, by model.

In: joules by kind. Out: plots of bars in parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.core.properties import value
from bokeh.models import HBar, Range1d, Text

from simulate.html.figures.frame import FONT, draw, frame, hover, plain_numbers
from simulate.html.view import Plot, Series, Table
from simulate.number import number

_J_PER_KWH = 3.6e6
_UNITS = ((_J_PER_KWH, "kWh"), (1e3, "kJ"), (1.0, "J"))
_LONGEST_NAME = 44
_BAR_PX = 58


@dataclass(frozen=True)
class Split:
    """One way to split energy: joules of each part, for each series; colours by part."""

    name: str
    title: str
    says: str
    parts: Sequence[Mapping[str, float]]
    colours: Mapping[str, str]


def energy_plot(split: Split, series: Sequence[Series]) -> Plot:
    """Return the bars of one split, longest unit that keeps figures readable."""
    shown = [
        part for part in split.colours if any(parts.get(part, 0.0) > 0 for parts in split.parts)
    ]
    most_j = max(sum(parts.values()) for parts in split.parts)
    joules, unit = next((u for u in _UNITS if most_j >= u[0] / 10), _UNITS[-1])
    rows = tuple(
        (
            each.name,
            *(_cell(parts.get(part, 0.0), joules, sum(parts.values())) for part in shown),
        )
        for each, parts in zip(series, split.parts, strict=True)
    )
    return Plot(
        name=split.name,
        title=f"{split.title}, {unit}",
        says=split.says,
        model=_figure(split, shown, series, joules, unit),
        table=Table(("policy", *(f"{part}, {unit}" for part in shown)), rows),
        keys=tuple((split.colours[part], part) for part in shown),
    )


def _cell(part_j: float, joules: float, total_j: float) -> str:
    share = f" ({part_j / total_j:.1%})" if total_j else ""
    return f"{number(part_j / joules)}{share}"


def _figure(
    split: Split, shown: Sequence[str], series: Sequence[Series], joules: float, unit: str
) -> Any:
    plot = frame(f"energy, {unit}", "", height_px=90 + _BAR_PX * len(series))
    plot.yaxis.visible = False
    plot.ygrid.visible = False
    plot.y_range = Range1d(len(series) - 0.45, -0.75)
    plot.x_range.start = 0
    plot.x_range.range_padding = 0.02
    plain_numbers(plot.xaxis)
    drawn = []
    for index, (each, parts) in enumerate(zip(series, split.parts, strict=True)):
        left = 0.0
        total = sum(parts.values())
        for part in shown:
            size = parts.get(part, 0.0) / joules
            columns = {
                "y": [index],
                "left": [left],
                "right": [left + size],
                "policy": [each.name],
                "part": [part],
                "size": [size],
                "share": [100 * parts.get(part, 0.0) / total if total else 0.0],
            }
            bar = HBar(y="y", left="left", right="right", height=0.42, line_color=None)
            drawn.append(draw(plot, columns, bar, split.colours[part], each.tags))
            left += size
        label = Text(x="x", y="y", text="text", text_font_size="13px", text_baseline="bottom")
        label.text_font = value(FONT)
        place = {"x": [0], "y": [index - 0.27], "text": [_short(each.name)]}
        draw(plot, place, label, "ink", each.tags)
    tips = [
        ("policy", "@policy"),
        ("part", "@part"),
        ("energy", f"@size{{0,0.000}} {unit}, @share{{0.0}}%"),
    ]
    hover(plot, drawn, tips)
    return plot


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
