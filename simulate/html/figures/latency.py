"""How latencies are spread: the share of requests that waited no longer.

In: thinned distributions and summaries. Out: one plot for each latency.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import Line, Span

from simulate.html.cdf import Cdf
from simulate.html.figures.frame import coloured, draw, frame, hover, plain_numbers
from simulate.html.numbers import Numbers
from simulate.html.view import Plot, Series, Table

LATENCIES = ("ttft", "tpot", "e2e")

_WORDS = {
    "ttft": ("TTFT", "time to first token", "s", 1.0),
    "tpot": ("TPOT", "time per output token", "ms", 1e3),
    "e2e": ("E2E", "time from arrival to last token", "s", 1.0),
}

_SHOWN = ("mean_s", "p50_s", "p95_s", "p99_s")


def latency_plots(
    spreads: Sequence[Mapping[str, Cdf]],
    numbers: Sequence[Numbers],
    series: Sequence[Series],
    limits_s: Mapping[str, float],
) -> list[Plot]:
    """Return one plot for each latency; ``limits_s`` are objectives to mark, by latency."""
    return [
        Plot(
            name=f"cdf-{name}",
            title=f"{short}, {unit}: {words}",
            says=f"Share of requests whose {words} is at most so many {_spoken(unit)}, a line for "
            "each policy. Further left is better.",
            model=_figure(name, [spread[name] for spread in spreads], series, limits_s.get(name)),
            table=Table(
                ("policy", *(f"{p.removesuffix('_s')}, {unit}" for p in _SHOWN)),
                tuple(
                    (
                        each.name,
                        *(
                            numbers[each.run].of(each.policy, "metrics", name, p, times=scale)
                            for p in _SHOWN
                        ),
                    )
                    for each in series
                ),
            ),
        )
        for name, (short, words, unit, scale) in _WORDS.items()
        if any(spread[name].count for spread in spreads)
    ]


def _spoken(unit: str) -> str:
    return {"s": "seconds", "ms": "milliseconds"}[unit]


def _figure(
    name: str, spreads: Sequence[Cdf], series: Sequence[Series], limit_s: float | None
) -> Any:
    short, _, unit, scale = _WORDS[name]
    known = [spread.value for spread in spreads if spread.count]
    wide = all(values[0] > 0 for values in known) and _ratio(known) > _LOG_FROM
    plot = frame(
        f"{short}, {unit}",
        "share of requests, %",
        x_axis_type="log" if wide else "linear",
        y_range=(0, 101),
    )
    plain_numbers(plot.xaxis)
    drawn = []
    for each, spread in zip(series, spreads, strict=True):
        columns = {
            # Nobody waited less than the first.
            "x": (scale * np.append(spread.value[:1], spread.value)).astype(np.float32),
            "share": (100 * np.append(np.zeros(min(spread.count, 1)), spread.share)).astype(
                np.float32
            ),
        }
        line = Line(x="x", y="share", line_width=1.8, line_dash=list(each.dash))
        drawn.append(draw(plot, columns, line, each.colour, each.tags, each.name))
    if limit_s is not None:
        limit = Span(location=scale * limit_s, dimension="height", line_dash=[2, 3], line_width=2)
        plot.add_layout(coloured(limit, "muted"))
    tips = [
        ("policy", "$name"),
        ("share of requests", "@share{0.00}%"),
        (f"{short} at most", f"@x{{0,0.0000}} {unit}"),
    ]
    hover(plot, drawn, tips, mode="mouse")
    return plot


def _ratio(known: Sequence[Any]) -> float:
    return float(max(values[-1] for values in known) / min(values[0] for values in known))


_LOG_FROM = 20.0
