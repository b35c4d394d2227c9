"""A sweep as a person reads it, as a machine does, and as a picture.

In: a sweep. Out: one table of the Pareto front and the marked policies; ``sweep.json``,
``sweep.parquet`` and ``sweep.png``.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from model.work import Phase
from phasewatt import __version__
from simulate.metrics import JOULES_PER_KWH
from simulate.number import number
from simulate.plots import COLOURS, DPI, MARKERS
from simulate.sweep import Cell, Sweep, costs

SWEEP_VERSION = 1


def print_sweep(console: Console, swept: Sweep) -> None:
    """Print the Pareto front and the marked policies as one table."""
    console.print(
        f"[bold]{swept.trace.name}[/bold]: {len(swept.trace):,} requests at "
        f"{len(swept.cells)} pairs of clocks; {swept.model} on {swept.replicas} replicas, each "
        f"one {swept.calibration.gpu.name}"
    )
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("")
    for column in ("prefill\nMHz", "decode\nMHz", "energy\nkWh", "TTFT p95\ns", "TPOT p50\ns"):
        table.add_column(column, justify="right")
    table.add_column("E2E p95\ns", justify="right")
    table.add_column("", justify="left")
    for mark in swept.marks:
        table.add_row(mark.policy, *_figures(mark), _remark(mark))
    table.add_section()
    for index in swept.front:
        cell = swept.cells[index]
        table.add_row("Pareto front", *_figures(cell), _remark(cell))
    console.print(table)
    console.print(
        "Pareto front: no other pair of the grid has both less energy and a lower "
        f"{_words(swept.latency)}.",
        style="dim",
    )
    for line in swept.warnings:
        console.print(f"! {line}", style="dim", markup=False)


def sweep_summary(swept: Sweep) -> dict[str, Any]:
    """Return the sweep as a document of plain values, the same for the same inputs."""
    return {
        "schema": "phasewatt-sweep",
        "schema_version": SWEEP_VERSION,
        "phasewatt": __version__,
        "scenario": asdict(swept.scenario),
        "trace": swept.trace.name,
        "calibration": swept.calibration.name,
        "provenance": asdict(swept.calibration.provenance),
        "model": swept.model,
        "replicas": swept.replicas,
        "prefill_mhz": swept.grid.prefill_mhz.tolist(),
        "decode_mhz": swept.grid.decode_mhz.tolist(),
        "latency": swept.latency,
        "front": [_document(swept.cells[index]) for index in swept.front],
        "marks": [_document(mark) for mark in swept.marks],
        "warnings": list(swept.warnings),
    }


def write_sweep(swept: Sweep, directory: Path) -> None:
    """Write ``sweep.json``, ``sweep.parquet`` (every pair) and ``sweep.png`` into ``directory``."""
    document = json.dumps(sweep_summary(swept), indent=2, allow_nan=False) + "\n"
    (directory / "sweep.json").write_text(document, encoding="utf-8")
    pq.write_table(sweep_table(swept), directory / "sweep.parquet", compression="zstd")
    plot_sweep(swept, directory / "sweep.png")


def sweep_table(swept: Sweep) -> pa.Table:
    """Return one row per pair of clocks: clocks in MHz, energy in J, latencies in s."""
    front = set(swept.front)
    rows = [
        {
            "prefill_mhz": cell.asked_mhz[Phase.PREFILL],
            "decode_mhz": cell.asked_mhz[Phase.DECODE],
            "prefill_held_mhz": cell.held_mhz[Phase.PREFILL],
            "decode_held_mhz": cell.held_mhz[Phase.DECODE],
            "energy_j": cell.metrics.energy_j,
            **{
                f"{name}_{quantile}_s": getattr(getattr(cell.metrics, name), f"{quantile}_s")
                for name in ("ttft", "tpot", "e2e")
                for quantile in ("p50", "p95", "p99")
            },
            "utilisation": cell.metrics.utilisation,
            "saturated": cell.saturated,
            "transferred": cell.transferred,
            "pareto": index in front,
        }
        for index, cell in enumerate(swept.cells)
    ]
    return pa.Table.from_pylist(rows)


def plot_sweep(swept: Sweep, path: Path) -> None:
    """Draw energy over both clocks, and energy against latency with the Pareto front."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    grid_axis, front_axis = figure.subplots(1, 2)
    _draw_grid(figure, grid_axis, swept)
    _draw_front(front_axis, swept)
    figure.suptitle(
        f"{swept.trace.name}: {swept.model} on {swept.replicas} replica"
        f"{'s' if swept.replicas > 1 else ''}, {swept.calibration.gpu.name}",
        fontsize=11,
    )
    handles, labels = front_axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=DPI, metadata={"Software": "phasewatt"})


def _draw_grid(figure: Figure, axis: Axes, swept: Sweep) -> None:
    energy_j, _ = costs(swept.cells, swept.latency)
    shape = (swept.grid.prefill_mhz.size, swept.grid.decode_mhz.size)
    image = axis.pcolormesh(
        swept.grid.decode_mhz,
        swept.grid.prefill_mhz,
        energy_j.reshape(shape) / JOULES_PER_KWH,
        cmap="cividis",
        shading="nearest",
    )
    figure.colorbar(image, ax=axis, label="energy of the fleet, kWh")
    for index, mark in enumerate(swept.marks):
        axis.plot(
            mark.held_mhz[Phase.DECODE],
            mark.held_mhz[Phase.PREFILL],
            MARKERS[index % len(MARKERS)],
            color=COLOURS[index % len(COLOURS)],
            markeredgecolor="white",
            markersize=10,
        )
    axis.set_xlabel("decode clock, MHz")
    axis.set_ylabel("prefill clock, MHz")


def _draw_front(axis: Axes, swept: Sweep) -> None:
    energy_j, latency_s = costs(swept.cells, swept.latency)
    energy_kwh = energy_j / JOULES_PER_KWH
    keeps_up = np.array([not cell.saturated for cell in swept.cells])
    axis.plot(
        latency_s[keeps_up], energy_kwh[keeps_up], ".", color="#999999", label="pair of clocks"
    )
    if not keeps_up.all():
        axis.plot(
            latency_s[~keeps_up],
            energy_kwh[~keeps_up],
            "x",
            color="#999999",
            label="saturated pair",
        )
    front = list(swept.front)
    axis.plot(latency_s[front], energy_kwh[front], "-", color="black", label="Pareto front")
    marks_j, marks_s = costs(swept.marks, swept.latency)
    for index, mark in enumerate(swept.marks):
        axis.plot(
            marks_s[index],
            marks_j[index] / JOULES_PER_KWH,
            MARKERS[index % len(MARKERS)],
            color=COLOURS[index % len(COLOURS)],
            markersize=9,
            label=mark.policy,
        )
    finite = latency_s[keeps_up & np.isfinite(latency_s)]
    if finite.size and latency_s[np.isfinite(latency_s)].max() > 10 * finite.min():
        axis.set_xscale("log")
    axis.set_xlabel(f"{_words(swept.latency)}, s")
    axis.set_ylabel("energy of the fleet, kWh")
    axis.grid(alpha=0.3)


def _words(latency: str) -> str:
    name, quantile = latency.split("_")
    return f"{name.upper()} {quantile}"


def _figures(cell: Cell) -> tuple[str, ...]:
    metrics = cell.metrics
    return (
        f"{cell.held_mhz[Phase.PREFILL]:,.0f}",
        f"{cell.held_mhz[Phase.DECODE]:,.0f}",
        number(metrics.energy_kwh),
        number(metrics.ttft.p95_s),
        number(metrics.tpot.p50_s),
        number(metrics.e2e.p95_s),
    )


def _remark(cell: Cell) -> str:
    remarks = {"saturated": cell.saturated, "transferred": cell.transferred}
    return ", ".join(remark for remark, holds in remarks.items() if holds)


def _document(cell: Cell) -> dict[str, Any]:
    return {
        "policy": cell.policy,
        "asked_mhz": {
            phase.value: mhz if math.isfinite(mhz) else None
            for phase, mhz in cell.asked_mhz.items()
        },
        "held_mhz": {phase.value: mhz for phase, mhz in cell.held_mhz.items()},
        "saturated": cell.saturated,
        "transferred": cell.transferred,
        "metrics": asdict(cell.metrics),
    }
