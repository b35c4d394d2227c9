"""A plan as a person reads it.

In: a plan. Out: ranked choices, what was left out and why, what may come otherwise, where it ends.
"""

import math
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from simulate.costs.report import bill_notes
from simulate.number import number
from simulate.plan.months import mean_bill
from simulate.plan.planning import Plan
from simulate.plan.promise import each_of
from simulate.plan.ranking import Choice
from simulate.plan.search import seconds
from simulate.plan.split import pools_of
from simulate.power import WINDOWS_S
from simulate.words import command_line

KILO = 1e3


def print_plan(console: Console, plan: Plan) -> None:
    """Print the plan: the answer first, then what it rests on."""
    console.print(_headline(plan))
    best = plan.choice
    if best is None:
        console.print("[bold]No candidate keeps its promise.[/bold] The nearest misses come first.")
    else:
        console.print(
            f"[bold]{_fleet(best)}[/bold]: {number(best.value)} {_unit(plan)} a month, the mean of "
            f"{plan.question.draws} runs"
        )
        console.print(f"One replica fewer: {best.below}.", markup=False)
        console.print(_choices(plan))
    if plan.schedule:
        console.print()
        console.print(_months(plan))
    if plan.ranking.dropped:
        console.print()
        console.print(_dropped(plan))
    if plan.what_ifs:
        console.print()
        console.print(_what_ifs(plan))
    if best is not None:
        console.print(_headroom(plan))
        console.print("It is replayed by", end="\n  ")
        console.print(command_line(plan.words_of(best)), soft_wrap=True, markup=False)
    for line in _notes(plan):
        console.print(line, style="dim", markup=False)


def _headline(plan: Plan) -> str:
    goals = plan.question.goals
    limits = ", ".join(
        f"{goal.figure.label} of {seconds(goal.figure.latency, goal.limit_s)}"
        for goal in goals.latencies
    )
    words = plan.words
    rate = "" if words["rate_scale"] is None else f" at {words['rate_scale']:g} x its rate"
    load = "" if plan.question.load == 1 else f", grown to {plan.question.load:.3g} x that"
    return (
        f"[bold]{words['trace']}[/bold]{rate}{load}: {limits}, kept by a new run with "
        f"{goals.confidence:.0%} probability\n"
        f"{len(plan.candidates)} candidate{'s' if len(plan.candidates) > 1 else ''}, "
        f"{plan.simulated} runs; least "
        f"{plan.question.objective.name}"
    )


def _unit(plan: Plan) -> str:
    return plan.question.objective.unit(plan.costs.currency)


def _fleet(choice: Choice) -> str:
    size = f"{choice.replicas} replica{'s' if choice.replicas > 1 else ''}"
    if choice.candidate.gpus > 1:
        size += f" of {choice.candidate.gpus} GPUs each,"
    if choice.candidate.prefilling is not None:
        prefilling, decoding = pools_of(choice.replicas, choice.candidate.prefilling)
        size += f" ({prefilling} prefilling, {decoding} decoding)"
    look = choice.looks[0]
    return f"{size} of {look.model} on {look.rate.kit.calibration}, {choice.candidate.label}"


def _choices(plan: Plan) -> Table:
    choices = plan.ranking.choices
    settings = {each.candidate.setting for each in choices}
    title = (settings.pop() or "policy") if len(settings) == 1 else "kind of fleet"
    months = [mean_bill([run.month for run in each.runs]) for each in choices]
    columns: list[tuple[str, list[str]]] = [
        ("GPUs", [f"{each.replicas * each.candidate.gpus:,}" for each in choices]),
        ("site MWh", [number(month.site_energy_kwh / KILO) for month in months]),
    ]
    if months[0].cost is not None:
        columns.append((f"cost, {months[0].currency}", [number(m.cost) for m in months]))
    if months[0].all_carbon_kg is not None:
        columns.append(("t CO2e", [number((m.all_carbon_kg or 0) / KILO) for m in months]))
    for goal in plan.question.goals.latencies:
        unit, factor = ("ms", 1e3) if goal.figure.latency == "tpot" else ("s", 1.0)
        name = goal.figure.name
        cells = [
            f"{number(factor * _mean(run.latencies_s[name] for run in each.runs))} "
            f"≤{number(factor * each.bounds_s[name])}"
            for each in choices
        ]
        columns.append((f"{goal.figure.label}, {unit}", cells))
    if any(each.looks[0].quality is not None for each in choices):
        qualities = (each.looks[0].quality for each in choices)
        columns.append(("quality", ["-" if each is None else f"{each:.1%}" for each in qualities]))
    peaks = [max(run.site_peak_w for run in each.runs) / KILO for each in choices]
    columns.append(("peak kW", [number(peak) for peak in peaks]))
    table = Table(show_edge=False, pad_edge=False)
    table.add_column(title, overflow="fold")
    for name, _ in columns:
        table.add_column(name, justify="right")
    for place, each in enumerate(choices):
        label = each.candidate.label if settings else each.candidate.policy
        table.add_row(label, *(cells[place] for _, cells in columns))
    return table


def _dropped(plan: Plan) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("left out")
    table.add_column("by")
    table.add_column("because")
    for each in plan.ranking.dropped:
        table.add_row(each.candidate.label, each.stage, each.reason)
    return table


def _what_ifs(plan: Plan) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    noted = any(each.note for each in plan.what_ifs)
    table.add_column("what if")
    table.add_column("policy")
    table.add_column("GPUs", justify="right")
    table.add_column(f"{_unit(plan)} a month", justify="right")
    table.add_column("change", justify="right")
    if noted:
        table.add_column("")
    gpus = plan.ranking.choices[0].candidate.gpus
    for each in plan.what_ifs:
        table.add_row(
            each.change,
            each.policy,
            "-" if each.replicas is None else f"{each.replicas * gpus:,}",
            number(each.value),
            "-" if each.against is None else f"{each.against - 1:+.1%}",
            *([each.note] if noted else []),
        )
    return table


def _months(plan: Plan) -> Table:
    bills = [month.bill for month in plan.schedule]
    columns = [("site MWh", [bill.site_energy_kwh / KILO for bill in bills])]
    if bills[0].cost is not None:
        columns.append((f"cost, {bills[0].currency}", [bill.cost or 0.0 for bill in bills]))
    if bills[0].all_carbon_kg is not None:
        columns.append(("t CO2e", [(bill.all_carbon_kg or 0.0) / KILO for bill in bills]))
    if len(plan.question.objective.weights) > 1:
        columns.append((plan.question.objective.name, [m.value for m in plan.schedule]))
    table = Table(show_edge=False, pad_edge=False)
    for name in ("month", "load", "replicas", *(name for name, _ in columns)):
        table.add_column(name, justify="right")
    for place, month in enumerate(plan.schedule):
        cells = (number(values[place]) for _, values in columns)
        table.add_row(f"{month.number}", f"{month.load:.3f}", f"{month.replicas:,}", *cells)
    table.add_section()
    table.add_row("all", "", "", *(number(math.fsum(values)) for _, values in columns))
    return table


def _headroom(plan: Plan) -> str:
    room = plan.headroom
    assert room is not None
    if room.broken is None:
        return (
            f"Headroom: it keeps its goals at {room.kept:.3g} x the load, the most that was tried."
        )
    return (
        f"Headroom: it keeps its goals at {room.kept:.3g} x the load, and at {room.broken:.3g} x "
        f"breaks {room.why}."
    )


def _notes(plan: Plan) -> Iterator[str]:
    question = plan.question
    goals = question.goals
    if plan.choice is not None:
        yield from (f"! {warning}" for warning in plan.choice.runs[0].warnings)
    each = each_of(len(goals.latencies), goals.confidence)
    yield (
        f"Promise: after ≤ is what a percentile of one more run stays below, by {each:.1%} "
        f"prediction bounds of its logarithm (t, {question.draws} runs, taken for normal), "
        f"so that all {len(goals.latencies)} hold together with {goals.confidence:.0%} "
        "(Bonferroni); and every run keeps them."
        if len(goals.latencies) > 1
        else f"Promise: after ≤ is what the percentile of one more run stays below, by the "
        f"{each:.1%} prediction bound of its logarithm (t, {question.draws} runs, taken for "
        "normal); and every run keeps it."
    )
    yield (
        "A month is one of load like this: a run's energy at the site (GPUs and hosts, times the "
        "PUE), cost and carbon to its last token, times a month over the time to the last arrival. "
        f"Peaks are of means over {WINDOWS_S[goals.window]:g} s, with all hosts busy."
    )
    yield (
        "Each run draws the curves' coefficients, and "
        + (
            "the trace, anew; "
            if plan.candidates[0].redraws
            else "shuffles queries among the arrivals; "
        )
        + "all candidates meet the same draws."
    )
    yield (
        "More replicas and less load are taken never to break a goal. More load and tighter limits "
        "are reckoned from the first draw, with the plan's own distance to its bounds."
    )
    kits = [each.looks[0].rate.kit for each in plan.ranking.choices]
    yield from bill_notes(plan.costs, kits)


def _mean(values: Iterator[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
