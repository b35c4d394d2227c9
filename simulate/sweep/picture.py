"""A sweep as a picture: a map over two axes, lines over one, and energy against latency.

In: a sweep. Out: a PNG file.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from simulate.metrics import JOULES_PER_KWH
from simulate.plots import COLOURS, DPI, MARKERS
from simulate.sweep.axes import CLOCKS, POLICY, Axis
from simulate.sweep.figures import HELD
from simulate.sweep.front import Choice, Circumstance
from simulate.sweep.sweep import Sweep
from simulate.sweep.table import latency_words, title_of
from simulate.words import text_of

_MOST_LINES = len(COLOURS)
_ENERGY = "energy of the fleet, kWh"
_GREY = "#999999"
_WIDE = 10
"""Latencies whose highest is so many times the lowest are drawn on a logarithmic axis."""


def plot_sweep(swept: Sweep, path: Path) -> None:
    """Draw what :func:`figure_of` says into ``path``."""
    figure = figure_of(swept)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=DPI, metadata={"Software": "phasewatt"})


def figure_of(swept: Sweep) -> Figure:
    """Return energy over the axes where one or two vary, and energy against the latency."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    varying = [axis for axis in swept.plan.axes if axis.varies and axis.name != POLICY]
    series = {} if swept.plan.over_clocks and len(varying) > 1 else _series(swept, varying)
    if not series and _is_map(swept, varying):
        left, legend = figure.subplots(1, 2)
        _draw_map(figure, left, swept, varying)
        _draw_front(legend, swept)
    elif series:
        left, right = figure.subplots(1, 2)
        legend = left
        _draw_lines(left, series, _along(varying), _energy_kwh)
        _draw_lines(right, series, _along(varying), lambda c: c.latency_s(swept.latency))
        left.set_ylabel(_ENERGY)
        right.set_ylabel(f"{latency_words(swept.latency)}, s")
        _widen(right, "y", swept)
    else:
        legend = figure.subplots()
        _draw_front(legend, swept)
    figure.suptitle(title_of(swept), fontsize=11)
    handles, labels = legend.get_legend_handles_labels()
    if any(c.saturated for each in swept.circumstances for c in each.choices):
        handles.append(Line2D([], [], **{**_marker(0), "markersize": 5}, markerfacecolor="white"))
        labels.append("hollow: saturated")
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _is_map(swept: Sweep, varying: Sequence[Axis]) -> bool:
    """Return whether two axes of numbers span all choices but the marks."""
    plan = swept.plan
    alone = plan.over_clocks or len(plan.policies) == 1
    return alone and len(varying) == 2 and all(_is_plain(axis) for axis in varying)


def _is_plain(axis: Axis) -> bool:
    return all(isinstance(value, int | float) for value in axis.values)


def _along(varying: Sequence[Axis]) -> Axis:
    """Return the axis to draw lines along: the longest of numbers, or the longest."""
    return max(varying, key=lambda axis: (_is_plain(axis), len(axis.values)))


def _series(swept: Sweep, varying: Sequence[Axis]) -> dict[str, list[Choice]]:
    """Return the choices of each line, by its label; none where lines would be too many."""
    if not 1 <= len(varying) <= 2:
        return {}
    along = _along(varying)
    series: dict[str, list[Choice]] = {}
    for circumstance in swept.circumstances:
        for choice in circumstance.choices:
            told = [
                f"{axis.name} {text_of(choice.point.at[axis.column])}"
                for axis in varying
                if axis is not along
            ]
            clocks = swept.plan.over_clocks
            if not told or (not clocks and len(swept.plan.policies) > 1):
                told.append(_policy(choice, clocks))
            label = ", ".join(told)
            series.setdefault(label, []).append(choice)
    return series if len(series) <= _MOST_LINES else {}


def _policy(choice: Choice, is_pair: bool) -> str:
    return "pair of clocks" if is_pair else choice.point.policy


def _energy_kwh(choice: Choice) -> float:
    return choice.energy_j / JOULES_PER_KWH


def _draw_lines(
    axes: Axes, series: dict[str, list[Choice]], along: Axis, value: Callable[[Choice], float]
) -> None:
    places: dict[Any, float] = {v: v if _is_plain(along) else i for i, v in enumerate(along.values)}
    for index, (label, choices) in enumerate(series.items()):
        ran = [choice for choice in choices if choice.runs]
        x = [places[choice.point.at[along.column]] for choice in ran]
        order = np.argsort(x, kind="stable")
        y = np.array([value(choice) for choice in ran])
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        axes.plot(np.array(x)[order], y[order], "-", marker=marker, color=colour, label=label)
        late = np.array([choice.saturated for choice in ran], dtype=bool)
        if late.any():
            axes.plot(np.array(x)[late], y[late], marker, color=colour, markerfacecolor="white")
    axes.set_xlabel(_axis_words(along))
    if not _is_plain(along):
        axes.set_xticks(list(places.values()), [str(v) for v in along.values], rotation=20)
    axes.grid(alpha=0.3)


def _draw_map(figure: Figure, axes: Axes, swept: Sweep, varying: Sequence[Axis]) -> None:
    down, across = varying
    rows, columns = sorted(down.values), sorted(across.values)
    energy_kwh = np.full((len(rows), len(columns)), np.nan)
    for circumstance in swept.circumstances:
        for choice in circumstance.choices:
            at = choice.point.at
            place = rows.index(at[down.column]), columns.index(at[across.column])
            energy_kwh[place] = _energy_kwh(choice) if choice.runs else np.nan
    image = axes.pcolormesh(columns, rows, energy_kwh, cmap="cividis", shading="nearest")
    figure.colorbar(image, ax=axes, label=_ENERGY)
    if swept.plan.over_clocks:
        for index, mark in enumerate(swept.circumstances[0].marks):
            if mark.runs:
                prefill_mhz, decode_mhz = (mark.means[held] or 0.0 for held in HELD.values())
                axes.plot(decode_mhz, prefill_mhz, **_marker(index), markeredgecolor="white")
    axes.set_xlabel(_axis_words(across))
    axes.set_ylabel(_axis_words(down))


def _draw_front(axes: Axes, swept: Sweep) -> None:
    several = len(swept.circumstances) > 1
    for index, circumstance in enumerate(swept.circumstances):
        colour = COLOURS[(index + 1) % len(COLOURS)] if index < _MOST_LINES - 1 else _GREY
        _draw_choices(axes, swept, circumstance, colour if several else None)
        _draw(
            axes,
            swept,
            circumstance.front,
            "-",
            color=colour if several else "#000000",
            linewidth=1.0,
            label=_place(circumstance, index) if several else "Pareto front",
        )
        if not several:
            for number, mark in enumerate(circumstance.marks):
                _draw(axes, swept, [mark], **_marker(number), label=mark.point.policy)
    _widen(axes, "x", swept)
    axes.set_xlabel(f"{latency_words(swept.latency)}, s")
    axes.set_ylabel(_ENERGY)
    axes.grid(alpha=0.3)


def _draw_choices(axes: Axes, swept: Sweep, circumstance: Circumstance, colour: str | None) -> None:
    """Draw every choice as a dot, hollow if saturated; without ``colour``, one for each policy."""
    clocks = swept.plan.over_clocks
    by_policy: dict[str, list[Choice]] = {}
    for choice in circumstance.choices:
        by_policy.setdefault(_policy(choice, clocks), []).append(choice)
    for index, (policy, choices) in enumerate(by_policy.items()):
        own = colour or (_GREY if clocks or index >= _MOST_LINES else COLOURS[index])
        label = policy if colour is None and index < _MOST_LINES else "_"
        for saturated, fill in ((False, own), (True, "white")):
            some = [choice for choice in choices if choice.saturated is saturated]
            how = {"color": own, "markerfacecolor": fill, "markersize": 4}
            _draw(axes, swept, some, "o", label="_" if saturated else label, **how)


def _draw(axes: Axes, swept: Sweep, choices: Sequence[Choice], *shape: str, **how: Any) -> None:
    x = [choice.latency_s(swept.latency) for choice in choices]
    y = [_energy_kwh(choice) for choice in choices]
    known = np.isfinite(x) & np.isfinite(y)
    axes.plot(np.array(x)[known], np.array(y)[known], *shape, **how)


def _marker(index: int) -> dict[str, Any]:
    return {
        "marker": MARKERS[index % len(MARKERS)],
        "color": COLOURS[index % len(COLOURS)],
        "markersize": 9,
        "linestyle": "none",
    }


def _place(circumstance: Circumstance, index: int) -> str:
    if index >= _MOST_LINES:
        return "_"
    if index == _MOST_LINES - 1:
        return "others"
    return ", ".join(f"{n.replace('_', '-')} {text_of(v)}" for n, v in circumstance.at.items())


def _widen(axes: Axes, which: Literal["x", "y"], swept: Sweep) -> None:
    """Make the axis of latencies logarithmic where they lie far apart."""
    every = [c for each in swept.circumstances for c in (*each.choices, *each.marks)]
    latency_s = np.array([choice.latency_s(swept.latency) for choice in every])
    known = latency_s[np.isfinite(latency_s) & (latency_s > 0)]
    if not known.size or known.max() <= _WIDE * known.min():
        return
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _axis_words(axis: Axis) -> str:
    return axis.name.replace("-mhz", " clock, MHz") if axis.name in CLOCKS else axis.name
