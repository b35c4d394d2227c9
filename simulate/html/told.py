"""Where everything comes from.

In: summaries and curves. Out: facts under headings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulate.html.result import Result

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """Facts under one heading, each with its name."""

    heading: str
    facts: tuple[tuple[str, str], ...]


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
