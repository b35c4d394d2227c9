"""A sweep on the page: every point in one plot, and what no other point beats.

In: ``sweep.json`` and ``sweep.parquet``. Out: a part of the page.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bokeh.core.properties import value
from bokeh.models import Scatter

from phasewatt.errors import BadResult
from simulate.html.figures.frame import draw, frame, hover, plain_numbers
from simulate.html.palette import SERIES_COUNT
from simulate.html.view import MARKERS, Part, Plot, Table
from simulate.number import number

Document = Mapping[str, Any]

SWEEP_VERSION = 2

MOST_POINTS = 5_000
"""Points that a plot shows: what keeps the page under 5 MB."""

_J_PER_KWH = 3.6e6
_SCALES = {"tpot": ("ms", 1e3), "itl": ("ms", 1e3)}


def sweep_part(sweep: Document, directory: Path, name: str, run_name: str) -> Part:
    """Return what the page shows of the sweep in ``directory``; ``name`` is the part's id.

    ``run_name`` tells it from others, or is empty.

    Raises:
        BadResult: ``sweep.parquet`` cannot be read.
    """
    table = _read(directory / "sweep.parquet")
    axes = " x ".join(f"{len(values)} {axis}" for axis, values in sweep["axes"].items())
    seeds = f", {sweep['seeds']} seeds each" if sweep["seeds"] > 1 else ""
    return Part(
        name=name,
        heading=f"The sweep of {run_name}" if run_name else "The sweep",
        answer=f"{sweep['points']:,} points" + (f": {axes}{seeds}" if axes else ""),
        lines=tuple(_lines(sweep, table)),
        plots=(_plot(sweep, table, name),),
        tables=tuple(_tables(sweep)),
        command="",
        warnings=tuple(sweep["warnings"]),
    )


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except FileNotFoundError:
        raise BadResult(f"{path}: is missing; copy the whole directory") from None
    except (OSError, pa.ArrowException):
        raise BadResult(f"{path}: cannot be read as Parquet; copy the whole directory") from None


def _lines(sweep: Document, table: pa.Table) -> Iterator[str]:
    for trace in sweep["traces"]:
        yield f"Trace {trace['name']}: {trace['kind']}; {trace['source']}."
    for calibration in sweep["calibrations"].values():
        provenance = calibration["provenance"]
        yield (
            f"Calibration {calibration['name']}, {calibration['gpu']}: {provenance['kind']}; "
            f"{provenance['source']}."
        )
    yield "Filled points are those that no other beats in both."
    failed = table.num_rows - table.column("error").null_count
    if failed:
        yield f"{failed:,} points could not be run: sweep.parquet says why."
    if table.num_rows - failed > MOST_POINTS:
        yield f"The plot shows {MOST_POINTS:,} points, spread evenly over all."


def _latency(sweep: Document) -> tuple[str, str, float]:
    """Return what the sweep weighs energy against: its column, in words with a unit, its scale."""
    kind, percentile = sweep["latency"].rsplit("_", 1)
    unit, scale = _SCALES.get(kind, ("s", 1.0))
    return f"{kind}_{percentile}_s", f"{kind.upper()} {percentile}, {unit}", scale


def _plot(sweep: Document, table: pa.Table, name: str) -> Plot:
    column, words, scale = _latency(sweep)
    axes = [axis.replace("-", "_") for axis in sweep["axes"] if axis != "policy"]
    wanted = ["policy", "mark", "error", "pareto", "energy_j", column, *axes]
    told = table.select([name for name in dict.fromkeys(wanted) if name in table.column_names])
    rows = [row for row in told.to_pylist() if row["error"] is None and row[column] is not None]
    if len(rows) > MOST_POINTS:
        kept = np.linspace(0, len(rows) - 1, MOST_POINTS).round().astype(int)
        rows = [rows[index] for index in np.unique(kept).tolist()]
    plot = frame(words, "energy of the fleet, kWh", height_px=380)
    plot.x_range.range_padding = plot.y_range.range_padding = 0.05
    plain_numbers(plot.xaxis)
    plain_numbers(plot.yaxis)
    drawn, keys = [], []
    for index, (policy, mine) in enumerate(_by_policy(rows).items()):
        columns = {
            "x": [scale * row[column] for row in mine],
            "y": [row["energy_j"] / _J_PER_KWH for row in mine],
            "at": [", ".join(f"{a} {_said(row[a])}" for a in axes if a in row) for row in mine],
            "alpha": [0.95 if row["pareto"] else 0.35 for row in mine],
        }
        colour = f"series-{(index + 1) % SERIES_COUNT}"
        dot = Scatter(x="x", y="y", size=9, fill_alpha="alpha")
        dot.marker = value(MARKERS[index % len(MARKERS)])
        drawn.append(draw(plot, columns, dot, colour, name=policy))
        keys.append((colour, policy))
    tips = [("policy", "$name"), ("at", "@at"), (words.split(",")[0], "@x{0,0.000}")]
    hover(plot, drawn, [*tips, ("energy", "@y{0,0.000} kWh")])
    return Plot(
        f"{name}-points",
        f"Energy, kWh, against {words}, every point",
        f"Energy of the fleet in kWh against {words}, a point for each point of the sweep; those "
        "that no other beats in both are filled. Lower left is better.",
        plot,
        _choices(sweep, sweep["front"]),
        tuple(keys),
    )


def _by_policy(rows: Sequence[Document]) -> dict[str, list[Document]]:
    """Return rows by policy; where axes make too many to tell apart, only those that are marks."""
    marks = {row["policy"] for row in rows if row["mark"]}
    few = len({row["policy"] for row in rows}) < SERIES_COUNT
    found: dict[str, list[Document]] = {}
    for row in rows:
        told = few or row["policy"] in marks
        found.setdefault(row["policy"] if told else "points of the grid", []).append(row)
    return found


def _tables(sweep: Document) -> Iterator[tuple[str, Table]]:
    for caption, choices in (
        (f"The least energy that meets its SLO in {sweep['best_attains']:.0%}", sweep["best"]),
        ("What policies choose", sweep["marks"]),
        ("What no other choice beats in both", sweep["front"]),
    ):
        if choices:
            yield caption, _choices(sweep, choices)


def _choices(sweep: Document, choices: Sequence[Document]) -> Table:
    column, words, scale = _latency(sweep)
    axes = [axis.replace("-", "_") for axis in sweep["axes"] if axis != "policy"]
    rows = [
        (
            choice["policy"],
            *(_said(choice.get(axis)) for axis in axes),
            number(choice["energy_j"] / _J_PER_KWH),
            "-" if choice["saving"] is None else f"{choice['saving']:.1%}",
            _scaled(choice[column], scale),
            _scaled(choice["ttft_p95_s"], 1.0),
            _scaled(choice["tpot_p50_s"], 1e3),
            choice["command"],
        )
        for choice in choices
    ]
    heads = ("energy, kWh", "saving", words, "TTFT p95, s", "TPOT p50, ms", "command")
    columns = ("policy", *(axis.replace("_", " ") for axis in axes), *heads)
    return Table(columns, tuple(rows), (len(columns) - 1,))


def _said(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _scaled(figure: float | None, scale: float) -> str:
    return number(None if figure is None else scale * figure)
