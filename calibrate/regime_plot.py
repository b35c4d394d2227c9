"""The picture of an engine's regimes: a panel for each model and phase over batch and length.

In: maps of regimes. Out: one PNG.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from calibrate.regime_map import RegimeMap
from model.regimes import Regime
from model.work import Array, Phase

# Okabe and Ito's palette: told apart by colour-blind readers too.
_COLOURS = {
    Regime.LAUNCH_BOUND: "#CC79A7",
    Regime.MEMORY_BOUND: "#56B4E9",
    Regime.MIXED: "#F0E442",
    Regime.COMPUTE_BOUND: "#E69F00",
    Regime.POWER_CAPPED: "#D55E00",
}
_NOWHERE = "#999999"
_BEYOND = "beyond every measured product of batch and length"
_DPI = 110


def plot_maps(title: str, maps: Sequence[RegimeMap], path: Path) -> None:
    """Draw ``maps``, prefill above decode, a column for each model, as PNG."""
    models = list(dict.fromkeys(one.model for one in maps))
    figure = Figure(figsize=(2.4 * len(models) + 0.8, 6.2), layout="constrained")
    axes = figure.subplots(2, len(models), squeeze=False, sharex=True, sharey="row")
    drawn = {(one.phase, one.model): one for one in maps}
    for row, phase in enumerate((Phase.PREFILL, Phase.DECODE)):
        for column, model in enumerate(models):
            axis = axes[row, column]
            found = drawn.get((phase, model))
            if found is None:
                axis.text(0.5, 0.5, "not measured", ha="center", transform=axis.transAxes)
            else:
                _draw(axis, found)
            axis.set_title(f"{model}, {phase}", fontsize=9)
            axis.set_xscale("log", base=2)
            axis.set_yscale("log", base=2)
        length = "prompt tokens" if phase is Phase.PREFILL else "context tokens"
        axes[row, 0].set_ylabel(f"{length} of each sequence")
    for axis in axes.flat:
        axis.set_xticks([1, 4, 16, 64], ["1", "4", "16", "64"])
        axis.set_yticks([128, 512, 2048], ["128", "512", "2048"])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_minor_locator(NullLocator())
        axis.set_xlim(0.8, 80)
        axis.set_ylim(100, 5200)
    for axis in axes[1]:
        axis.set_xlabel("batch")
    figure.suptitle(title, fontsize=10)
    figure.legend(handles=_handles(), loc="outside lower center", ncols=4, fontsize=8)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=_DPI, format="png", metadata={"Software": "phasewatt"})


def _draw(axis: Axes, one: RegimeMap) -> None:
    names = [regime.value for regime in Regime]
    colours = ListedColormap([*(_COLOURS[regime] for regime in Regime), _NOWHERE])
    number = np.full(one.regime.shape, len(names))
    for index, name in enumerate(names):
        number[one.regime == name] = index
    x, y = _edges(one.batch), _edges(one.tokens)
    axis.pcolormesh(x, y, number.T, cmap=colours, vmin=-0.5, vmax=len(names) + 0.5)
    if np.any(one.beyond) and min(one.beyond.shape) > 1:
        beyond = one.beyond.T.astype(np.float64)
        axis.contourf(
            one.batch, one.tokens, beyond, levels=[0.5, 1.5], colors="none", hatches=["//"]
        )
    axis.plot(one.measured[:, 0], one.measured[:, 1], "o", color="black", markersize=3.5)


def _edges(centres: Array) -> Array:
    """Return the edges of cells about ``centres``, on a logarithmic scale."""
    if centres.size == 1:
        return np.array([centres[0] / _ALONE, centres[0] * _ALONE])
    half = np.sqrt(centres[1] / centres[0])
    return np.concatenate([centres[:1] / half, centres * half])


_ALONE = 1.2
"""A cell that stands alone reaches so far from its centre."""


def _handles() -> list[Patch | Line2D]:
    measured = Line2D([], [], color="black", marker="o", linestyle="", markersize=3.5)
    measured.set_label("measured")
    return [
        *(Patch(color=_COLOURS[regime], label=regime.value) for regime in Regime),
        Patch(color=_NOWHERE, label="no calibrated clock holds"),
        Patch(facecolor="white", edgecolor="black", hatch="//", label=_BEYOND),
        measured,
    ]
