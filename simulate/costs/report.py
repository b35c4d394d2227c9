"""Bills as a person and as a machine read them.

In: the results of a comparison. Out: rows of its table, lines below it, one document per policy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from model.provenance import Origin
from simulate.compare import Comparison, PolicyResult
from simulate.costs.bill import Bill
from simulate.costs.costs import Costs
from simulate.costs.hardware import Kit
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


@dataclass(frozen=True)
class Ground:
    """A figure that bills rest on, as a person reads it, and where it is from."""

    figure: str
    value: str
    origin: Origin


def grounds_of(costs: Costs, kits: Sequence[Kit]) -> list[Ground]:
    """Return what bills of ``kits`` rest on."""
    hardware, currency = costs.hardware, costs.currency
    values = {
        "PUE": f"{costs.pue:g}",
        "price": "" if costs.price is None else f"{costs.price.words} {currency} per kWh",
        "carbon intensity": "" if costs.carbon is None else f"{costs.carbon.words} g CO2e per kWh",
        "carbon price": f"{costs.carbon_price or 0:g} {currency} per tonne",
        "hardware price": f"{_by_calibration(hardware.price)} {currency} per GPU",
        "embodied carbon": f"{_by_calibration(hardware.embodied_kg)} kg CO2e per GPU",
        "years of use": f"{hardware.years:g}",
    }
    return [Ground(name, values[name], origin) for name, origin in costs.origins.items()] + [
        Ground(
            "host power",
            f"{host.idle_w:.0f} W idle, {host.active_w:.0f} W active, for {host.gpus} GPUs",
            host.origin,
        )
        for host in dict.fromkeys(map(costs.host_of, kits))
    ]


def bill_notes(costs: Costs | None, kits: Sequence[Kit]) -> list[str]:
    """Return what bills of ``kits`` rest on, a line each; nothing without costs."""
    return [
        f"{each.figure[0].upper()}{each.figure[1:]} of {each.value}: {each.origin.kind}; "
        f"{each.origin.source}"
        for each in ([] if costs is None else grounds_of(costs, kits))
    ]


def grounds_document(costs: Costs | None, kits: Sequence[Kit]) -> list[dict[str, str]]:
    """Return what bills of ``kits`` rest on as plain values; nothing without costs."""
    return [
        {
            "figure": each.figure,
            "value": each.value,
            "kind": each.origin.kind.value,
            "source": each.origin.source,
        }
        for each in ([] if costs is None else grounds_of(costs, kits))
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


def _by_calibration(figures: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name}: {figure:g}" if name else f"{figure:g}" for name, figure in figures.items()
    )


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
