"""The picture of the reproduction: savings against the clock, and quality against energy.

In: a reproduction. Out: one PNG file.
"""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from model.calibration import load
from simulate.plots import COLOURS, DPI
from simulate.reproduction.measured import savings_by_clock, shipped_casts
from simulate.reproduction.reproduce import Reproduction
from simulate.reproduction.sheet import Sheet


def plot_reproduction(reproduction: Reproduction, path: Path) -> None:
    """Draw what lower clocks save, published and measured, and where strategies land."""
    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _savings(left, reproduction)
    _strategies(right, reproduction)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=DPI, metadata={"Software": "phasewatt"})


def _savings(axis: Axes, reproduction: Reproduction) -> None:
    paper = reproduction.paper
    for index, row in enumerate(paper.savings):
        axis.plot(
            [mhz / paper.baseline_mhz for mhz in paper.savings_mhz] + [1.0],
            [100 * saving for saving in row] + [0.0],
            "o-",
            color="#999999",
            linewidth=1,
            markersize=3,
            label="the paper's Figure 4, five models" if index == 0 else None,
        )
    drawn = 1
    for cast in shipped_casts():
        calibration = load(cast.calibration)
        for model in cast.models:
            clocks, savings = savings_by_clock(paper, calibration, model)
            label = f"{cast.calibration}: {model}"
            axis.plot(clocks, 100 * savings, color=COLOURS[drawn % len(COLOURS)], label=label)
            drawn += 1
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_xlim(0, 1.02)
    axis.set_ylim(-30, 60)
    axis.set_xlabel("SM clock, relative to that of the untouched GPU")
    axis.set_ylabel("energy saved per query, %")
    axis.set_title("One clock for everything", fontsize=11)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7.5, loc="lower right")


def _strategies(axis: Axes, reproduction: Reproduction) -> None:
    table, mixture = reproduction.sheet("table_XVIII"), reproduction.sheet("mixture")
    best = max(_figures(table, 1))
    joules, quality = _figures(table, 0), _figures(table, 1)
    axis.plot(
        [100 * each / max(joules) for each in joules],
        [100 * each / best for each in quality],
        "o",
        color="#999999",
        markersize=9,
        label="the paper's Table XVIII (one model for all; classification)",
    )
    large = next(iter(mixture.rows.values()))
    base_j, base_quality = large[2].ours, large[0].ours
    assert isinstance(base_j, float)
    assert isinstance(base_quality, float)
    for index, (label, pairs) in enumerate(mixture.rows.items(), 1):
        right, spent = pairs[0].ours, pairs[2].ours
        assert isinstance(right, float)
        assert isinstance(spent, float)
        axis.plot(
            100 * spent / base_j,
            100 * right / base_quality,
            "sD^vP"[index % 5],
            color=COLOURS[index % len(COLOURS)],
            markersize=8,
            label=label,
        )
    axis.axhline(100, color="black", linewidth=0.8)
    axis.set_xlim(0, 108)
    axis.set_ylim(75, 135)
    axis.set_xlabel("energy, % of the large model untouched")
    axis.set_ylabel("quality, % of the large model's")
    axis.set_title("Routing: published points, and measured outcomes", fontsize=11)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7.5, loc="upper right")


def _figures(sheet: Sheet, column: int) -> list[float]:
    return [
        p.paper
        for pairs in sheet.rows.values()
        for p in [pairs[column]]
        if isinstance(p.paper, float)
    ]
