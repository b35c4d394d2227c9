"""From words to a run: the policy's governor, its curves, what each query costs under it.

In: a scenario, a calibration, query lengths. Out: runs that only wait for a fleet size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from model.calibration import Calibration
from model.curves import Curves
from model.gpu import Gpu
from model.work import Array, Phase
from phasewatt.errors import BadOption
from policies import (
    Governor,
    PhaseClocks,
    Setting,
    make_governor,
    make_selection,
    parse_policy,
)
from policies.governor import held_mhz, requested_mhz
from simulate.fleet import Fleet, smallest_stable
from simulate.outcome import Outcome
from simulate.replay import OffClock, replay
from simulate.scenario import TARGET_UTILISATION, Arrivals, Scenario
from simulate.service import Lengths, PhaseCost, Service, phase_alone, serve_alone
from traces import Trace

_COLUMNS_AT_MOST = 16
"""Clocks at which all queries are priced at once, as soon as a dwell forces one of them to run at
it; a policy that asks for more clocks than that has the others priced query by query."""


@dataclass(frozen=True)
class Queries:
    """A trace's columns as the simulator reads them; offline, all arrivals are at 0 s."""

    arrival_s: Array
    lengths: Lengths


@dataclass(frozen=True)
class Prepared:
    """A policy made ready for a calibration: everything but the fleet's size.

    ``asked_mhz`` and ``held_mhz`` are the clocks of each phase's typical step.
    """

    policy: str
    model: str
    governor: Governor
    gpu: Gpu
    curves: Mapping[Phase, Curves]
    service: Service
    asked_mhz: Mapping[Phase, float]
    held_mhz: Mapping[Phase, float]


def queries_of(trace: Trace, arrivals: Arrivals) -> Queries:
    """Return the columns of ``trace`` that a replay reads."""
    arrival_s = np.asarray(trace.arrival_s, dtype=np.float64)
    if arrivals is Arrivals.OFFLINE:
        arrival_s = np.zeros_like(arrival_s)
    return Queries(arrival_s, Lengths(trace.prompt_tokens, trace.output_tokens))


def prepare(
    policy: str, scenario: Scenario, calibration: Calibration, queries: Queries
) -> Prepared:
    """Make the policy named ``policy`` ready to run on ``calibration``.

    Raises:
        BadPolicy, BadCalibration, OutOfRange: the policy, model, engine or a clock is not there.
    """
    spec = parse_policy(policy)
    model = scenario.model or calibration.models[0]
    if spec.selection is not None:
        model = make_selection(spec.selection, calibration.models).models[0]
    curves = {p: calibration.curves_of(model, p, scenario.engine) for p in Phase}
    typical = queries.lengths.typical()
    setting = Setting(calibration.gpu, curves, typical, scenario.max_slowdown)
    governor = make_governor(spec.governor, setting)
    return Prepared(
        policy=policy,
        model=model,
        governor=governor,
        gpu=calibration.gpu,
        curves=curves,
        service=serve_alone(queries.lengths, curves, calibration.gpu, governor),
        asked_mhz={p: float(requested_mhz(governor, p, typical[p])[0]) for p in Phase},
        held_mhz={p: held_mhz(governor, p, typical[p], setting) for p in Phase},
    )


def redrawn(prepared: Prepared, drawn: Calibration, engine: str | None, q: Queries) -> Prepared:
    """Return ``prepared`` as it would fare on other curves; the governor keeps its decisions."""
    curves = {p: drawn.curves_of(prepared.model, p, engine) for p in Phase}
    service = serve_alone(q.lengths, curves, drawn.gpu, prepared.governor)
    return Prepared(
        prepared.policy,
        prepared.model,
        prepared.governor,
        drawn.gpu,
        curves,
        service,
        prepared.asked_mhz,
        prepared.held_mhz,
    )


def fleet_size(runs: list[Prepared], scenario: Scenario, queries: Queries) -> int:
    """Return the scenario's fleet size, or the smallest that is stable under every policy."""
    if scenario.replicas is not None:
        return scenario.replicas
    if scenario.arrivals is Arrivals.OFFLINE:
        return 1
    return max(
        smallest_stable(
            queries.arrival_s, run.service, scenario.switch_latency_s, TARGET_UTILISATION
        )
        for run in runs
    )


def run(
    prepared: Prepared,
    scenario: Scenario,
    queries: Queries,
    replicas: int,
    advance: Callable[[int], None] = lambda _n: None,
) -> Outcome:
    """Replay ``queries`` under one policy on ``replicas`` replicas.

    Raises:
        BadOption: nobody knows the GPU's idle power.
    """
    fleet = Fleet(
        replicas=replicas,
        routing=scenario.routing,
        idle_power_w=idle_power_w(prepared.gpu, scenario),
        idle_mhz=prepared.governor.idle_mhz,
        switch_latency_s=scenario.switch_latency_s,
        min_dwell_s=scenario.min_dwell_s,
    )
    replayed = replay(
        queries.arrival_s, prepared.service, fleet, _off_clock(prepared, queries), advance
    )
    return Outcome(
        policy=prepared.policy,
        model=prepared.model,
        replicas=replicas,
        arrival_s=queries.arrival_s,
        prompt_tokens=queries.lengths.prompt_tokens,
        output_tokens=queries.lengths.output_tokens,
        replayed=replayed,
    )


def idle_power_w(gpu: Gpu, scenario: Scenario) -> float:
    """Return the idle power in force.

    Raises:
        BadOption: neither the scenario nor the calibration knows one.
    """
    known = gpu.idle_power_w if scenario.idle_power_w is None else scenario.idle_power_w
    if known is None:
        raise BadOption(
            f"the calibration holds no idle power for {gpu.name}: pass --idle-power-w WATTS"
        )
    return known


def _off_clock(prepared: Prepared, queries: Queries) -> OffClock:
    columns: dict[tuple[Phase, float], PhaseCost] = {}

    def served_at(lengths: Lengths, phase: Phase, mhz: float) -> PhaseCost:
        forced = PhaseClocks("dwell", dict.fromkeys(Phase, mhz), cap_w=prepared.governor.cap_w)
        return phase_alone(phase, lengths, prepared.curves[phase], prepared.gpu, forced)

    def cost(query: int, phase: Phase, mhz: float) -> tuple[float, float, float]:
        found, row = columns.get((phase, mhz)), query
        if found is None and len(columns) < _COLUMNS_AT_MOST:
            found = columns[phase, mhz] = served_at(queries.lengths, phase, mhz)
        elif found is None:
            found, row = served_at(queries.lengths.only(query), phase, mhz), 0
        return float(found.time_s[row]), float(found.power_w[row]), float(found.sm_mhz[row])

    return cost
