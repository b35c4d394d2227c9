"""What tells several runs apart.

In: summaries. Out: a table of what was said differently.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from simulate.html.result import Result
from simulate.html.view import Table

_UNSAID = "not given"


def differences(results: Sequence[Result]) -> Table:
    """Return one row for everything that runs were told differently, a column for each run."""
    said = [dict(_said(result.summary)) for result in results]
    names = dict.fromkeys(name for each in said for name in each)
    rows = tuple(
        (name, *(each.get(name, _UNSAID) for each in said))
        for name in names
        if len({each.get(name, _UNSAID) for each in said}) > 1
    )
    return Table(("", *(result.name for result in results)), rows)


def _said(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a run was told, as options where it was a command, and what that came to."""
    words = summary["words"]
    if words is None:
        yield from _flat(summary["scenario"], "")
    else:
        yield from ((f"--{name}", _cell(value)) for name, value in words.items())
    yield "trace, by content", f"{summary['trace']['name']}, {summary['trace']['digest'][-12:]}"
    yield "requests", f"{summary['trace']['requests']:,}"
    for group in summary["groups"]:
        name = f"calibration of {group['name']}" if group["name"] else "calibration"
        yield f"{name}, by content", f"{group['calibration']}, {group['digest'][-12:]}"
    yield "replicas in all", f"{summary['replicas']:,}"
    yield from ((f"version of {name}", text) for name, text in summary["versions"].items())


def _flat(document: Mapping[str, Any], before: str) -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        name = f"{before}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}: ")
        elif value is not None:
            yield name, _cell(value)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or _UNSAID
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
