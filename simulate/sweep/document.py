"""A sweep as a machine reads it, and the directory that holds it.

In: a sweep. Out: one document of plain values; its files.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from simulate.document import versions
from simulate.sweep.figures import HELD, QUANTILES
from simulate.sweep.front import ATTAINED, Choice
from simulate.sweep.sweep import Sweep
from simulate.words import spelt

SWEEP_VERSION = 2

_TOLD = (
    "fleet_replicas",
    *HELD.values(),
    "energy_j",
    "baseline_energy_j",
    "saving",
    "request_j",
    "output_token_j",
    *(f"{name}_{quantile}_s" for name in ("ttft", "tpot", "e2e") for quantile in QUANTILES),
    "slo_all",
    "goodput_per_s",
    "quality",
    "mean_power_w",
    "peak_power_1s_w",
    "utilisation",
    "site_energy_j",
    "cost",
    "carbon_kg",
)
"""The figures of a choice that the document holds; ``sweep.parquet`` has all, of each repeat."""


def sweep_summary(swept: Sweep) -> dict[str, Any]:
    """Return the sweep as a document of plain values, the same for the same inputs."""
    plan = swept.plan
    each = swept.circumstances
    return {
        "schema": "phasewatt-sweep",
        "schema_version": SWEEP_VERSION,
        "versions": versions(),
        "words": spelt(plan.words),
        "axes": {axis.name: list(axis.values) for axis in plan.axes},
        "seeds": plan.seeds,
        "policies": list(plan.policies),
        "latency": swept.latency,
        "points": len(plan.points),
        "best": [_choice(swept, one.best) for one in each if one.best is not None],
        "best_attains": ATTAINED,
        "marks": [_choice(swept, choice) for one in each for choice in one.marks],
        "front": [_choice(swept, choice) for one in each for choice in one.front],
        "warnings": list(swept.warnings),
        **swept.sources,
    }


def write_sweep(swept: Sweep, directory: Path) -> None:
    """Write ``sweep.json``, ``sweep.parquet`` (every point), ``sweep.png`` and ``report.html``."""
    # Bokeh and matplotlib take their time to load.
    from simulate.html.page import write_page_of_directory
    from simulate.sweep.picture import plot_sweep

    document = json.dumps(sweep_summary(swept), indent=2, allow_nan=False) + "\n"
    (directory / "sweep.json").write_text(document, encoding="utf-8")
    pq.write_table(swept.table(), directory / "sweep.parquet", compression="zstd")
    plot_sweep(swept, directory / "sweep.png")
    write_page_of_directory(directory)


def _choice(swept: Sweep, choice: Choice) -> dict[str, Any]:
    return {
        **choice.point.at,
        "policy": choice.point.policy,
        "points": [point.number for point in choice.points],
        "ran": len(choice.runs),
        **{figure: choice.means.get(figure) for figure in _TOLD},
        "saving_reach": choice.saving_reach,
        "saturated": choice.saturated,
        "transferred": choice.transferred,
        "command": swept.command(choice.point),
    }
