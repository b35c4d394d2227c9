"""The parts of a run as a table for the terminal, and as columns for a file.

In: a comparison that was broken down. Out: a rich table for each way, a parquet table of all.
"""

from collections.abc import Callable, Iterator

import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.table import Table

from simulate.breakdown import By, PartMetrics
from simulate.compare import Comparison, PolicyResult
from simulate.number import number
from simulate.percentiles import Percentiles

_LATENCIES = ("ttft", "tpot", "itl", "e2e", "queue")
_QUANTILES = ("p50", "p95", "p99")


def parts_table(comparison: Comparison, result: PolicyResult, by: By) -> Table:
    """Return the parts of one policy's run, one row each."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(f"{result.outcome.policy}\nby {by.label}", no_wrap=True)
    columns = _columns(comparison, by)
    for name in columns:
        table.add_column(name, justify="right")
    for part in result.parts[by.label]:
        table.add_row(part.part, *(cell(part) for cell in columns.values()))
    return table


def parts_columns(comparison: Comparison) -> pa.Table:
    """Return one row per policy, way and part; joules and watts are null where nobody can tell."""
    rows = [
        {"policy": result.outcome.policy, "by": label, **dict(_flat(part))}
        for result in comparison.results
        for label, parts in result.parts.items()
        for part in parts
    ]
    return pa.Table.from_pylist(rows)


Cell = Callable[[PartMetrics], str]


def _columns(comparison: Comparison, by: By) -> dict[str, Cell]:
    columns: dict[str, Cell] = {
        "re-\nquests": lambda p: f"{p.requests:,}",
        "TTFT\np95, s": _latency("ttft", 1.0),
        "TPOT\np95, ms": _latency("tpot", 1e3),
        "E2E\np95, s": _latency("e2e", 1.0),
    }
    if comparison.results[0].outcome.replayed.batches is not None:
        columns["ITL\np99, ms"] = _latency("itl", 1e3, "p99_s")
    columns |= {
        "own J /\nrequest": lambda p: number(p.own_j / p.requests if p.requests else None),
        "J / prompt\ntoken": lambda p: number(p.prefill_token_j),
        "J / decoded\ntoken": lambda p: number(p.decode_token_j),
    }
    if by.what != "task":
        columns["mean\nW"] = lambda p: number(None if p.power is None else p.power.mean_w)
    if comparison.scenario.slo is not None:
        columns["SLO\nmet"] = lambda p: (
            "-" if p.slo_attainment is None else f"{p.slo_attainment['all']:.1%}"
        )
    return columns


def _latency(name: str, scale: float, quantile: str = "p95_s") -> Cell:
    def cell(part: PartMetrics) -> str:
        value = getattr(getattr(part.latencies, name), quantile)
        return number(None if value is None else scale * value)

    return cell


def _flat(part: PartMetrics) -> Iterator[tuple[str, object]]:
    for name, value in vars(part).items():
        if name not in ("latencies", "power", "slo_attainment"):
            yield name, value
    for latency in _LATENCIES:
        found: Percentiles = getattr(part.latencies, latency)
        for quantile in _QUANTILES:
            yield f"{latency}_{quantile}_s", getattr(found, f"{quantile}_s")
    met = part.slo_attainment
    yield "slo_attainment", None if met is None else met["all"]
    power = part.power
    yield "energy_j", None if power is None else power.energy_j
    yield "mean_power_w", None if power is None else power.mean_w
    for quantile in _QUANTILES:
        yield f"power_{quantile}_w", None if power is None else power.power_w[quantile]
    yield "peak_power_1s_w", None if power is None else power.peak_w["1s"]
