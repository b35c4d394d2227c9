"""The curves behind the answer, the points that they were fitted to, and how far these reach.

In: curves as ``curves.json`` holds them, and the clocks that policies hold. Out: time, power and
energy of a step against the clock, and its time against length; what was not measured is shaded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import BoxAnnotation, Line, Scatter, Span, VArea

from simulate.html.figures.frame import coloured, draw, frame, hover, plain_numbers, switched
from simulate.html.view import Plot, Series, Table
from simulate.number import number

Curve = Mapping[str, Any]

_SHADE = 0.16
_BAND = 0.14

_FIGURES = (
    ("time", "time of a step", "time_s", "s"),
    ("power", "power", "power_w", "W"),
    ("energy", "energy of a step", "energy_j", "J"),
)


def curve_plots(curve: Curve, name: str, held: Sequence[tuple[Series, float]]) -> list[Plot]:
    """Return the plots of one curve; ``name`` begins their ids.

    ``held`` are the clocks at which series run this curve, in MHz.
    """
    keys = [(f"loads-{index}", _load(load, curve)) for index, load in enumerate(curve["loads"])]
    if _transferred(curve):
        keys.append(("shade", "shaded: transferred from public GPUs"))
    found = [
        Plot(
            name=f"{name}-{figure}",
            title=f"{words[0].upper()}{words[1:]} against the SM clock, {unit}",
            says=f"{words} in {unit} against the SM clock in MHz, a line for each of "
            f"{len(curve['loads'])} loads, with the points that it was fitted to. "
            f"{_said_of_clocks(curve)}",
            model=_against_clock(curve, words, column, unit, held),
            table=_clock_table(curve, words, column, unit),
            keys=tuple(keys),
        )
        for figure, words, column, unit in _FIGURES
    ]
    return [*found, _against_length(curve, name)]


def _load(load: Curve, curve: Curve) -> str:
    return f"batch {load['batch']:g}, {_kind(curve)} {load['tokens']:,.0f}"


def _kind(curve: Curve) -> str:
    return "prompt" if curve["phase"] == "prefill" else "context"


def _transferred(curve: Curve) -> bool:
    return bool(curve["reach_mhz"][0] < curve["measured_mhz"][0])


def _said_of_clocks(curve: Curve) -> str:
    low, high = curve["measured_mhz"]
    said = f"Calibrated from {low:,.0f} to {high:,.0f} MHz"
    return (
        f"{said}; shaded below: transferred from public GPUs."
        if _transferred(curve)
        else f"{said}."
    )


def _against_clock(
    curve: Curve, words: str, column: str, unit: str, held: Sequence[tuple[Series, float]]
) -> Any:
    plot = frame("SM clock, MHz", f"{words}, {unit}")
    plain_numbers(plot.xaxis, "0,0")
    plain_numbers(plot.yaxis)
    plot.y_range.start = 0
    lines, dots = [], []
    low_mhz = curve["measured_mhz"][0]
    for index, load in enumerate(curve["loads"]):
        colour, named = f"loads-{index}", _load(load, curve)
        clock, value = np.array(load["sm_mhz"]), np.array(load[column])
        _draw_band(plot, load, column, colour)
        for inside, dash in ((clock >= low_mhz, []), (clock <= low_mhz, [3, 3])):
            if inside.any():
                line = Line(x="x", y="y", line_width=2, line_dash=dash)
                columns = {"x": clock[inside], "y": value[inside]}
                lines.append(draw(plot, columns, line, colour, name=named))
        dots += _draw_points(plot, curve, load, column, colour)
    if _transferred(curve):
        plot.add_layout(_shaded(right=low_mhz))
    if column == "power_w":
        limit = Span(location=curve["limit_w"], dimension="width", line_dash=[6, 4])
        plot.add_layout(coloured(limit, "muted"))
        highest = [max(load["power_high_w"]) for load in curve["loads"]]
        plot.y_range.end = 1.08 * max(curve["limit_w"], *highest)
    for each, mhz in held:
        chosen = Span(location=mhz, dimension="height", line_dash=[2, 4], line_width=2)
        plot.add_layout(switched(coloured(chosen, each.colour), each.tags))
    figure = (words, f"$y{{0,0.0000}} {unit}")
    hover(plot, lines, [("load", "$name"), ("clock", "$x{0,0} MHz"), figure], line_policy="interp")
    if dots:
        kind = "measured" if curve["measured"] else "from a simulated GPU"
        figure = (words, f"@y{{0,0.0000}} {unit}")
        hover(plot, dots, [(kind, "$name"), ("clock", "@x{0,0} MHz"), figure])
    return plot


def _draw_band(plot: Any, load: Curve, column: str, colour: str) -> None:
    stem, unit = column.rsplit("_", 1)
    low, high = load.get(f"{stem}_low_{unit}"), load.get(f"{stem}_high_{unit}")
    if low is not None and high is not None:
        columns = {"x": load["sm_mhz"], "low": low, "high": high}
        draw(plot, columns, VArea(x="x", y1="low", y2="high", fill_alpha=_BAND), colour)


def _draw_points(plot: Any, curve: Curve, load: Curve, column: str, colour: str) -> list[Any]:
    if curve["points"] is None:
        return []
    table = {key: np.array(values) for key, values in curve["points"].items()}
    table["energy_j"] = table["time_s"] * table["power_w"]
    mine = (table["batch"] == load["batch"]) & (table["tokens"] == load["tokens"])
    columns = {"x": table["sm_mhz"][mine], "y": table[column][mine]}
    dot = Scatter(x="x", y="y", size=7, fill_alpha=0.75)
    return [draw(plot, columns, dot, colour, name=_load(load, curve))]


def _shaded(**sides: float) -> Any:
    return coloured(BoxAnnotation(**sides, line_color=None, fill_alpha=_SHADE), "shade")


def _clock_table(curve: Curve, words: str, column: str, unit: str) -> Table:
    loads = curve["loads"]
    clocks = loads[0]["sm_mhz"]
    rows = tuple(
        (f"{clocks[index]:,.0f}", *(number(load[column][index]) for load in loads))
        for index in _spread(len(clocks), 6)
    )
    return Table(
        ("SM clock, MHz", *(f"{words} at {_load(load, curve)}, {unit}" for load in loads)), rows
    )


def _spread(count: int, rows: int) -> list[int]:
    picked: list[int] = np.unique(np.linspace(0, count - 1, rows).round().astype(int)).tolist()
    return picked


def _against_length(curve: Curve, name: str) -> Plot:
    lengths, span, kind = curve["lengths"], curve["measured_tokens"], _kind(curve)
    low, middle, high = curve["asked_tokens"]
    reach = "" if span is None else f"Calibrated from {span[0]:,.0f} to {span[1]:,.0f} tokens. "
    rows = tuple(
        (
            f"{lengths['tokens'][i]:,.0f}",
            number(lengths["time_s"][i]),
            f"{number(lengths['time_low_s'][i])} to {number(lengths['time_high_s'][i])}",
        )
        for i in _spread(len(lengths["tokens"]), 8)
    )
    outside = _outside(curve)
    return Plot(
        name=f"{name}-length",
        title=f"Time of a step against {kind} length, s, at batch {lengths['batch']:g} and "
        f"{lengths['sm_mhz']:,.0f} MHz",
        says=f"Time of a step in seconds against the length of its {kind} in tokens, both on "
        f"logarithmic axes. {reach}The trace asks for {low:,.0f} to {high:,.0f}, half of it for up "
        f"to {middle:,.0f}. Points were measured at several clocks.",
        model=_length_figure(curve, outside),
        table=Table((f"{kind}, tokens", "time of a step, s", "95% interval, s"), rows),
        keys=(
            ("loads-2", "time of a step"),
            *([("shade", "shaded: extrapolated")] if outside else []),
        ),
    )


def _outside(curve: Curve) -> list[dict[str, float]]:
    """Return the sides on which lengths were asked for that were not measured."""
    tokens, span = curve["lengths"]["tokens"], curve["measured_tokens"]
    if span is None:
        return []
    below = [{"right": span[0]}] if tokens[0] < span[0] else []
    return below + ([{"left": span[1]}] if tokens[-1] > span[1] else [])


def _length_figure(curve: Curve, outside: Sequence[Mapping[str, float]]) -> Any:
    lengths, kind = curve["lengths"], _kind(curve)
    plot = frame(f"{kind}, tokens", "time of a step, s", x_axis_type="log", y_axis_type="log")
    plain_numbers(plot.xaxis)
    plain_numbers(plot.yaxis, "0.[000000]")
    columns = {key: lengths[key] for key in ("tokens", "time_s", "time_low_s", "time_high_s")}
    band = VArea(x="tokens", y1="time_low_s", y2="time_high_s", fill_alpha=_BAND)
    draw(plot, columns, band, "loads-2")
    line = draw(plot, columns, Line(x="tokens", y="time_s", line_width=2), "loads-2")
    tips = [(kind, "$x{0,0} tokens"), ("time", "$y{0,0.00000} s")]
    hover(plot, [line], tips, line_policy="interp")
    if curve["points"] is not None:
        mine = np.array(curve["points"]["batch"]) == lengths["batch"]
        points = {key: np.array(values)[mine] for key, values in curve["points"].items()}
        dot = Scatter(x="tokens", y="time_s", size=7, fill_alpha=0.75)
        dots = draw(plot, points, dot, "loads-2")
        tips = [(kind, "@tokens{0,0} tokens"), ("time", "@time_s{0,0.00000} s")]
        hover(plot, [dots], [*tips, ("clock", "@sm_mhz{0,0} MHz")])
    for sides in outside:
        plot.add_layout(_shaded(**sides))
    return plot
