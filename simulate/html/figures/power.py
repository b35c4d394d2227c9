"""Power of the fleet over time, with the SM clock below it.

In: courses. Out: two plots that zoom together.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Line

from simulate.html.course import Course
from simulate.html.figures.frame import draw, frame, hover, plain_numbers
from simulate.html.view import Plot, Series, Table
from simulate.number import number

_ROWS = 12


def power_plots(courses: Sequence[Course], series: Sequence[Series]) -> list[Plot]:
    """Return power and clock over time of all series, in the order of ``series``."""
    mean = f"mean over {_width(courses)}"
    power = frame("time, s", "power of the fleet, kW", 320)
    clock = frame("time, s", "SM clock, MHz", 240, x_range=power.x_range)
    lines: list[list[Any]] = []
    for plot in (power, clock):
        plain_numbers(plot.xaxis, "0,0.[00]")
        plain_numbers(plot.yaxis, "0,0.[00]")
        plot.x_range.range_padding = 0.01
        lines.append([])
    power.y_range.start = 0
    for each, course in zip(series, courses, strict=True):
        source = ColumnDataSource(
            {
                "t": course.middle_s.astype(np.float32),
                "kw": (course.power_w / 1e3).astype(np.float32),
                "mhz": course.sm_mhz.astype(np.float32),
            }
        )
        for plot, column, drawn in ((power, "kw", lines[0]), (clock, "mhz", lines[1])):
            line = Line(x="t", y=column, line_width=1.3, line_dash=list(each.dash))
            drawn.append(draw(plot, source, line, each.colour, each.tags, each.name))
    tips = [("policy", "$name"), ("time", "@t{0,0.[000]} s")]
    hover(power, lines[0], [*tips, (f"power, {mean}", "@kw{0,0.000} kW")], mode="mouse")
    hover(clock, lines[1], [*tips, (f"clock, {mean}", "@mhz{0,0} MHz")], mode="mouse")
    return [
        Plot(
            name="power-over-time",
            title=f"Power of the fleet, kW, {mean}",
            says="Power of all replicas together over the time of the run, a line for each policy.",
            model=power,
            table=_table(courses, series, "power_w", "mean power, W"),
        ),
        Plot(
            name="clock-over-time",
            title=f"SM clock, MHz, {mean}, of replicas that are not idle",
            says="Mean SM clock of the replicas that have one, over the time of the run, a line "
            "for each policy. It zooms along with the plot above.",
            model=clock,
            table=_table(courses, series, "sm_mhz", "mean clock, MHz"),
        ),
    ]


def _width(courses: Sequence[Course]) -> str:
    widths = sorted({course.width_s for course in courses})
    return " or ".join(f"{width:g} s" for width in widths)


def _table(courses: Sequence[Course], series: Sequence[Series], figure: str, words: str) -> Table:
    """Return the means of a dozen equal parts of the longest run."""
    end_s = max(course.width_s * course.power_w.size for course in courses)
    edges_s = np.linspace(0, end_s, _ROWS + 1)
    rows = []
    for begin_s, stop_s in pairwise(edges_s.tolist()):
        cells = []
        for course in courses:
            inside = (course.middle_s >= begin_s) & (course.middle_s < stop_s)
            values = getattr(course, figure)[inside]
            known = values[~np.isnan(values)]
            cells.append(number(float(known.mean())) if known.size else "-")
        rows.append((f"{begin_s:,.4g} to {stop_s:,.4g}", *cells))
    heads = tuple(f"{each.name}, {words}" for each in series)
    return Table(("time, s", *heads), tuple(rows))
