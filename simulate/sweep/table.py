"""A sweep as a person reads it: what is worth choosing; all the rest is in files.

In: a sweep. Out: one table of some two dozen rows, whatever the number of points.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from simulate.metrics import JOULES_PER_KWH
from simulate.number import number
from simulate.sweep.axes import CLOCKS, Axis
from simulate.sweep.front import ATTAINED, Choice, Circumstance, decided
from simulate.sweep.sweep import Sweep
from simulate.words import text_of

_MOST_ROWS = 24
"""What is left of more, the files have."""


@dataclass(frozen=True)
class _Column:
    """One column: its head, and what it says of a choice in a circumstance."""

    head: str
    cell: Callable[[Choice, Circumstance], str]
    justify: Literal["left", "right"] = "right"
    repeats: bool = True


def print_sweep(console: Console, swept: Sweep) -> None:
    """Print what is marked, the best choice and the Pareto front of each circumstance."""
    console.print(title_of(swept), markup=False)
    console.print(_table(swept))
    for line in (*_footnotes(swept), *(f"! {line}" for line in swept.warnings)):
        console.print(line, style="dim", markup=False)


def title_of(swept: Sweep) -> str:
    """Return the trace, how many points there are along which axes, and what all have in common."""
    plan = swept.plan
    names = list(dict.fromkeys(each["name"] for each in swept.sources["traces"]))
    axes = " x ".join(f"{len(axis.values)} {axis.name}" for axis in plan.axes if axis.varies)
    told = names[0] if len(names) == 1 else f"{len(names)} traces"
    told += f": {len(plan.points):,} points" + (f" ({axes})" if axes else "")
    if plan.seeds > 1:
        told += f", {plan.seeds} seeds each"
    models = {row["models"] for row in swept.rows} - {None}
    gpus = {each["gpu"] for each in swept.sources["calibrations"].values()}
    replicas = _replicas(swept)
    if not plan.over_clocks and len(plan.policies) == 1:
        told += f" of {plan.policies[0]}"
    if len(models) == 1:
        told += f"; {models.pop()}"
        told += f" on {replicas} replica{'s' if replicas > 1 else ''}" if replicas else ""
        if len(gpus) == 1:
            told += f" {'of' if replicas else 'on'} {gpus.pop()}"
    return told


def latency_words(latency: str) -> str:
    """Return ``ttft_p95`` as people write it."""
    name, quantile = latency.split("_")
    return f"{name if name == 'queue' else name.upper()} {quantile}"


def _table(swept: Sweep) -> Table:
    columns = _columns(swept)
    table = Table(show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column.head, justify=column.justify, overflow="fold")
    shown = swept.circumstances[:_MOST_ROWS]
    for circumstance in shown:
        for place, choice in enumerate(_shown(circumstance, len(shown))):
            table.add_row(
                *(c.cell(choice, circumstance) if c.repeats or not place else "" for c in columns)
            )
        table.add_section()
    return table


def _columns(swept: Sweep) -> list[_Column]:
    plan = swept.plan
    outer = [a for a in plan.axes if a.varies and a.column in swept.circumstances[0].at]
    columns = [_of_axis(axis, repeats=False) for axis in outer]
    columns += [_of_axis(a, repeats=True) for a in decided(plan.axes) if a.name not in CLOCKS]
    if plan.over_clocks or len(plan.policies) > 1:
        columns.append(_Column("", lambda choice, _: _name(choice), "left"))
    if plan.over_clocks:
        columns += [_of_mean(f"{p}\nMHz", f"{p}_held_mhz", _whole) for p in ("prefill", "decode")]
    if "replicas" not in {a.name for a in plan.axes} and not _replicas(swept):
        columns.append(_of_mean("repli-\ncas", "fleet_replicas", number))
    columns.append(_of_mean("energy\nkWh", "energy_j", lambda j: number(j / JOULES_PER_KWH)))
    columns.append(_Column("saving", lambda choice, _: _saving(choice)))
    for latency in dict.fromkeys((swept.latency, "ttft_p95", "tpot_p50", "e2e_p95")):
        columns.append(_of_latency(latency))
    if any(row["slo_all"] is not None for row in swept.rows):
        columns.append(_of_mean("SLO\nmet", "slo_all", lambda share: f"{share:.1%}"))
    columns.append(_Column("", _remark, "left"))
    return columns


def _of_axis(axis: Axis, repeats: bool) -> _Column:
    plain = all(isinstance(value, int | float) for value in axis.values)

    def cell(choice: Choice, _: Circumstance) -> str:
        value = choice.point.at[axis.column]
        return str(value).lower() if isinstance(value, bool) else text_of(value)

    head = axis.name.replace("-", "-\n")
    return _Column(head, cell, "right" if plain else "left", repeats)


def _of_mean(head: str, column: str, text: Callable[[float], str]) -> _Column:
    def cell(choice: Choice, _: Circumstance) -> str:
        mean = choice.means.get(column)
        return "-" if mean is None else text(mean)

    return _Column(head, cell)


def _of_latency(latency: str) -> _Column:
    per_token = latency.startswith(("tpot", "itl"))
    unit, scale = ("ms", 1e3) if per_token else ("s", 1.0)
    head = f"{latency_words(latency)}\n{unit}"
    return _of_mean(head, f"{latency}_s", lambda time_s: number(scale * time_s))


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _name(choice: Choice) -> str:
    is_pair = any(column in choice.point.at for column in _CLOCK_COLUMNS)
    return "Pareto front" if is_pair and not choice.point.is_mark else choice.point.policy


_CLOCK_COLUMNS = tuple(name.replace("-", "_") for name in CLOCKS)


def _saving(choice: Choice) -> str:
    saving = choice.means.get("saving")
    if saving is None:
        return "-"
    reach = choice.saving_reach
    # Adding zero takes the sign from what rounds to nothing.
    percent = round(100 * saving, 1) + 0.0
    return f"{percent:.1f}%" if reach is None else f"{percent:.1f}±{100 * reach:.1f}%"


def _remark(choice: Choice, circumstance: Circumstance) -> str:
    if not choice.runs:
        return "could not run"
    remarks = {
        "best": choice is circumstance.best,
        "saturated": choice.saturated,
        "transferred": choice.transferred,
    }
    return ", ".join(remark for remark, holds in remarks.items() if holds)


def _shown(circumstance: Circumstance, circumstances: int) -> list[Choice]:
    """Return the marks, the best choice and as much of the front as there is room for."""
    front = circumstance.front
    room = max(_MOST_ROWS // circumstances - len(circumstance.marks), 1)
    if len(front) > room:
        front = tuple(front[i] for i in np.linspace(0, len(front) - 1, room).round().astype(int))
    best = circumstance.best
    shown = [*circumstance.marks, *front]
    if best is not None and best not in shown:
        shown.insert(len(circumstance.marks), best)
    # Where nothing ran there is no front; one row says so.
    return shown or [circumstance.choices[0]]


def _footnotes(swept: Sweep) -> Iterable[str]:
    yield (
        "Pareto front: no other choice has both less energy and a lower "
        f"{latency_words(swept.latency)}."
    )
    if any(row["slo_all"] is not None for row in swept.rows):
        yield f"best: the least energy with the SLO met by {ATTAINED:.0%} of requests."
    circumstances = swept.circumstances
    hidden = sum(len(each.front) for each in circumstances[_MOST_ROWS:])
    for each in circumstances[:_MOST_ROWS]:
        shown = _shown(each, min(len(circumstances), _MOST_ROWS))
        hidden += sum(choice not in shown for choice in each.front)
    if hidden:
        yield f"{hidden:,} more of the front: column 'pareto' of sweep.parquet (-o DIR)."
    if swept.plan.seeds > 1:
        yield (
            f"Means over {swept.plan.seeds} seeds; saving with the 95% interval of its mean over "
            "them."
        )


def _replicas(swept: Sweep) -> int | None:
    """Return the size of the fleet where it is the same for all points."""
    sizes: set[Any] = {row["fleet_replicas"] for row in swept.rows} - {None}
    return sizes.pop() if len(sizes) == 1 else None
