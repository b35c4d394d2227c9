"""The plots of the page: energy against latency with the trail of former states, power over time.

In: answers. Out: figures of Bokeh, whose colours are the page's (``--bk-...`` in its style).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    HoverTool,
    Legend,
    LegendItem,
    NumeralTickFormatter,
    Span,
)
from bokeh.plotting import figure

from simulate.explore.answer import Answer, Power
from simulate.explore.figures import both, value_at

BASELINE, STATE, TRAIL = "#8a8a8a", "#D55E00", "#3a92c8"
"""After Okabe and Ito; each at least 3:1 on the page's light and on its dark ground."""

LATENCIES = {
    "TTFT p95, s": ("metrics.ttft.p95_s", 1.0, "ttft_s"),
    "TPOT p95, ms": ("metrics.tpot.p95_s", 1e3, "tpot_s"),
    "E2E p95, s": ("metrics.e2e.p95_s", 1.0, None),
    "TTFT p99, s": ("metrics.ttft.p99_s", 1.0, "ttft_s"),
    "TPOT p99, ms": ("metrics.tpot.p99_s", 1e3, "tpot_s"),
    "E2E p99, s": ("metrics.e2e.p99_s", 1.0, None),
}
"""What energy may be shown against: where it stands in a summary, its scale, the limit on it."""

_ENERGY = "metrics.output_token_j"
_EMPTY: dict[str, list[Any]] = {"x": [], "y": [], "what": []}


@dataclass(frozen=True)
class _Point:
    x: float
    y: float
    what: str


class Plane:
    """Energy per output token against a latency: the baseline, the state, and those before it."""

    def __init__(self) -> None:
        self._sources = {name: ColumnDataSource(dict(_EMPTY)) for name in ("trail", "base", "now")}
        self._limit = Span(
            dimension="height", line_dash="dashed", line_color=STATE, line_width=1.5, visible=False
        )
        plot = _figure("plane", "energy against latency, with former states")
        plot.yaxis.axis_label = "J per output token"
        line = plot.line("x", "y", source=self._sources["trail"], color=TRAIL, alpha=0.5)
        dots = plot.scatter("x", "y", source=self._sources["trail"], color=TRAIL, size=7)
        base = plot.scatter(
            "x", "y", source=self._sources["base"], color=BASELINE, size=13, marker="square"
        )
        now = plot.scatter("x", "y", source=self._sources["now"], color=STATE, size=14)
        plot.add_layout(self._limit)
        plot.add_tools(
            HoverTool(
                renderers=[dots, base, now],
                tooltips=[
                    ("", "@what"),
                    ("J per output token", "@y{0.000}"),
                    ("latency", "@x{0.000}"),
                ],
            )
        )
        plot.add_layout(
            _legend(("baseline", [base]), ("now", [now]), ("before", [line, dots])), "above"
        )
        self.plot = plot

    def show(self, answers: list[Answer], latency: str, limit_s: float | None) -> None:
        """Show the last of ``answers``, its baseline, and the others as the trail."""
        path, scale, _ = LATENCIES[latency]
        trail = [_point(answer, 1, path, scale) for answer in answers]
        base = [_point(answer, 0, path, scale) for answer in answers[-1:]]
        for name, points in (("trail", trail), ("base", base), ("now", trail[-1:])):
            known = [point for point in points if point is not None]
            self._sources[name].data = {
                key: [getattr(point, key) for point in known] for key in ("x", "y", "what")
            }
        self.plot.xaxis.axis_label = latency
        self._limit.visible = limit_s is not None
        if limit_s is not None:
            self._limit.location = scale * limit_s


class PowerOverTime:
    """The fleet's power over time, of the state and of the baseline."""

    def __init__(self) -> None:
        self._sources = {
            name: ColumnDataSource({"from_s": [], "power_w": []}) for name in ("base", "now")
        }
        plot = _figure("power", "power of the fleet over time")
        plot.xaxis.axis_label, plot.yaxis.axis_label = "time, s", "power of the fleet, W"
        plot.y_range.start = 0
        plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
        lines = [
            plot.step(
                "from_s",
                "power_w",
                source=self._sources[name],
                color=colour,
                mode="after",
                line_width=1.6,
            )
            for name, colour in (("base", BASELINE), ("now", STATE))
        ]
        plot.add_tools(
            HoverTool(
                renderers=lines,
                mode="mouse",
                tooltips=[("from", "@from_s{0,0.0} s"), ("mean power", "@power_w{0,0} W")],
            )
        )
        plot.add_layout(
            _legend(*(([n, [line]]) for n, line in zip(("baseline", "now"), lines, strict=True))),
            "above",
        )
        self.plot = plot

    def show(self, answer: Answer) -> None:
        """Show the power of ``answer`` and of its baseline."""
        assert answer.document is not None
        baseline, state = both(answer.document)
        for name, part in (("base", baseline), ("now", state)):
            self._sources[name].data = _steps(answer.power[part["policy"]])


def _figure(name: str, described: str) -> figure:
    plot = figure(
        name=name,
        height=340,
        sizing_mode="stretch_width",
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_scroll=None,
        toolbar_location="below",
        html_id=name,
        html_attributes={"role": "figure", "aria-label": described},
    )
    plot.toolbar.logo = None
    plot.background_fill_alpha = plot.border_fill_alpha = 0
    for axis in (plot.xaxis, plot.yaxis):
        axis.axis_label_text_font_style = "normal"
    return plot


def _legend(*items: Any) -> Legend:
    return Legend(
        items=[LegendItem(label=label, renderers=list(shown)) for label, shown in items],
        orientation="horizontal",
        border_line_color=None,
        background_fill_alpha=0,
        click_policy="hide",
        stylesheets=[".bk-label { color: var(--ink) !important; }"],
    )


def _point(answer: Answer, of: int, path: str, scale: float) -> _Point | None:
    assert answer.document is not None
    part = both(answer.document)[of]
    x, y = value_at(part, path), value_at(part, _ENERGY)
    if x is None or y is None:
        return None
    return _Point(scale * x, y, part["policy"] if of == 0 else answer.line)


def _steps(power: Power) -> dict[str, Any]:
    return {"from_s": power.edges_s, "power_w": np.append(power.power_w, power.power_w[-1:])}
