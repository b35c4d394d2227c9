"""What a reader of a sweep must know, told once for all points that it holds for.

In: points and their rows. Out: a few sentences.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from simulate.sweep.plan import Plan
from simulate.sweep.task import Row

_MOST = 8
_NUMBER = re.compile(r"\d[\d,.]*")
_SATURATED = " is saturated ("


def warnings_of(plan: Plan, rows: Sequence[Row]) -> tuple[str, ...]:
    """Return what a reader of ``rows`` must know, one sentence each.

    Sentences of points that differ in numbers alone are told once: the first, and how many there
    are.
    """
    found = []
    refused = [(p, row) for p, row in zip(plan.points, rows, strict=True) if row["error"]]
    if refused:
        point, row = refused[0]
        place = place_of(point.at, point.policy)
        found.append(
            f"{len(refused):,} of {len(rows):,} points could not run; the first, {place}: "
            f"{row['error']}"
        )
    saturated = sum(bool(row["saturated"]) for row in rows)
    if saturated:
        found.append(
            f"{saturated:,} of {len(rows):,} points are saturated: queues still grew at the end, "
            "so their latencies depend on the length of the trace"
        )
    alike: dict[str, list[str]] = {}
    for row in rows:
        # Saturation of the baseline, which is in every point, would be counted as each point's own.
        told = [line for line in row["warnings"] or () if _SATURATED not in line]
        first = {_NUMBER.sub("#", line): line for line in reversed(told)}
        for kind in reversed(first):
            alike.setdefault(kind, []).append(first[kind])
    ran = len(rows) - len(refused)
    for lines in list(alike.values())[:_MOST]:
        if lines.count(lines[0]) == ran:
            found.append(lines[0])
        else:
            found.append(f"{lines[0]} (this or alike in {len(lines):,} of {ran:,} points)")
    if len(alike) > _MOST:
        found.append(f"{len(alike) - _MOST} more kinds of warnings are in the column 'warnings'")
    return tuple(found)


def place_of(at: Mapping[str, Any], policy: str) -> str:
    """Return where a point is, in words: ``replicas=2, policy=min-edp``."""
    placed = [f"{name}={value}" for name, value in at.items() if value is not None]
    return ", ".join([*placed, f"policy={policy}"])
