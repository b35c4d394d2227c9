"""Published yearly averages of electricity's price and carbon intensity, by region.

In: a region's name. Out: its figures, each with its year and source; nothing is fetched.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from phasewatt.errors import BadOption


@dataclass(frozen=True)
class Published:
    """A figure per kWh, when it was so, and who says so."""

    value: float
    year: str
    source: str


@dataclass(frozen=True)
class Region:
    """What is known of one region; None where no source was found.

    ``carbon`` is in grams of CO2e per kWh, ``price`` in ``currency`` per kWh.
    """

    key: str
    name: str
    carbon: Published | None
    price: Published | None
    currency: str | None


def region_named(key: str) -> Region:
    """Return the region ``key``, such as ``de`` or ``us-va``, in any case.

    Raises:
        BadOption: there is none of that name.
    """
    found = known_regions().get(key.lower())
    if found is None:
        raise BadOption(f"--region: found {key!r}; expected one of {', '.join(known_regions())}")
    return found


@cache
def known_regions() -> dict[str, Region]:
    """Return all regions of ``regions.csv`` by their keys."""
    text = files("simulate.costs").joinpath("regions.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {
        row["region"]: Region(
            row["region"],
            row["name"],
            _published(row["carbon_g_per_kwh"], row["carbon_year"], row["carbon_source"]),
            _published(row["price_per_kwh"], row["price_year"], row["price_source"]),
            row["currency"] or None,
        )
        for row in rows
    }


def _published(value: str, year: str, source: str) -> Published | None:
    return Published(float(value), year, source) if value else None
