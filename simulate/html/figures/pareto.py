"""Energy against latency: which policy gives up what for what.

In: summaries. Out: one plot for each latency.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.models import ColumnDataSource, Line, Range1d, Scatter, Whisker

from simulate.html.figures.frame import coloured, draw, frame, hover, plain_numbers, switched
from simulate.html.numbers import Numbers
from simulate.html.units import EnergyUnit
from simulate.html.view import Plot, Series, Table

_LATENCIES = (
    ("ttft", "TTFT p95", "time to first token", "s", 1.0),
    ("tpot", "TPOT p95", "time per output token", "ms", 1e3),
    ("e2e", "E2E p95", "end-to-end latency", "s", 1.0),
)

_PADDING = 0.1


def pareto_plots(
    summaries: Sequence[Mapping[str, Any]], numbers: Sequence[Numbers], series: Sequence[Series]
) -> list[Plot]:
    """Return energy against the p95 of each latency that the runs have."""
    found = []
    energy = numbers[0].energy_unit
    for name, label, words, unit, scale in _LATENCIES:
        shown = [
            (each, _policy(summaries, each))
            for each in series
            if _policy(summaries, each)["metrics"][name]["p95_s"] is not None
        ]
        if not shown:
            continue
        rows = tuple(
            (
                each.name,
                numbers[each.run].of(each.policy, "metrics", name, "p95_s", times=scale),
                numbers[each.run].energy(each.policy, "metrics", "energy_j"),
                numbers[each.run].energies(each.policy, "energy_j"),
            )
            for each, _ in shown
        )
        found.append(
            Plot(
                name=f"pareto-{name}",
                title=f"Energy against {label}",
                says=f"Energy of the fleet in {energy.name} against {words}, 95th percentile, in "
                f"{unit}, a point for each policy, with the 95% interval of its energy. Lower left "
                "is better; a dashed line joins the points that no other beats in both.",
                model=_figure(name, f"{label}, {unit}", unit, scale, energy, shown),
                table=Table(
                    (
                        "policy",
                        f"{label}, {unit}",
                        f"energy, {energy.name}",
                        f"95% interval, {energy.name}",
                    ),
                    rows,
                ),
            )
        )
    return found


def _policy(summaries: Sequence[Mapping[str, Any]], series: Series) -> Mapping[str, Any]:
    found: Mapping[str, Any] = summaries[series.run]["policies"][series.policy]
    return found


def _figure(
    name: str,
    label: str,
    unit: str,
    scale: float,
    energy: EnergyUnit,
    shown: Sequence[tuple[Series, Mapping[str, Any]]],
) -> Any:
    points = [
        (scale * p["metrics"][name]["p95_s"], p["metrics"]["energy_j"] / energy.joules)
        for _, p in shown
    ]
    intervals = [_interval(policy, energy) for _, policy in shown]
    plot = frame(label, f"energy of the fleet, {energy.name}", y_range=_padded(intervals))
    plot.x_range.range_padding = 0.15
    plain_numbers(plot.xaxis)
    plain_numbers(plot.yaxis)
    front_x, front_y = _staircase(points)
    draw(
        plot,
        {"x": front_x, "y": front_y},
        Line(x="x", y="y", line_dash=[4, 4], line_width=1.2),
        "muted",
    )
    drawn = []
    for (each, policy), (x, y), (low, high) in zip(shown, points, intervals, strict=True):
        saving = 100 * policy["saving"]["value"]
        source = ColumnDataSource(
            {"x": [x], "y": [y], "low": [low], "high": [high], "policy": [each.name]}
            | {"saving": [saving]}
        )
        if low < high:
            plot.add_layout(_whisker(source, each))
        point = Scatter(x="x", y="y", size=13, marker=each.marker, line_width=2)
        drawn.append(draw(plot, source, point, each.colour, each.tags))
    tips = [
        ("policy", "@policy"),
        (label.split(",")[0], f"@x{{0,0.000}} {unit}"),
        ("energy", f"@y{{0,0.000}} {energy.name} [@low{{0,0.000}}, @high{{0,0.000}}]"),
        ("saving", "@saving{0.0}%"),
    ]
    hover(plot, drawn, tips)
    return plot


def _interval(policy: Mapping[str, Any], unit: EnergyUnit) -> tuple[float, float]:
    told = policy["energy_j"]
    value, low, high = (told[end] for end in ("value", "low", "high"))
    ends = (value, value) if low is None else (low, high)
    return ends[0] / unit.joules, ends[1] / unit.joules


def _padded(intervals: Sequence[tuple[float, float]]) -> Range1d:
    low, high = min(low for low, _ in intervals), max(high for _, high in intervals)
    pad = _PADDING * (high - low) or _PADDING * high or 1.0
    return Range1d(low - pad, high + pad)


def _whisker(source: ColumnDataSource, series: Series) -> Any:
    whisker = Whisker(source=source, base="x", lower="low", upper="high", line_width=1.5)
    for head in (whisker.lower_head, whisker.upper_head):
        head.size = 8
        coloured(head, series.colour)
    return switched(coloured(whisker, series.colour), series.tags)


def _staircase(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return the points that no other beats in both, joined by level and upright lines."""
    xs: list[float] = []
    ys: list[float] = []
    for x, y in sorted(points):
        if ys and y >= ys[-1]:
            continue
        if ys:
            xs.append(x)
            ys.append(ys[-1])
        xs.append(x)
        ys.append(y)
    return xs, ys
