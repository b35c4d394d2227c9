"""What tells several runs apart.

In: summaries. Out: a table of what was said differently.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from simulate.html.result import Result
from simulate.html.view import Table


def differences(results: Sequence[Result]) -> Table:
    """Return one row for everything that runs were told differently, a column for each run."""
    said = [dict(_said(result.summary)) for result in results]
    names = dict.fromkeys(name for each in said for name in each)
    rows = tuple(
        (name, *(each.get(name, "-") for each in said))
        for name in names
        if len({each.get(name) for each in said}) > 1
    )
    return Table(("", *(result.name for result in results)), rows)


def _said(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "trace", summary["trace"]["name"]
    yield "changes of the trace", ", ".join(summary["trace"]["source"]["operations"]) or "none"
    yield "requests", f"{summary['trace']['requests']:,}"
    yield "calibration", summary["calibration"]["name"]
    yield "replicas", f"{summary['replicas']:,}"
    yield from _flat(summary["scenario"])


def _flat(document: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        name = f"{before}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif isinstance(value, list):
            yield name, ", ".join(map(str, value)) or "none"
        else:
            yield name, "not given" if value is None else str(value)
