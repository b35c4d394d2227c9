"""The pictures of a comparison: energy against latency, and power over time.

In: a comparison. Out: PNG files.
"""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from simulate.compare import Comparison
from simulate.metrics import JOULES_PER_KWH
from simulate.power import bin_width_s, binned_power_w

# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ("#555555", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

DPI = 150


def plot_energy_latency(comparison: Comparison, path: Path) -> None:
    """Draw each policy's energy against its p95 latencies, with the energy's interval."""
    figure = Figure(figsize=(9.5, 4.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, name, label in (
        (axes[0], "ttft", "TTFT p95, s"),
        (axes[1], "e2e", "end-to-end latency p95, s"),
    ):
        for index, result in enumerate(comparison.results):
            x = getattr(result.metrics, name).p95_s
            energy = result.energy_j
            y = energy.value / JOULES_PER_KWH
            spread = (
                None
                if energy.low is None or energy.high is None
                else [
                    [y - energy.low / JOULES_PER_KWH],
                    [energy.high / JOULES_PER_KWH - y],
                ]
            )
            axis.errorbar(
                [x],
                [y],
                yerr=spread,
                fmt=MARKERS[index % len(MARKERS)],
                color=COLOURS[index % len(COLOURS)],
                markersize=9,
                capsize=3,
                label=result.outcome.policy,
            )
        axis.set_xlabel(label)
        axis.margins(0.15)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("energy of the fleet, kWh")
    figure.suptitle(_title(comparison), fontsize=11)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))
    _save(figure, path)


def plot_power(comparison: Comparison, path: Path) -> None:
    """Draw the fleet's power over time, one line per policy, averaged over equal bins."""
    figure = Figure(figsize=(9.5, 4.4), layout="constrained")
    axis = figure.subplots()
    longest_s = max(result.outcome.makespan_s for result in comparison.results)
    width_s = bin_width_s(longest_s)
    for index, result in enumerate(comparison.results):
        edges_s = np.arange(0.0, result.outcome.makespan_s + width_s, width_s)
        power_kw = binned_power_w(result.outcome.replayed.intervals, edges_s) / 1e3
        axis.stairs(
            power_kw,
            edges_s,
            color=COLOURS[index % len(COLOURS)],
            linewidth=1.1,
            baseline=None,
            label=f"{result.outcome.policy}: {result.metrics.energy_kwh:#.3g} kWh",
        )
    axis.set_xlabel("time, s")
    axis.set_ylabel(f"power of the fleet, kW (mean over {width_s:g} s)")
    axis.set_ylim(bottom=0)
    axis.margins(x=0.01)
    axis.grid(alpha=0.3)
    axis.set_title(_title(comparison), fontsize=11)
    figure.legend(loc="outside lower center", ncols=2)
    _save(figure, path)


def _title(comparison: Comparison) -> str:
    first = comparison.results[0]
    gpus = dict.fromkeys(group.calibration.gpu.name for group in comparison.groups)
    models = dict.fromkeys(group.model for group in first.outcome.groups)
    replicas = f"{comparison.replicas} replica{'s' if comparison.replicas > 1 else ''}"
    return f"{comparison.trace.name}: {', '.join(models)} on {replicas}, {', '.join(gpus)}"


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=DPI, metadata={"Software": "phasewatt"})
