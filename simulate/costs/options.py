"""The options about money and carbon, and what they say.

In: what click parsed. Out: costs, and for planners an objective and a growth of load.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import click

from model.provenance import Kind, Origin
from phasewatt.errors import BadOption
from simulate.costs.costs import DEFAULT_PUE, PUE_ORIGIN, Costs
from simulate.costs.growth import Growth, parse_growth
from simulate.costs.hardware import AMORTISED_YEARS, Hardware, parse_by_calibration
from simulate.costs.host import DEFAULT_HOST, parse_host
from simulate.costs.objective import Objective, parse_objective
from simulate.costs.regions import Region, region_named
from simulate.costs.series import read_series
from simulate.costs.signal import Signal, constant
from simulate.topics import SERIES_FILE, Topical

DEFAULT_CURRENCY = "USD"

_SERIES = "FILE.csv[,from=TIME][,wrap]"

_cost = partial(click.option, cls=Topical, topic="Money and carbon")

COST_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    _cost(
        "--region", metavar="NAME", help="Published yearly price and carbon of electricity there."
    ),
    _cost(
        "--price",
        metavar=f"X|{_SERIES}",
        help="Of a kWh, in place of the region's: a number, or a series over time.",
        files=SERIES_FILE,
    ),
    _cost(
        "--carbon",
        metavar=f"X|{_SERIES}",
        help="Grams of CO2e of a kWh, in place of the region's.",
        files=SERIES_FILE,
    ),
    _cost("--currency", metavar="NAME", help="Of all money. [default: the region's, or USD]"),
    _cost("--carbon-price", type=float, metavar="X", help="Of a tonne of CO2e, added to the cost."),
    _cost(
        "--pue",
        type=float,
        metavar="X",
        help=f"Energy of the site over its nodes'. [default: {DEFAULT_PUE:g}, assumed]",
    ),
    _cost(
        "--host-power",
        metavar="idle=W,active=W,gpus=N",
        help="Of a node of N GPUs without them. "
        f"[default: measured, or {DEFAULT_HOST.idle_w:g}, {DEFAULT_HOST.active_w:g}, "
        f"{DEFAULT_HOST.gpus}, assumed]",
    ),
    _cost(
        "--gpu-price",
        "gpu_prices",
        multiple=True,
        metavar="[CALIBRATION=]X",
        help="Of a GPU with its share of a node; may be repeated.",
    ),
    _cost(
        "--embodied",
        multiple=True,
        metavar="[CALIBRATION=]KG",
        help="CO2e of making a GPU with its share of a node; may be repeated.",
    ),
    _cost(
        "--amortise",
        type=float,
        metavar="YEARS",
        help=f"Years of use that both are spread over. [default: {AMORTISED_YEARS:g}, assumed]",
    ),
)

PLAN_COST_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--objective",
        default="energy",
        show_default=True,
        metavar="WHAT",
        help="What to have least of: energy, cost, carbon, or a mix as cost=1,carbon=0.1.",
    ),
    click.option("--growth", metavar="X%/month|X%/year", help="How load grows, compounded."),
    click.option("--horizon", type=int, metavar="MONTHS", help="How long it grows."),
)

NAMES = (
    "region",
    "price",
    "carbon",
    "currency",
    "carbon_price",
    "pue",
    "host_power",
    "gpu_prices",
    "embodied",
    "amortise",
)
"""Click's names of :data:`COST_OPTIONS`."""

_REPEATED = ("gpu_prices", "embodied")


def costs_of(given: Mapping[str, Any]) -> Costs | None:
    """Return what the options about money and carbon say; None where none is given.

    Raises:
        BadOption: one holds an unusable value, or stands without what it belongs to.
    """
    if not any(given.get(name) not in (None, ()) for name in NAMES):
        return None
    region = None if given["region"] is None else region_named(given["region"])
    currency = given["currency"] or (region and region.currency) or DEFAULT_CURRENCY
    carbon = _signal("--carbon", given["carbon"], _of(region, "carbon"), least=0.0)
    carbon_price = _number("--carbon-price", given["carbon_price"], least=0.0)
    if carbon_price is not None and carbon is None:
        raise BadOption("--carbon-price belongs to --carbon or a --region with it: expected one")
    pue = _number("--pue", given["pue"], least=1.0)
    return Costs(
        currency=currency,
        price=_signal("--price", given["price"], _price(region, currency)),
        carbon=carbon,
        carbon_price=carbon_price,
        pue=DEFAULT_PUE if pue is None else pue,
        pue_origin=PUE_ORIGIN if pue is None else Origin(Kind.ASSUMED, "given as --pue"),
        host=None if given["host_power"] is None else parse_host(given["host_power"]),
        hardware=_hardware(given),
    )


def given_costs(**options: Any) -> Costs:
    """Return what ``options`` say, by click's names and as it parses them; the rest is not given.

    Raises:
        BadOption: as :func:`costs_of` does.
    """
    unset: dict[str, Any] = {name: () if name in _REPEATED else None for name in NAMES}
    costs = costs_of({**unset, **options})
    return Costs() if costs is None else costs


def objective_of(given: Mapping[str, Any], costs: Costs | None) -> Objective:
    """Return what ``--objective`` says, if ``costs`` tell all that it weighs.

    Raises:
        BadOption: it is malformed, or needs options that are not given.
    """
    objective = parse_objective(given["objective"])
    objective.require(costs or Costs())
    return objective


def growth_of(given: Mapping[str, Any]) -> Growth | None:
    """Return what ``--growth`` and ``--horizon`` say; None for neither."""
    return parse_growth(given["growth"], given["horizon"])


def _of(region: Region | None, what: str) -> Signal | None:
    found = None if region is None else getattr(region, what)
    if region is None or found is None:
        return None
    origin = Origin(Kind.PUBLISHED, f"{region.name} {found.year}: {found.source}")
    return constant(f"--region {region.key}", found.value, origin)


def _price(region: Region | None, currency: str) -> Signal | None:
    if region is not None and region.price is not None and region.currency != currency:
        raise BadOption(
            f"--currency {currency}: the price of --region {region.key} is in {region.currency}; "
            "expected that currency, or --price"
        )
    return _of(region, "price")


def _signal(
    option: str, text: str | None, otherwise: Signal | None, least: float = float("-inf")
) -> Signal | None:
    """Return what ``text`` says, a number or a file with words; ``otherwise`` if there is none."""
    if text is None:
        return otherwise
    try:
        value = float(text)
    except ValueError:
        return _series(option, text, least)
    _require(option, value, least)
    return constant(option, value, Origin(Kind.ASSUMED, f"given as {option}"))


def _series(option: str, text: str, least: float) -> Signal:
    file, *words = text.split(",")
    begin, wraps = None, False
    for word in words:
        name, sign, value = word.strip().partition("=")
        if name == "from" and sign and begin is None:
            begin = value
        elif word.strip() == "wrap" and not wraps:
            wraps = True
        else:
            raise BadOption(f"{option}: found {word!r}; expected a number, or {_SERIES}")
    if not file.endswith(".csv"):
        raise BadOption(f"{option}: found {text!r}; expected a number, or {_SERIES}")
    found = read_series(option, file, begin, wraps)
    for per_kwh in found.values:
        _require(found.name, per_kwh, least)
    return found


def _hardware(given: Mapping[str, Any]) -> Hardware:
    price = parse_by_calibration("--gpu-price", given["gpu_prices"])
    embodied = parse_by_calibration("--embodied", given["embodied"])
    years = given["amortise"]
    if years is None:
        return Hardware(price, embodied)
    if not price and not embodied:
        raise BadOption("--amortise belongs to --gpu-price or --embodied: expected one")
    if not 0 < years < float("inf"):
        raise BadOption(f"--amortise: found {years:g}; expected years, more than 0")
    return Hardware(price, embodied, years, Origin(Kind.ASSUMED, "given as --amortise"))


def _number(option: str, value: float | None, least: float) -> float | None:
    if value is not None:
        _require(option, value, least)
    return value


def _require(option: str, value: float, least: float) -> None:
    if not least <= value < float("inf"):
        more = "a finite number" if least == float("-inf") else f"{least:g} or more"
        raise BadOption(f"{option}: found {value:g}; expected {more}")
