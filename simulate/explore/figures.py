"""The figures of the page, each taken from what ``summary.json`` would hold.

In: the summary of one policy against a baseline. Out: rows and sentences, in words and units.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from simulate.number import number

Document = Mapping[str, Any]


class Shown(Enum):
    """How a figure is written."""

    NUMBER = "number"
    SHARE = "share"
    COUNT = "count"


@dataclass(frozen=True)
class Row:
    """One figure of the baseline and of the state.

    Attributes:
        label: what it is, with its unit.
        path: where in a policy of the summary it stands, its keys joined by dots.
        baseline: its value there, in the summary's unit; None where there is none.
        state: that of the state.
        scale: what makes the shown unit of the summary's.
        shown: how it is written.
    """

    label: str
    path: str
    baseline: float | None
    state: float | None
    scale: float = 1.0
    shown: Shown = Shown.NUMBER

    def text(self, value: float | None) -> str:
        """Return ``value``, one of the two, as a person reads it."""
        if value is None:
            return "-"
        if self.shown is Shown.SHARE:
            return f"{value:.1%}"
        if self.shown is Shown.COUNT:
            return f"{value * self.scale:,.0f}"
        return number(value * self.scale)

    @property
    def change(self) -> str:
        """The change against the baseline; of shares in percentage points."""
        if self.baseline is None or self.state is None:
            return ""
        if self.shown is Shown.SHARE:
            points = 100 * (self.state - self.baseline)
            return f"{points:+.1f} points" if abs(points) >= 0.05 else "same"
        if not self.baseline:
            return "same" if not self.state else ""
        return _relative(self.state / self.baseline - 1)


@dataclass(frozen=True)
class Section:
    """Figures that belong together."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Card:
    """One of the few figures that are read first."""

    title: str
    row: Row
    note: str


def sections(document: Document) -> tuple[Section, ...]:
    """Return every figure of ``document`` that the page shows."""
    found = []
    for title, specs in (
        ("Clocks", _clocks(document)),
        ("Energy", _ENERGY),
        ("Power", _POWER),
        ("Latency", _LATENCY),
        ("Service", (*_SERVICE, *_objectives(document))),
        ("Quality", _QUALITY),
        ("Where energy goes", _STATES),
        ("Site", _site(document)),
    ):
        rows = [_row(document, *spec) for spec in specs]
        shown = tuple(row for row in rows if row.path not in _RARE or row.state)
        if shown:
            found.append(Section(title, shown))
    return tuple(found)


def cards(document: Document) -> tuple[Card, ...]:
    """Return energy, latency, power, quality and attainment, to be read first."""
    _, state = both(document)
    energy, ttft, tpot, power, quality = (
        _row(document, *row)
        for row in (_PER_TOKEN, _LATENCY[1], _LATENCY[4], _POWER[0], _QUALITY[0])
    )
    peak = _row(document, *_POWER[2])
    found = [
        Card("Energy", energy, _against(energy)),
        Card("Latency", ttft, _against(ttft)),
        Card("Latency", tpot, _against(tpot)),
        Card("Power", power, f"{peak.label}: {peak.text(peak.state)}"),
        Card("Quality", quality, f"{state['quality']['how']}; {_against(quality)}".rstrip("; ")),
    ]
    objectives = _objectives(document)
    if objectives:
        every = _row(document, *objectives[-1])
        found.append(Card("SLO", every, _against(every)))
    return tuple(found)


def headline(document: Document) -> str:
    """Return the answer in one or two sentences."""
    baseline, state = both(document)
    if state is baseline:
        per_token = number(state["metrics"]["output_token_j"])
        return f"This is the baseline: {per_token} J per output token."
    saving = state["saving"]["value"]
    much = (
        f"{'saves' if saving >= 0 else 'takes'} {abs(saving):.1%} {'' if saving >= 0 else 'more '}"
    )
    said = f"{state['policy']} {much}energy against {baseline['policy']}"
    changes = [
        f"{label} {_relative(state['latency_change'][key]['value'])}"
        for key, label in (
            ("ttft_p95", "TTFT p95"),
            ("tpot_p95", "TPOT p95"),
            ("e2e_p95", "E2E p95"),
        )
        if key in state["latency_change"]
    ]
    return f"{said}{': ' if changes else ''}{', '.join(changes)}; {_quality(baseline, state)}."


def below_measured(document: Document) -> str | None:
    """Return which clocks of the state lie below the measured ones, in a sentence; None: none."""
    below = [
        f"{phase} at {clock['held_mhz']:,.0f} MHz (measured from {clock['measured_mhz'][0]:,.0f})"
        for group in both(document)[1]["groups"]
        for phase, clock in group["clocks"].items()
        if clock["transferred"]
    ]
    if not below:
        return None
    return f"Transferred, not measured: {', '.join(dict.fromkeys(below))}."


def both(document: Document) -> tuple[Document, Document]:
    """Return the baseline's and the state's part; one and the same where it is the baseline."""
    return document["policies"][0], document["policies"][-1]


def value_at(part: Document, path: str) -> float | None:
    """Return what stands at ``path`` of one policy of a summary; None where nothing does."""
    found: Any = part
    for key in path.split("."):
        if isinstance(found, list):
            found = found[int(key)]
        else:
            found = None if found is None else found.get(key)
    return None if found is None else float(found)


_Spec = tuple[str, str, float, Shown]

_PER_TOKEN: _Spec = ("J per output token", "metrics.output_token_j", 1.0, Shown.NUMBER)

_ENERGY: tuple[_Spec, ...] = (
    _PER_TOKEN,
    ("J per request", "metrics.request_j", 1.0, Shown.NUMBER),
    ("energy, kWh", "metrics.energy_kwh", 1.0, Shown.NUMBER),
    ("energy, MJ", "metrics.energy_j", 1e-6, Shown.NUMBER),
    ("saving", "saving.value", 1.0, Shown.SHARE),
)
_POWER: tuple[_Spec, ...] = (
    ("mean power, W", "metrics.mean_power_w", 1.0, Shown.COUNT),
    ("power p95, W", "metrics.power_w.p95", 1.0, Shown.COUNT),
    ("peak power over 1 s, W", "metrics.peak_power_w.1s", 1.0, Shown.COUNT),
)
_LATENCY: tuple[_Spec, ...] = tuple(
    (f"{name} {q}, {unit}", f"metrics.{name.lower()}.{q}_s", scale, Shown.NUMBER)
    for name, unit, scale in (("TTFT", "s", 1.0), ("TPOT", "ms", 1e3), ("E2E", "s", 1.0))
    for q in ("p50", "p95", "p99")
)
_SERVICE: tuple[_Spec, ...] = (
    ("requests/s", "metrics.requests_per_s", 1.0, Shown.NUMBER),
    ("output tokens/s", "metrics.output_tokens_per_s", 1.0, Shown.NUMBER),
    ("utilisation", "metrics.utilisation", 1.0, Shown.SHARE),
    ("rejected", "metrics.rejected", 1.0, Shown.COUNT),
)
_QUALITY: tuple[_Spec, ...] = (("quality", "quality.mean", 1.0, Shown.SHARE),)
_STATES: tuple[_Spec, ...] = tuple(
    (f"{label}, kJ", f"metrics.energy_by_state_j.{label}", 1e-3, Shown.NUMBER)
    for label in ("prefill", "decode", "mixed", "switching", "idle")
)

_RARE = {
    "metrics.rejected",
    *(f"metrics.energy_by_state_j.{label}" for label in ("mixed", "switching")),
}
"""Shown where there was any."""


def _row(document: Document, label: str, path: str, scale: float, shown: Shown) -> Row:
    baseline, state = both(document)
    return Row(label, path, value_at(baseline, path), value_at(state, path), scale, shown)


def _clocks(document: Document) -> tuple[_Spec, ...]:
    return tuple(
        (
            f"{phase} clock{' of ' + group['name'] if group['name'] else ''}, MHz",
            f"groups.{index}.clocks.{phase}.held_mhz",
            *(1.0, Shown.COUNT),
        )
        for index, group in enumerate(both(document)[1]["groups"])
        for phase in ("prefill", "decode")
    )


def _objectives(document: Document) -> tuple[_Spec, ...]:
    met = both(document)[1]["metrics"]["slo_attainment"] or {}
    names = {key: f"within {key.upper()} limit" for key in met} | {"all": "within all limits"}
    return tuple((names[key], f"metrics.slo_attainment.{key}", 1.0, Shown.SHARE) for key in met)


def _site(document: Document) -> tuple[_Spec, ...]:
    """Return what the site's energy costs and emits, as far as anybody said."""
    bill = both(document)[1]["bill"]
    if bill is None:
        return ()
    named = {
        "site_energy_kwh": "energy of the site, kWh",
        "energy_cost": f"energy, {bill['currency']}",
        "hardware_cost": f"hardware, {bill['currency']}",
        "carbon_cost": f"carbon, {bill['currency']}",
        "cost": f"cost, {bill['currency']}",
        "carbon_kg": "operational carbon, kg CO2e",
        "embodied_kg": "embodied carbon, kg CO2e",
    }
    return tuple(
        (label, f"bill.{key}", 1.0, Shown.NUMBER)
        for key, label in named.items()
        if bill[key] is not None
    )


def _against(row: Row) -> str:
    if row.change == "same":
        return "same as the baseline"
    return f"{row.change} against the baseline" if row.change else ""


def _relative(change: float) -> str:
    return f"{change:+.1%}" if abs(change) >= 0.0005 else "same"


def _quality(baseline: Document, state: Document) -> str:
    before, now = baseline["quality"]["mean"], state["quality"]["mean"]
    if before is None or now is None:
        one = len(state["groups"]) == 1 and baseline["model"] == state["model"]
        return "quality unknown" + (", but the same model answers" if one else "")
    points = 100 * (now - before)
    return "quality the same" if abs(points) < 0.05 else f"quality {points:+.1f} points"
