"""Public measurements of time and power against the SM clock, of several GPUs.

In: the shipped table, or another with its columns. Out: one :class:`ClockSeries` for each load,
with few points, each the median of several runs where there are several.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np

from model.clock_shape import PUBLIC
from model.work import Array
from phasewatt.errors import BadTable

TABLE = PUBLIC / "clock-points.csv"
"""Sources and licences: README.md beside it."""

COLUMNS = ("gpu", "series", "source", "sm_mhz", "time_s", "power_w")

COLD_ABOVE = 1.06
"""A whole process that took longer than this times what it took at the same clock or one of two
lower ones had not been run before: it read its weights from a disk."""

_LOWER_CLOCKS = 2

_MOST_CLOCKS = 24
"""Series of more clocks than this have neighbours put together: they tell no more of a shape."""


@dataclass(frozen=True, eq=False)
class ClockSeries:
    """Time and power of one load at ascending clocks, columns of shape (n,)."""

    gpu: str
    name: str
    sm_mhz: Array
    time_s: Array
    power_w: Array


def read_clocks(table: Path | Traversable = TABLE) -> tuple[ClockSeries, ...]:
    """Read a table of public measurements: medians at each clock, cold starts left out.

    Raises:
        BadTable: it cannot be read, or a row is broken.
    """
    runs: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise BadTable(f"{table}: cannot be read: {reason}") from error
    rows = csv.DictReader(text.splitlines())
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise BadTable(f"{table}: columns {', '.join(missing)} are missing")
    for row in rows:
        runs[row["gpu"], row["series"]].append(_numbers(f"{table}: line {rows.line_num}", row))
    if not runs:
        raise BadTable(f"{table}: found no rows")
    return tuple(_warm(gpu, name, np.array(found)) for (gpu, name), found in runs.items())


def _numbers(where: str, row: dict[str, str]) -> tuple[float, float, float]:
    values = []
    for column in COLUMNS[3:]:
        try:
            value = float(row[column])
        except (TypeError, ValueError):
            value = float("nan")
        if not 0 < value < float("inf"):
            raise BadTable(f"{where}: column {column!r}: found {row[column]!r}; expected above 0")
        values.append(value)
    return values[0], values[1], values[2]


def _warm(gpu: str, name: str, runs: Array) -> ClockSeries:
    clocks = np.unique(runs[:, 0])
    best_s = np.array([runs[runs[:, 0] == clock, 1].min() for clock in clocks])
    kept = []
    for index, clock in enumerate(clocks):
        here = runs[runs[:, 0] == clock]
        # Lower clocks are no faster: what takes longer than they do waited for something else.
        usual_s = best_s[max(index - _LOWER_CLOCKS, 0) : index + 1].min()
        kept.append(here[here[:, 1] <= COLD_ABOVE * usual_s])
    together = -(-clocks.size // _MOST_CLOCKS)
    groups = [np.concatenate(kept[i : i + together]) for i in range(0, clocks.size, together)]
    sm_mhz, time_s, power_w = np.array([np.median(g, axis=0) for g in groups if g.size]).T
    return ClockSeries(gpu, name, sm_mhz, time_s, power_w)
