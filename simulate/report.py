"""A comparison as a person reads it.

In: a comparison. Out: one table for the terminal, and what must be known of it.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from model.work import Phase
from simulate.compare import LATENCIES, QUANTILES, Comparison, Estimate, PolicyResult
from simulate.costs.report import bill_notes, bill_rows
from simulate.groups import Group
from simulate.meter import State
from simulate.number import number
from simulate.order import Order
from simulate.parts_report import parts_table
from simulate.power import PERCENTILES, WINDOWS_S
from simulate.quality import How

_STATES = (State.PREFILL, State.DECODE, State.SWITCHING, State.IDLE)
_RARE_STATES = (State.SLEEPING, State.STARTING, State.OFF, State.FAILED)
"""Shown where any replica was ever in them."""


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print the comparison as one table, what must be known of it, and where it comes from."""
    console.print(_headline(comparison))
    console.print(_table(comparison))
    for by in comparison.scenario.by:
        for result in comparison.results:
            console.print()
            console.print(parts_table(comparison, result, by))
    for line in _footnotes(comparison):
        console.print(line, style="dim")


def _headline(comparison: Comparison) -> str:
    trace, first = comparison.trace, comparison.results[0]
    words = [ready.batching.words for ready in first.fleet.groups]
    kinds = []
    for index, (group, served) in enumerate(
        zip(comparison.groups, first.outcome.groups, strict=True)
    ):
        ready = [result.fleet.groups[index] for result in comparison.results]
        models = ", ".join(dict.fromkeys(each.model for each in ready))
        size = len(served.replicas)
        kinds.append(
            f"{served.name + ': ' if served.name else ''}[bold]{models}[/bold] in "
            f"{ready[0].curves[Phase.PREFILL].engine} on {size} replica{'s' if size > 1 else ''} "
            f"of {_gpus(group)}"
            f"{', ' + words[index] if len(set(words)) > 1 else ''}"
        )
    span_s = float(first.outcome.arrival_s[-1] - first.outcome.arrival_s[0])
    operations = f" ({', '.join(trace.source.operations)})" if trace.source.operations else ""
    return (
        f"[bold]{trace.name}[/bold]{operations}: {len(trace):,} requests, arriving over "
        f"{span_s:,.0f} s\n"
        f"{'; '.join(kinds)}{', ' + words[0] if len(set(words)) == 1 else ''}"
        f"{_order(comparison)}"
    )


def _gpus(group: Group) -> str:
    gpus, name = group.scenario.tensor_parallel, group.calibration.gpu.name
    return f"{gpus} {name} each" if gpus > 1 else f"one {name}"


def _order(comparison: Comparison) -> str:
    order = comparison.scenario.order
    return "" if order is Order.FCFS else f", by priority: {order}"


def _table(comparison: Comparison) -> Table:
    table = Table(show_edge=False, pad_edge=False, row_styles=["", ""])
    table.add_column("")
    for index, result in enumerate(comparison.results):
        label = result.outcome.policy + ("\n(baseline)" if index == 0 else "")
        table.add_column(label, justify="right", overflow="fold")
    batched = any(r.outcome.replayed.batches is not None for r in comparison.results)
    usual = (*_STATES[:2], State.MIXED, *_STATES[2:]) if batched else _STATES
    states = usual + tuple(
        state
        for state in _RARE_STATES
        if any(result.metrics.time_by_state_s[state.label] for result in comparison.results)
    )
    sections: list[list[Row]] = [
        [
            (f"{phase} clock{' of ' + group.name if group.name else ''}, MHz", _clock(index, phase))
            for index, group in enumerate(comparison.groups)
            for phase in Phase
        ],
        [
            ("energy, kWh", lambda r: number(r.metrics.energy_kwh)),
            ("energy, MJ", lambda r: number(r.metrics.energy_j / 1e6)),
            ("saving", lambda r: _saving(r, comparison)),
            ("J per output token", lambda r: number(r.metrics.output_token_j)),
            ("J per request", lambda r: number(r.metrics.request_j)),
            *(_BATCHED_ENERGY if batched else ()),
        ],
        [
            (f"{name.upper()} {q}, {_UNITS[name][0]}", _latency(name, q))
            for name in LATENCIES
            for q in QUANTILES
        ]
        + [(f"ITL {q}, ms", _gap(q)) for q in QUANTILES if batched]
        + [(f"queueing {q}, s", _queue(q)) for q in QUANTILES if batched],
        [
            ("requests/s", lambda r: number(r.metrics.requests_per_s)),
            ("output tokens/s", lambda r: number(r.metrics.output_tokens_per_s)),
            ("utilisation", lambda r: f"{r.metrics.utilisation:.1%}"),
            *(_BATCHED_COUNTS if batched else ()),
            *(_FAULTS if comparison.scenario.faults is not None else ()),
        ],
        [(f"energy in {state.label}", _share("energy_by_state_j", state)) for state in states],
        [(f"time in {state.label}", _share("time_by_state_s", state)) for state in states],
    ]
    if len(comparison.groups) > 1:
        named = list(enumerate(group.name for group in comparison.groups))
        sections.append([(f"requests to {name}", _requests(index)) for index, name in named])
        sections.append([(f"energy of {name}", _energy(index)) for index, name in named])
    sections.insert(2, bill_rows(comparison))
    sections.insert(3, _qualities(comparison.results))
    if comparison.scenario.slo is not None:
        sections.append(
            [
                (f"SLO attainment, {key}", _attainment(key))
                for key in _attained(comparison.results[0])
            ]
            + (_GOODPUT if batched else [])
        )
    for rows in sections:
        for name, cell in rows:
            table.add_row(name, *(cell(result) for result in comparison.results))
        table.add_section()
    return table


def _power(figure: str, label: str) -> Callable[[PolicyResult], str]:
    return lambda result: number(getattr(result.metrics, figure)[label])


def _proportionality(figure: str) -> Callable[[PolicyResult], str]:
    def cell(result: PolicyResult) -> str:
        found = result.metrics.proportionality
        return "-" if found is None else f"{getattr(found, figure):.2f}"

    return cell


_PEAKS = [(label, f"{window_s:g} s") for label, window_s in WINDOWS_S.items()]

Row = tuple[str, Callable[[PolicyResult], str]]

_BATCHED_ENERGY: list[Row] = [
    ("J per prompt token", lambda r: number(r.metrics.prefill_token_j)),
    ("J per decoded token", lambda r: number(r.metrics.decode_token_j)),
    *((f"power {each}, W", _power("power_w", each)) for each in PERCENTILES),
    *((f"peak power over {each}, W", _power("peak_power_w", label)) for label, each in _PEAKS),
    ("dynamic range of power", _proportionality("dynamic_range")),
    ("energy proportionality", _proportionality("ep")),
]

_BATCHED_COUNTS: list[Row] = [
    ("engine steps", lambda r: f"{r.metrics.engine_steps:,}"),
    ("preemptions", lambda r: f"{r.metrics.preemptions:,}"),
    ("rejected", lambda r: f"{r.metrics.rejected:,}"),
    ("prompt tokens found cached", lambda r: _found(r.metrics.found_prompt_share)),
]

_FAULTS: list[Row] = [
    ("retries", lambda r: f"{r.metrics.retries:,}"),
    ("failed", lambda r: f"{r.metrics.failed:,}"),
    ("energy wasted", lambda r: f"{r.metrics.wasted_j / r.metrics.energy_j:.1%}"),
]

_GOODPUT: list[Row] = [("goodput, requests/s", lambda r: number(r.metrics.goodput_per_s))]


def _found(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _gap(quantile: str) -> Callable[[PolicyResult], str]:
    def cell(result: PolicyResult) -> str:
        value = getattr(result.metrics.itl, f"{quantile}_s")
        return "-" if value is None else number(1e3 * value)

    return cell


def _queue(quantile: str) -> Callable[[PolicyResult], str]:
    return lambda result: number(getattr(result.metrics.queue, f"{quantile}_s"))


def _clock(group: int, phase: Phase) -> Callable[[PolicyResult], str]:
    return lambda result: f"{result.fleet.groups[group].held_mhz[phase]:,.0f}"


def _requests(group: int) -> Callable[[PolicyResult], str]:
    return lambda result: f"{np.mean(result.outcome.group_of == group):.1%}"


def _energy(group: int) -> Callable[[PolicyResult], str]:
    def cell(result: PolicyResult) -> str:
        outcome = result.outcome
        mine_j = outcome.energy_by_replica_j[outcome.group_of_replica == group].sum()
        return f"{mine_j / outcome.energy_j:.1%}"

    return cell


def _qualities(results: Sequence[PolicyResult]) -> list[Row]:
    """Return the rows that tell quality; none where nothing is known of it."""
    kinds = dict.fromkeys(r.quality.how.value for r in results if r.quality.how is not How.UNKNOWN)
    rows: list[Row] = [(f"quality, {' or '.join(kinds)}", _quality)] if kinds else []
    if any(result.quality.answered_twice for result in results):
        rows.append(("answered twice", lambda r: f"{r.quality.answered_twice:.1%}"))
    return rows


def _quality(result: PolicyResult) -> str:
    quality = result.quality
    if quality.mean is None:
        return "unknown"
    if quality.low is None or quality.high is None:
        return f"{quality.mean:.1%}"
    return rf"{quality.mean:.1%} \[{quality.low:.1%}, {quality.high:.1%}]"


def _attainment(objective: str) -> Callable[[PolicyResult], str]:
    return lambda result: f"{_attained(result)[objective]:.2%}"


_UNITS = {"ttft": ("s", 1.0), "tpot": ("ms", 1e3), "e2e": ("s", 1.0)}


def _latency(name: str, quantile: str) -> Callable[[PolicyResult], str]:
    def cell(result: PolicyResult) -> str:
        value = getattr(getattr(result.metrics, name), f"{quantile}_s")
        change = result.latency_change.get(f"{name}_{quantile}")
        if value is None or change is None:
            return "-"
        return f"{number(value * _UNITS[name][1])}{_change(change)}"

    return cell


def _change(change: Estimate) -> str:
    if not change.value:
        return ""
    if change.low is None or change.high is None:
        return f" ({change.value:+.1%})"
    half = 100 * (change.high - change.low) / 2
    return f" ({100 * change.value:+.1f}±{half:.1f}%)"


def _saving(result: PolicyResult, comparison: Comparison) -> str:
    if result is comparison.results[0]:
        return "-"
    saving = result.saving
    if saving.low is None or saving.high is None:
        return f"{saving.value:.1%}"
    return f"{saving.value:.1%} [{saving.low:.1%}, {saving.high:.1%}]".replace("[", r"\[")


def _attained(result: PolicyResult) -> dict[str, float]:
    return result.metrics.slo_attainment or {}


def _share(figure: str, state: State) -> Callable[[PolicyResult], str]:
    def cell(result: PolicyResult) -> str:
        by_state: Mapping[str, float] = getattr(result.metrics, figure)
        return f"{by_state[state.label] / math.fsum(by_state.values()):.1%}"

    return cell


def _footnotes(comparison: Comparison) -> list[str]:
    source = comparison.trace.source
    lines = [f"! {warning}" for warning in comparison.warnings]
    if comparison.scenario.draws:
        lines.append(
            f"Saving and changes of latency: 95% intervals over {comparison.scenario.draws} draws "
            "of the curves' coefficients (not of the trace)."
        )
    for group, prepared in zip(comparison.groups, comparison.results[0].fleet.groups, strict=True):
        provenance = group.calibration.provenance
        named = f" of {group.name}" if group.name else ""
        lines.append(
            f"Calibration {group.calibration.name}{named}: {provenance.kind}; {provenance.source}"
        )
        for phase in Phase:
            curves = prepared.curves[phase]
            lines.append(
                f"  {phase}: hold-out error {curves.time.errors.holdout_mape:.1%} in time, "
                f"{curves.power.errors.holdout_mape:.1%} in power, over "
                f"{curves.time.errors.clocks} clocks"
            )
    lines.append(f"Trace: {source.kind}; {source.description}")
    kits = [group.kit for group in comparison.groups]
    return lines + bill_notes(comparison.scenario.costs, kits)
