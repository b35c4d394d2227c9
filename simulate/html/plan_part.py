"""A plan on the page: the fleet to have, what it rests on, what may come otherwise.

In: ``plan.json``. Out: a part of the page.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from simulate.html.figures.bars import Bar, bars
from simulate.html.view import Part, Plot, Table
from simulate.number import number

Document = Mapping[str, Any]

PLAN_VERSION = 1

_SCALES = {"ttft": ("s", 1.0), "tpot": ("ms", 1e3), "e2e": ("s", 1.0)}


def plan_part(plan: Document, name: str, run_name: str) -> Part:
    """Return what the page shows of ``plan``; ``name`` is the part's id.

    ``run_name`` tells it from others, or is empty.
    """
    best = plan["choices"][0] if plan["choices"] else None
    return Part(
        name=name,
        heading=f"The plan of {run_name}" if run_name else "The plan",
        answer=_answer(plan, best),
        lines=tuple(_lines(plan, best)),
        plots=tuple(_plots(plan, name)),
        tables=tuple(_tables(plan)),
        command="" if best is None else best["command"],
        warnings=tuple(plan["warnings"]),
        rests_on=tuple(
            (each["figure"], f"{each['value']}; {each['kind']}: {each['source']}")
            for each in plan["costs"]
        ),
    )


def _answer(plan: Document, best: Document | None) -> str:
    if best is None:
        return "No candidate keeps the goals"
    size = f"{best['replicas']:,} replica{'' if best['replicas'] == 1 else 's'} of {best['model']}"
    gpus = (
        "" if best["gpus"] == best["replicas"] else f" of {best['gpus'] // best['replicas']} GPUs"
    )
    cost = f"{number(best['objective'])} {plan['objective']['unit']} a month"
    return f"{size}{gpus}, {best['candidate']}: {cost}"


def _lines(plan: Document, best: Document | None) -> Iterator[str]:
    goals = plan["goals"]
    limits = ", ".join(
        f"{_label(goal)} of {_seconds(goal['latency'], goal['limit_s'])}"
        for goal in goals["latencies"]
    )
    candidates = len(plan["choices"]) + len(plan["dropped"])
    yield (
        f"{plan['words']['trace']}: least {plan['objective']['name']} of {candidates} candidates "
        f"that keep {limits} in a new run with {goals['confidence']:.0%} probability; "
        f"{plan['simulated']:,} runs."
    )
    if best is not None:
        yield f"One replica fewer: {best['one_fewer']}."
    headroom = plan["headroom"]
    if headroom is not None:
        kept = f"Headroom: it keeps its goals at {headroom['kept']:.3g} x the load"
        if headroom["broken"] is None:
            yield f"{kept}, the most that was tried."
        else:
            yield f"{kept}, and at {headroom['broken']:.3g} x breaks {headroom['why']}."


def _label(goal: Document) -> str:
    return f"{goal['latency'].upper()} p{goal['percentile']:g}"


def _seconds(latency: str, value_s: float) -> str:
    unit, scale = _SCALES[latency]
    return f"{scale * value_s:g} {unit}"


def _plots(plan: Document, name: str) -> Iterator[Plot]:
    unit = f"{plan['objective']['unit']} a month"
    if len(plan["choices"]) > 1:
        shown = [
            Bar(
                f"{choice['candidate']}: {number(choice['objective'])}",
                choice["objective"],
                f"{choice['replicas']:,} replicas",
                "series-3" if index == 0 else "series-1",
            )
            for index, choice in enumerate(plan["choices"])
        ]
        yield Plot(
            f"{name}-choices",
            f"What keeps the goals, {unit}",
            f"A bar for each candidate that keeps the goals, with its replicas, in {unit}; the "
            "shortest is the plan.",
            bars(f"{plan['objective']['name']}, {unit}", shown),
            _ranked(plan),
        )
    changes = [each for each in plan["what_ifs"] if each["against"] is not None]
    if changes:
        shown = [
            Bar(
                f"{each['change']}: {each['against'] - 1:+.1%}",
                100 * (each["against"] - 1),
                f"{each['replicas']} {each['policy']}: {number(each['value'])} {unit}",
                "series-2",
            )
            for each in changes
        ]
        yield Plot(
            f"{name}-what-ifs",
            "What if: change against the plan, %",
            "A bar for each change of load, limits, prices or clocks: by how much what is to be "
            "least changes against the plan, in percent, with the replicas that it then needs.",
            bars(f"change of {plan['objective']['name']}, %", shown),
            _what_ifs(plan),
        )


def _tables(plan: Document) -> Iterator[tuple[str, Table]]:
    if plan["choices"]:
        yield "What keeps the goals, best first", _ranked(plan)
    if plan["what_ifs"]:
        yield "What if", _what_ifs(plan)
    if plan["schedule"]:
        yield "Month by month", _schedule(plan)
    if plan["dropped"]:
        rows = [(each["candidate"], each["stage"], each["reason"]) for each in plan["dropped"]]
        yield (
            "What was left out, and why",
            Table(("candidate", "found by", "because"), tuple(rows), (1, 2)),
        )


def _ranked(plan: Document) -> Table:
    goals = plan["goals"]["latencies"]
    heads = [f"{_label(goal)} stays below, {_SCALES[goal['latency']][0]}" for goal in goals]
    unit = plan["objective"]["unit"]
    rows = [
        (
            choice["candidate"],
            choice["model"],
            choice["calibration"],
            f"{choice['replicas']:,}",
            f"{choice['gpus']:,}",
            number(choice["objective"]),
            *(
                number(_SCALES[goal["latency"]][1] * choice["bounds_s"][goal["name"]])
                for goal in goals
            ),
            number(max(run["site_peak_w"] for run in choice["runs"]) / 1e3),
        )
        for choice in plan["choices"]
    ]
    sizes = ("replicas", "GPUs", f"{unit} a month")
    columns = ("candidate", "model", "calibration", *sizes, *heads, "peak of the site, kW")
    return Table(columns, tuple(rows), (1, 2))


def _what_ifs(plan: Document) -> Table:
    rows = [
        (
            each["change"],
            each["policy"],
            "-" if each["replicas"] is None else f"{each['replicas']:,}",
            number(each["value"]),
            "-" if each["against"] is None else f"{each['against'] - 1:+.1%}",
            each["note"],
        )
        for each in plan["what_ifs"]
    ]
    unit = f"{plan['objective']['unit']} a month"
    return Table(("what if", "policy", "replicas", unit, "change", "mind"), tuple(rows), (1, 5))


def _schedule(plan: Document) -> Table:
    """Return the figures of each month that are one number; what nobody priced has no column."""
    flat = [dict(_numbers(month, plan["objective"]["unit"])) for month in plan["schedule"]]
    names = [name for name in flat[0] if any(row.get(name) is not None for row in flat)]
    rows = tuple(tuple(_cell(row.get(name)) for name in names) for row in flat)
    return Table(tuple(names), rows)


def _numbers(month: Document, unit: str) -> Iterator[tuple[str, Any]]:
    bill = month["bill"]
    yield from (("month", month["number"]), ("x the load", month["load"]))
    yield from (("replicas", month["replicas"]), (unit, month["value"]))
    if bill is not None:
        yield "site energy, kWh", bill["site_energy_kwh"]
        yield f"cost, {bill['currency']}", bill["cost"]
        yield "carbon, kg CO2e", bill["all_carbon_kg"]


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)
