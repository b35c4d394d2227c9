"""Where everything comes from, and documents that the page shows as they are.

In: summaries, curves, any JSON. Out: facts under headings, tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulate.html.result import Result
from simulate.html.view import Cell, Table
from simulate.number import number

Document = Mapping[str, Any]

_MOST_ROWS = 200


@dataclass(frozen=True)
class Facts:
    """Facts under one heading, each with its name; and tables, each with its heading."""

    heading: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[tuple[str, Table], ...] = ()


def provenance_of(result: Result) -> list[Facts]:
    """Return where trace, calibrations and the run itself come from."""
    trace, summary = result.summary["trace"], result.summary
    source = trace["source"]
    return [
        Facts(
            f"Trace {trace['name']}",
            _facts(
                {
                    "kind": source["kind"],
                    "description": source["description"],
                    "licence": source["licence"],
                    "from": source["url"],
                    "changed by": ", ".join(source["operations"]),
                    "left out": ", ".join(f"{n} {w}" for w, n in source["skipped"].items()),
                    "requests": f"{trace['requests']:,}",
                    "prompt tokens": f"{trace['prompt_tokens']:,}",
                    "output tokens": f"{trace['output_tokens']:,}",
                }
            ),
        ),
        *(_calibration(each) for each in result.curves["calibrations"]),
        *(
            Facts(
                f"Curves of {curve['model']} in {curve['engine']}, {curve['phase']}",
                _facts(
                    {
                        "calibration": curve["calibration"],
                        "kind": curve["origin"]["kind"],
                        "from": curve["origin"]["source"],
                        "clocks measured": _span(curve["measured_mhz"], "MHz"),
                        "batches measured": _span(curve["measured_batch"], ""),
                        "lengths measured": _span(curve["measured_tokens"], "tokens"),
                    }
                ),
            )
            for curve in result.curves["curves"]
        ),
        *_costs(summary),
        Facts("Made by", tuple(summary["versions"].items())),
    ]


def _costs(summary: Document) -> list[Facts]:
    """Return where prices, intensities and what else bills rest on come from."""
    told = [
        (each["figure"], f"{each['value']}; {each['kind']}: {each['source']}")
        for each in summary["costs"]
    ]
    return [Facts("Costs", tuple(told))] if told else []


def _calibration(calibration: Document) -> Facts:
    provenance = calibration["provenance"]
    return Facts(
        f"Calibration {calibration['name']}, {calibration['gpu']}",
        _facts(
            {
                "kind": provenance["kind"],
                "source": provenance["source"],
                "method": provenance["method"],
                "date": provenance["date"],
                "licence": provenance["licence"],
                "software": ", ".join(f"{k} {v}" for k, v in provenance["software"].items()),
                "notes": "; ".join(provenance["notes"]),
                **{
                    name.replace("_", " "): f"{origin['kind']}: {origin['source']}"
                    for name, origin in calibration["origins"].items()
                },
            }
        ),
    )


def _facts(told: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(words)) for name, words in told.items() if words)


def _span(span: Sequence[float] | None, unit: str) -> str:
    if span is None:
        return ""
    low, high = span
    words = f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
    return f"{words} {unit}".strip()


def told_document(heading: str, document: Document) -> list[Facts]:
    """Return any document as facts and tables: what is nested becomes headings of its own."""
    return list(_told(heading, document))


def _told(heading: str, document: Document) -> Iterator[Facts]:
    plain: list[tuple[str, str]] = []
    tables: list[tuple[str, Table]] = []
    nested: list[tuple[str, Document]] = []
    for key, value in document.items():
        name = key.replace("_", " ")
        if isinstance(value, Mapping):
            nested.append((name, value))
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            tables.append((name, _table(value)))
        elif isinstance(value, list):
            plain.append((name, ", ".join(map(_cell, value)) or "none"))
        else:
            plain.append((name, _cell(value)))
    if plain or tables:
        yield Facts(heading, tuple(plain), tuple(tables))
    for name, value in nested:
        yield from _told(f"{heading}: {name}", value)


def _table(rows: Sequence[Document]) -> Table:
    flat = [dict(_flat(row)) for row in rows[:_MOST_ROWS]]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    left_out = len(rows) - len(flat)
    shown: list[tuple[Cell, ...]] = [tuple(row.get(name, "-") for name in columns) for row in flat]
    if left_out:
        shown.append((f"{left_out:,} more in the file", *("" for _ in columns[1:])))
    return Table(tuple(columns), tuple(shown))


def _flat(row: Document, before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in row.items():
        name = f"{before}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name} ")
        elif isinstance(value, list):
            yield name, ", ".join(map(_cell, value))
        else:
            yield name, _cell(value)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value) if value >= 0 else f"-{number(-value)}"
    return f"{value:,}" if isinstance(value, int) else str(value)
