"""The paper's use case on clocks that were measured: what of its savings survives.

In: a calibration, who plays which of the paper's models. Out: one sheet. Every figure comes from
replays of the paper's four kinds of query, with stalls for switches and intervals over draws of the
curves' coefficients.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from model.calibration import Calibration, load, shipped_names
from model.curves import Curves
from model.gpu import Gpu
from model.patterns import Pattern
from model.work import Array, Phase
from policies import PhaseClocks
from simulate.compare import compare
from simulate.reproduction.sheet import Column, Pair, Sheet, Value, joules, ours, percent, signed
from simulate.reproduction.tables import Paper
from simulate.scenario import Arrivals, Scenario
from simulate.service import Lengths, serve_alone
from traces import Source, Trace

DRAWS = 20

POLICIES = ("max-frequency", "phase-aware", "min-energy")


@dataclass(frozen=True)
class Cast:
    """Who plays the paper's models in a shipped calibration: the baseline, and each pattern's."""

    calibration: str
    baseline: str
    routes: Mapping[Pattern, str]

    @property
    def models(self) -> tuple[str, ...]:
        """The models that it takes, each once."""
        return tuple(dict.fromkeys((self.baseline, *self.routes.values())))


CASTS: Sequence[Cast] = (
    Cast(
        "rtx3090-club3090",
        "qwen3.6-27b-q3_k_xl",
        {
            Pattern.EASY: "qwen3.6-35b-a3b-q4_k_xl",
            Pattern.HELPS: "qwen3.6-27b-q3_k_xl",
            Pattern.HARD: "qwen3.6-35b-a3b-q4_k_xl",
            Pattern.INCONSISTENT: "qwen3.6-27b-q3_k_xl",
        },
    ),
    Cast(
        "h100-sxm",
        "qwen2.5-32b",
        {
            Pattern.EASY: "llama-3.2-3b",
            Pattern.HELPS: "qwen2.5-14b",
            Pattern.HARD: "llama-3.2-3b",
            Pattern.INCONSISTENT: "llama-3.1-8b",
        },
    ),
)
"""Measured calibrations, as far as they are shipped with these models. Of two models, the one with
fewer active parameters plays the small one."""


@dataclass(frozen=True)
class Served:
    """The mean query of one model under one policy: joules and seconds, nominal and drawn."""

    energy_j: float
    time_s: float
    drawn_j: Array


def shipped_casts() -> tuple[Cast, ...]:
    """Return the casts whose calibration comes with phasewatt and has their models."""
    return tuple(cast for cast in CASTS if _can_play(cast))


def measured_sheet(paper: Paper, cast: Cast) -> Sheet:
    """Return the use case on one calibration."""
    calibration = load(cast.calibration)
    models = cast.models
    trace = _queries(paper)
    runs = {model: _runs(trace, calibration, model) for model in models}
    base = runs[cast.baseline]["max-frequency"]
    shares = paper.pattern_shares
    small = cast.routes[Pattern.EASY]
    rows: dict[str, tuple[Pair, ...]] = {}
    for label, mixture in (
        (f"always {cast.baseline}", {cast.baseline: 1.0}),
        ("routed by the paper's shares", _mixture(cast, shares)),
        (f"always {small}", {small: 1.0}),
    ):
        for policy in POLICIES:
            parts = [(share, runs[model][policy]) for model, share in mixture.items()]
            energy_j = sum(share * run.energy_j for share, run in parts)
            drawn_j = np.sum([share * run.drawn_j for share, run in parts], axis=0)
            saving = 1 - energy_j / base.energy_j
            figures: tuple[Value, ...] = (
                energy_j,
                saving,
                _reach(1 - drawn_j / base.drawn_j),
                sum(share * run.time_s for share, run in parts) / base.time_s - 1,
            )
            rows[f"{label}, {policy}"] = tuple(map(ours, figures))
    dvfs = _best(rows, f"always {cast.baseline}")
    both = _best(rows, "routed by the paper's shares")
    routing = rows["routed by the paper's shares, max-frequency"][1].ours
    assert isinstance(routing, float)
    low = calibration.curves_of(cast.baseline, Phase.DECODE).domain.sm_mhz[0]
    return Sheet(
        f"measured_{cast.calibration}",
        f"The use case on measured clocks: {cast.calibration}, one query at a time",
        (
            Column("J a query", joules),
            Column("saving", percent),
            Column("±", percent),
            Column("mean time", signed),
        ),
        rows,
        (
            f"Of the paper's 44% by clocks alone, {dvfs:.1%} is left; routing alone saves "
            f"{routing:.1%}, both together {both:.1%} (the paper: {paper.routed_saving:.0%}). The "
            f"lowest clock calibrated is {low:,.0f} MHz.",
            "Queries: Table I's four data sets in equal parts; classification is prefill alone. "
            "What quality these models reach on them is unknown.",
            *_said(trace, calibration, models),
        ),
    )


def _can_play(cast: Cast) -> bool:
    if cast.calibration not in shipped_names():
        return False
    return set(cast.models) <= set(load(cast.calibration).models)


def _queries(paper: Paper) -> Trace:
    lengths = np.array(list(paper.lengths.values()), dtype=np.int64)
    return Trace(
        "the paper's queries",
        np.zeros(len(lengths)),
        lengths[:, 0],
        lengths[:, 1],
        source=Source(f"mean lengths of {paper.name}, Table I", "", "synthetic"),
    )


def _runs(trace: Trace, calibration: Calibration, model: str) -> dict[str, Served]:
    """Return the mean query under each policy; draws keep the clocks that the policy chose."""
    chosen = compare(trace, calibration, _scenario(model, POLICIES))
    clocks = []
    for result in chosen.results:
        asked = result.prepared.asked_mhz
        named = ",".join(f"{phase}={asked[phase]:g}" for phase in Phase)
        stock = result.outcome.policy == "max-frequency"
        clocks.append("max-frequency" if stock else f"phase-aware:{named}")
    drawn: list[list[float]] = [[] for _ in POLICIES]
    for draw in range(DRAWS):
        curves = calibration.drawn(np.random.default_rng([0, draw]))
        again = compare(trace, curves, _scenario(model, tuple(clocks)))
        found = {result.outcome.policy: result.outcome.energy_j for result in again.results}
        for column, clock in zip(drawn, clocks, strict=True):
            column.append(found[clock] / len(trace))
    return {
        policy: Served(
            result.outcome.energy_j / len(trace),
            result.outcome.makespan_s / len(trace),
            np.array(column),
        )
        for policy, result, column in zip(POLICIES, chosen.results, drawn, strict=True)
    }


def _scenario(model: str, policies: tuple[str, ...]) -> Scenario:
    return Scenario(policies, model=model, replicas=1, arrivals=Arrivals.OFFLINE, draws=0)


def _mixture(cast: Cast, shares: Mapping[str, float]) -> dict[str, float]:
    mixture: dict[str, float] = {}
    for pattern, model in cast.routes.items():
        mixture[model] = mixture.get(model, 0.0) + shares[pattern]
    return mixture


def _best(rows: Mapping[str, tuple[Pair, ...]], label: str) -> float:
    savings = [rows[f"{label}, {policy}"][1].ours for policy in POLICIES]
    return max(saving for saving in savings if isinstance(saving, float))


def _reach(draws: Array) -> float:
    return float(scipy.special.stdtrit(draws.size - 1, 0.975)) * float(np.std(draws, ddof=1))


def _said(trace: Trace, calibration: Calibration, models: Sequence[str]) -> list[str]:
    """Return what is extrapolated or assumed of all models, each sentence once."""
    found: list[str] = []
    for model in models:
        scenario = _scenario(model, ("phase-aware",))
        found += compare(trace, calibration, scenario).warnings
    return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in dict.fromkeys(found)]


def savings_by_clock(paper: Paper, calibration: Calibration, model: str) -> tuple[Array, Array]:
    """Return clocks that both phases were calibrated at, and the saving of the mean query there.

    Clocks are relative to the one that holds on the untouched GPU, savings against it; the
    untouched GPU itself comes last.
    """
    curves = {phase: calibration.curves_of(model, phase) for phase in Phase}
    gpu, trace = calibration.gpu, _queries(paper)
    lengths = Lengths(trace.prompt_tokens, trace.output_tokens)
    low, high = (
        pick(curves[phase].domain.sm_mhz[end] for phase in Phase)
        for end, pick in enumerate((max, min))
    )
    stock_j, stock_mhz = _fixed(lengths, curves, gpu, np.inf)
    clocks = [mhz for mhz in gpu.clocks_mhz(curves[Phase.DECODE]) if low <= mhz <= high]
    found = [_fixed(lengths, curves, gpu, float(mhz)) for mhz in clocks]
    energies_j, held_mhz = np.array(found).T
    return np.append(held_mhz / stock_mhz, 1.0), np.append(1 - energies_j / stock_j, 0.0)


def _fixed(
    lengths: Lengths, curves: Mapping[Phase, Curves], gpu: Gpu, mhz: float
) -> tuple[float, float]:
    """Return joules of all queries at one clock for both phases, and the mean clock that held."""
    service = serve_alone(lengths, curves, gpu, PhaseClocks("one", dict.fromkeys(Phase, mhz)))
    energy_j = sum(float(cost.time_s @ cost.power_w) for cost in service.values())
    time_s = sum(float(cost.time_s.sum()) for cost in service.values())
    cycles = sum(float(cost.time_s @ cost.sm_mhz) for cost in service.values())
    return energy_j, cycles / time_s
