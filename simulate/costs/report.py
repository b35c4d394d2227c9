"""Bills as a person and as a machine read them.

In: the results of a comparison. Out: rows of its table, lines below it, one document per policy.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from simulate.compare import Comparison, PolicyResult
from simulate.costs.bill import Bill
from simulate.number import number

Row = tuple[str, Callable[[PolicyResult], str]]

TOKENS = 1_000_000
"""What the cost of tokens is told for."""


def bill_rows(comparison: Comparison) -> list[Row]:
    """Return the rows that tell bills; none where the scenario has no costs.

    What nobody priced has no row.
    """
    first = comparison.results[0].bill
    if first is None:
        return []
    currency = first.currency
    rows: list[Row] = [
        ("site energy, kWh", _changed(comparison, lambda bill: bill.site_energy_kwh)),
        ("drawn by hosts", lambda r: _share(r.bill)),
    ]
    for name, figure in (
        (f"energy, {currency}", "energy_cost"),
        (f"hardware, {currency}", "hardware_cost"),
        (f"carbon, {currency}", "carbon_cost"),
    ):
        if getattr(first, figure) is not None:
            rows.append((name, _changed(comparison, _named(figure))))
    if first.cost is not None:
        rows.append((f"cost, {currency}", _changed(comparison, lambda bill: bill.cost)))
        rows.append((f"{currency} per million output tokens", _per_tokens))
    if first.carbon_kg is not None:
        rows.append(("operational carbon, kg CO2e", _changed(comparison, _named("carbon_kg"))))
    if first.embodied_kg is not None:
        rows.append(("embodied carbon, kg CO2e", _changed(comparison, _named("embodied_kg"))))
    return rows


def bill_notes(comparison: Comparison) -> list[str]:
    """Return what bills rest on, a line each."""
    costs = comparison.scenario.costs
    if costs is None:
        return []
    values = {
        "PUE": f"{costs.pue:g}",
        "price": "" if costs.price is None else f"{costs.price.words} {costs.currency} per kWh",
        "carbon intensity": "" if costs.carbon is None else f"{costs.carbon.words} g CO2e per kWh",
        "years of use": f"{costs.hardware.years:g}",
    }
    lines = [
        f"{name[0].upper()}{name[1:]}{' of ' + values[name] if values.get(name) else ''}: "
        f"{origin.kind}; {origin.source}"
        for name, origin in costs.origins.items()
    ]
    hosts = dict.fromkeys(costs.host_of(group.kit) for group in comparison.groups)
    return lines + [
        f"Host power of {host.idle_w:.0f} W idle, {host.active_w:.0f} W active, for {host.gpus} "
        f"GPUs: {host.origin.kind}; {host.origin.source}"
        for host in hosts
    ]


def bill_document(bill: Bill | None) -> dict[str, Any] | None:
    """Return ``bill`` and its totals as plain values."""
    if bill is None:
        return None
    totals = {
        "site_energy_kwh": bill.site_energy_kwh,
        "cost": bill.cost,
        "all_carbon_kg": bill.all_carbon_kg,
    }
    return {**asdict(bill), **totals}


def _named(figure: str) -> Callable[[Bill], float | None]:
    return lambda bill: getattr(bill, figure)


def _changed(
    comparison: Comparison, of: Callable[[Bill], float | None]
) -> Callable[[PolicyResult], str]:
    base = comparison.results[0].bill

    def cell(result: PolicyResult) -> str:
        assert result.bill is not None
        assert base is not None
        value, before = of(result.bill), of(base)
        if value is None:
            return "-"
        if not before or value == before:
            return number(value)
        return f"{number(value)} ({value / before - 1:+.1%})"

    return cell


def _share(bill: Bill | None) -> str:
    if bill is None or not bill.site_energy_j:
        return "-"
    return f"{bill.host_energy_j / (bill.gpu_energy_j + bill.host_energy_j):.1%}"


def _per_tokens(result: PolicyResult) -> str:
    tokens = result.metrics.output_tokens
    if result.bill is None or result.bill.cost is None or not tokens:
        return "-"
    return number(result.bill.cost / tokens * TOKENS)
