"""Where a figure comes from, in words that travel with it into every report.

In: what the person who made a calibration says. Out: values that a report can print.
"""

from enum import StrEnum

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Files hold what the schema names and nothing else; numbers are finite."""


class Kind(StrEnum):
    """How a figure came about."""

    MEASURED = "measured"
    FITTED = "fitted"
    TRANSFERRED = "transferred"
    PUBLISHED = "published"
    ASSUMED = "assumed"
    TWIN = "twin"


@dataclass(frozen=True, config=STRICT)
class Origin:
    """The kind of a figure and the source that it was taken from."""

    kind: Kind
    source: str


@dataclass(frozen=True, config=STRICT)
class Provenance:
    """Who measured, when, on what, how, and under which licence.

    ``software`` maps a name (driver, engine, library) to its version; ``notes`` are sentences that
    a user of the figures must know.
    """

    kind: Kind
    source: str
    method: str
    date: str
    licence: str
    software: dict[str, str]
    command: str
    notes: tuple[str, ...]
