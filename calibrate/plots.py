"""The picture of a calibration: curves against the SM clock, with the points behind them.

In: a calibration. Out: one PNG, a row for each model, engine and phase: time, power and energy.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from model.calibration import Calibration
from model.curves import Curves
from model.work import Array, Phase, Work

# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")

_DPI = 130
_CLOCKS = 200
_MOST_SERIES = len(COLOURS)


def plot_calibration(calibration: Calibration, path: Path) -> None:
    """Draw every curve with its 95% prediction interval and its measured points, as PNG."""
    rows = len(calibration.curves)
    figure = Figure(figsize=(12, 2.9 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False)
    for curves, (time, power, energy) in zip(calibration.curves, axes, strict=True):
        for colour, (label, work, mine) in zip(COLOURS, _series(curves), strict=False):
            _draw(curves, work, mine, colour, label, (time, power, energy))
        title = f"{curves.model}, {curves.engine}, {curves.phase}"
        time.set_title(title, fontsize=9, loc="left")
        unit = "prefill" if curves.phase is Phase.PREFILL else "step"
        time.set_ylabel(f"time, s per {unit}")
        power.set_ylabel("power, W")
        limit_w = calibration.gpu.limit_w(curves)
        power.axhline(limit_w, color="#555555", linestyle="--", linewidth=1)
        energy.set_ylabel(f"energy, J per {unit}")
        for axis in (time, power, energy):
            axis.grid(alpha=0.3)
            axis.set_ylim(bottom=0)
            axis.set_xlabel("SM clock, MHz")
        time.legend(fontsize=7)
    beyond = (
        "\ndotted: transferred from public GPUs" if any(c.below for c in calibration.curves) else ""
    )
    figure.suptitle(
        f"{calibration.name}: {calibration.gpu.name}; dots {_dots(calibration)}, lines fitted, "
        f"bands 95% for a new measurement, dashed the power that the governor holds{beyond}",
        fontsize=10,
    )
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=_DPI, format="png", metadata={"Software": "phasewatt"})


def _dots(calibration: Calibration) -> str:
    return {"twin": "from a simulated GPU"}.get(calibration.provenance.kind, "measured")


def _series(curves: Curves) -> Iterator[tuple[str, Work, Array]]:
    """Yield label, step and mask of points for a few loads, spread over those that were measured.

    A load is a pair of batch and length, ordered by their product.
    """
    points = curves.points
    batch = np.array(points.batch)
    prefill = curves.phase is Phase.PREFILL
    length = np.array(points.prompt_tokens if prefill else points.context_tokens)
    loads = sorted(set(zip(batch.tolist(), length.tolist(), strict=True)), key=_load)
    picked = np.unique(np.linspace(0, len(loads) - 1, _MOST_SERIES).round().astype(int))
    for index in picked.tolist():
        size, tokens = loads[index]
        step = Work.prefill(size, tokens) if prefill else Work.decode(size, tokens)
        unit = "prompt" if prefill else "context"
        mine = np.flatnonzero((batch == size) & (length == tokens)).astype(np.float64)
        yield f"batch {size:g}, {unit} {tokens:,.0f}", step.expanded(), mine


def _load(load: tuple[float, float]) -> tuple[float, float, float]:
    return load[0] * load[1], *load


def _draw(
    curves: Curves,
    work: Work,
    mine: Array,
    colour: str,
    label: str,
    axes: tuple[Axes, Axes, Axes],
) -> None:
    low, high = curves.domain.sm_mhz
    clocks = np.linspace(low, high, _CLOCKS)
    rows = mine.astype(int)
    at_mhz = np.array(curves.points.sm_mhz)[rows]
    time_s, power_w = (np.array(c)[rows] for c in (curves.points.time_s, curves.points.power_w))
    t_low, t_high = curves.time_interval_s(work, clocks)
    p_low, p_high = curves.power_interval_w(work, clocks)
    lines = (
        (curves.time_s(work, clocks), time_s, (t_low, t_high)),
        (curves.power_w(work, clocks), power_w, (p_low, p_high)),
        (curves.energy_j(work, clocks), time_s * power_w, None),
    )
    inside = clocks >= curves.measured_mhz[0]
    for axis, (line, dots, band) in zip(axes, lines, strict=True):
        drawn = np.ravel(line)
        axis.plot(clocks[inside], drawn[inside], color=colour, linewidth=1.4, label=label)
        axis.plot(clocks[~inside], drawn[~inside], color=colour, linewidth=1.2, linestyle=":")
        axis.plot(at_mhz, dots, "o", color=colour, markersize=3.5, alpha=0.7)
        if band is not None:
            below, above = band
            axis.fill_between(clocks, np.ravel(below), np.ravel(above), color=colour, alpha=0.15)
