"""Where the energy goes: by state of the replicas, by phase of the requests, by model.

In: joules by kind. Out: plots of bars in parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bokeh.models import HBar, Range1d

from simulate.html.figures.bars import label, short
from simulate.html.figures.frame import draw, frame, hover, plain_numbers
from simulate.html.units import EnergyUnit
from simulate.html.view import Plot, Series, Table
from simulate.number import number

_BAR_PX = 58


@dataclass(frozen=True)
class Split:
    """One way to split energy: joules of each part, for each series; colours by part."""

    name: str
    title: str
    says: str
    parts: Sequence[Mapping[str, float]]
    colours: Mapping[str, str]


def energy_plot(split: Split, series: Sequence[Series], unit: EnergyUnit) -> Plot:
    """Return the bars of one split, told in ``unit``."""
    shown = [
        part for part in split.colours if any(parts.get(part, 0.0) > 0 for parts in split.parts)
    ]
    rows = tuple(
        (
            each.name,
            *(_cell(parts.get(part, 0.0), unit.joules, sum(parts.values())) for part in shown),
        )
        for each, parts in zip(series, split.parts, strict=True)
    )
    return Plot(
        name=split.name,
        title=f"{split.title}, {unit.name}",
        says=split.says,
        model=_figure(split, shown, series, unit),
        table=Table(("policy", *(f"{part}, {unit.name}" for part in shown)), rows),
        keys=tuple((split.colours[part], part) for part in shown),
    )


def _cell(part_j: float, joules: float, total_j: float) -> str:
    share = f" ({part_j / total_j:.1%})" if total_j else ""
    return f"{number(part_j / joules)}{share}"


def _figure(split: Split, shown: Sequence[str], series: Sequence[Series], unit: EnergyUnit) -> Any:
    plot = frame(f"energy, {unit.name}", "", height_px=90 + _BAR_PX * len(series))
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
            size = parts.get(part, 0.0) / unit.joules
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
        place = {"x": [0], "y": [index - 0.27], "text": [short(each.name)]}
        draw(plot, place, label(), "ink", each.tags)
    tips = [
        ("policy", "@policy"),
        ("part", "@part"),
        ("energy", f"@size{{0,0.000}} {unit.name}, @share{{0.0}}%"),
    ]
    hover(plot, drawn, tips)
    return plot
