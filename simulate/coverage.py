"""What of a comparison is extrapolated, assumed or saturated: said, never silent.

In: the trace, the calibration and what happened. Out: one sentence for each thing to know.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from model.mixed import MixedCurves
from model.provenance import Kind
from model.work import Array, Phase
from policies import Looking
from simulate.availability import SLEEP_SHARE, START_UP_S, WAKE_S
from simulate.batching import LINK_GB_PER_S, Continuous, Disaggregated
from simulate.groups import Group, PreparedFleet
from simulate.meter import SERVING, State
from simulate.outcome import Outcome
from simulate.prepare import Prepared
from simulate.scenario import SWITCH_LATENCY_S, Arrivals, Scenario
from traces import Trace

_SATURATED = 0.95
_LONG_LEAD = 0.1
_WAITING = 0.1


def warnings_of(
    trace: Trace,
    groups: Sequence[Group],
    scenario: Scenario,
    outcomes: Sequence[Outcome],
    fleets: Sequence[PreparedFleet],
) -> Iterator[str]:
    """Yield what a reader of the results must know, one sentence each."""
    prepared = [ready for fleet in fleets for ready in fleet.groups]
    yield from dict.fromkeys(line for ready in prepared for line in _extrapolations(trace, ready))
    yield from dict.fromkeys(line for group in groups for line in _of_gpu(group, scenario))
    yield from _assumptions(groups, scenario, prepared)
    if trace.source.skipped_rows:
        yield f"trace: {trace.source.skipped_rows} broken rows were skipped"
    first_s, last_s = float(trace.arrival_s[0]), float(trace.arrival_s[-1])
    if scenario.arrivals is Arrivals.TRACE and first_s > _LONG_LEAD * last_s:
        yield (
            f"the first request arrives at {first_s:,.0f} s and the fleet idles until then: "
            "leave that out with --window"
        )
    for outcome, fleet in zip(outcomes, fleets, strict=True):
        yield from _transferred(outcome, fleet)
        yield from _batches(outcome, fleet)
    for outcome in outcomes:
        for group in saturated_groups(outcome, scenario):
            name = outcome.groups[group].name
            yield (
                f"{outcome.policy}: {name or 'the fleet'} is saturated "
                f"({busy_share(outcome, group):.1%} busy, queues still grow): its latencies depend "
                "on the length of the trace; add replicas"
            )


def is_saturated(outcome: Outcome, scenario: Scenario) -> bool:
    """Return whether :func:`saturated_groups` finds any."""
    return bool(saturated_groups(outcome, scenario))


def saturated_groups(outcome: Outcome, scenario: Scenario) -> list[int]:
    """Return the groups whose queues still grew while queries came and that hardly ever rested."""
    if scenario.arrivals is not Arrivals.TRACE:
        return []
    return [g for g in range(len(outcome.groups)) if _is_saturated(outcome, g)]


def _is_saturated(outcome: Outcome, group: int) -> bool:
    if busy_share(outcome, group) <= _SATURATED:
        return False
    mine = outcome.group_of == group
    # Who is answered twice waits for the second model after a first answer.
    waits_s = outcome.queue_s if len(outcome.groups) == 1 else outcome.ttft_s
    if not _growing(waits_s[mine]):
        return False
    # Engines that batch are busy at any load, and who arrives waits for the end of a step.
    wait_s, e2e_s = np.nansum(waits_s[mine]), np.nansum(outcome.e2e_s[mine])
    return outcome.replayed.batches is None or bool(wait_s > _WAITING * e2e_s)


def busy_share(outcome: Outcome, group: int = 0) -> float:
    """Return the share of a group's replica time that was not idle while queries came."""
    first_s, last_s = float(outcome.arrival_s[0]), float(outcome.arrival_s[-1])
    if last_s <= first_s:
        return 1.0
    intervals = outcome.replayed.intervals
    idle = ~np.isin(intervals.state, [int(state) for state in SERVING])
    idle &= outcome.group_of_replica[intervals.replica] == group
    starts_s = intervals.start_s[idle]
    ends_s = starts_s + intervals.duration_s[idle]
    idle_s = np.maximum(np.minimum(ends_s, last_s) - np.maximum(starts_s, first_s), 0).sum()
    replicas = len(outcome.groups[group].replicas)
    return 1 - float(idle_s) / (replicas * (last_s - first_s))


def _extrapolations(trace: Trace, run: Prepared) -> Iterator[str]:
    prompts = run.curves[Phase.PREFILL].domain.prompt_tokens
    if prompts is not None:
        share = _outside(trace.prompt_tokens.astype(np.float64), prompts)
        if share:
            yield (
                f"extrapolated: {share:.0%} of prompts lie outside the {_range(prompts)} tokens at "
                f"which prefill of {run.model} was measured"
            )
    contexts = run.curves[Phase.DECODE].domain.context_tokens
    decodes = trace.output_tokens > 1
    if contexts is not None and np.any(decodes):
        ends = (trace.prompt_tokens + trace.output_tokens)[decodes].astype(np.float64)
        share = float(np.mean(ends > contexts[1]))
        if share:
            yield (
                f"extrapolated: {share:.0%} of decodes reach contexts beyond the "
                f"{_range(contexts)} tokens at which {run.model} was measured"
            )


def _transferred(outcome: Outcome, fleet: PreparedFleet) -> Iterator[str]:
    intervals = outcome.replayed.intervals
    group = outcome.group_of_replica[intervals.replica]
    for index, run in enumerate(fleet.groups):
        below = np.zeros(group.size, dtype=np.bool_)
        edges = []
        for phase, states in _STATES_OF.items():
            lowest_mhz = run.curves[phase].measured_mhz[0]
            here = (group == index) & (intervals.sm_mhz < lowest_mhz - _CLOCK_MHZ)
            here &= np.isin(intervals.state, states)
            if np.any(here):
                below |= here
                edges.append(f"{lowest_mhz:,.0f} MHz in {phase}")
        if edges:
            share = float(intervals.energy_j[below].sum() / intervals.energy_j.sum())
            yield (
                f"transferred: under {outcome.policy}, {share:.0%} of energy was drawn at clocks "
                f"below those at which {run.model} was measured (from {', '.join(edges)}): there "
                "curves go on as those of public GPUs do"
            )


_STATES_OF = {Phase.PREFILL: [State.PREFILL, State.MIXED], Phase.DECODE: [State.DECODE]}
"""Steps of both phases ask for prefill's clock."""

_CLOCK_MHZ = 0.5
"""Clocks this near are one: runs of steps have their mean."""


def _of_gpu(group: Group, scenario: Scenario) -> Iterator[str]:
    gpu = group.calibration.gpu
    origin = gpu.origins.get("idle_power_w")
    if scenario.idle_power_w is not None:
        yield f"assumed: idle power of {scenario.idle_power_w:g} W, as given"
    elif gpu.idle_power_w is not None and origin is not None and origin.kind is Kind.ASSUMED:
        yield f"assumed: idle power of {gpu.idle_power_w:g} W ({origin.source})"

    gpus = group.scenario.tensor_parallel
    if gpus > 1:
        links = group.scenario.links
        yield (
            f"assumed: {gpus} GPUs of a replica split every layer and wait for two all-reduces in "
            f"each, over links of {links.gb_per_s:g} GB/s and {1e6 * links.latency_s:.3g} us; no "
            "such replica was measured"
        )


def _assumptions(
    groups: Sequence[Group], scenario: Scenario, prepared: Sequence[Prepared]
) -> Iterator[str]:
    switching = any(
        isinstance(p.governor, Looking) or p.asked_mhz[Phase.PREFILL] != p.asked_mhz[Phase.DECODE]
        for p in prepared
    )
    if switching and scenario.switch_latency_s == SWITCH_LATENCY_S:
        yield (
            f"assumed: a clock switch stalls its replica for {1e3 * SWITCH_LATENCY_S:g} ms "
            "(--switch-latency)"
        )
    yield from _availability(scenario)
    batching = scenario.batching
    if isinstance(batching, Disaggregated) and batching.link_gb_per_s == LINK_GB_PER_S:
        yield f"assumed: a link of {LINK_GB_PER_S:g} GB/s between both pools (--link-gb-per-s)"
    if any(group.calibration.provenance.kind is Kind.TWIN for group in groups):
        yield "the calibration was measured on a simulated GPU (twin), not on hardware"


def _availability(scenario: Scenario) -> Iterator[str]:
    sleep, scaling, faults = scenario.sleep, scenario.scaling, scenario.faults
    if sleep is not None and sleep.power_w is None:
        yield (
            f"assumed: asleep, a replica draws {SLEEP_SHARE:.0%} of its idle power, as an H100 "
            "does without a CUDA context (--sleep-power-w)"
        )
    if sleep is not None and sleep.wake_s == WAKE_S:
        yield f"assumed: a replica wakes in {WAKE_S:g} s, at idle power (--wake-time)"
    if scaling is not None:
        taken = " (--start-up)" if scaling.start_up_s == START_UP_S else ""
        yield (
            f"assumed: a replica starts in {scaling.start_up_s:g} s{taken}, at idle power, and "
            "draws nothing when it is off"
        )
    if faults is not None:
        yield "assumed: a broken replica draws nothing; each breaks at random, on its own"


def _batches(outcome: Outcome, fleet: PreparedFleet) -> Iterator[str]:
    batches = outcome.replayed.batches
    if batches is None:
        return
    rejected = int(outcome.replayed.rejected.sum())
    if rejected:
        yield f"{outcome.policy}: {rejected:,} requests were rejected: they do not fit the KV cache"
    run = min(fleet.groups, key=lambda ready: ready.curves[Phase.DECODE].domain.batch[1])
    most = run.curves[Phase.DECODE].domain.batch[1]
    beyond = batches.gap_tokens > most
    if np.any(beyond):
        share = float(batches.gap_tokens[beyond].sum() / batches.gap_tokens.sum())
        yield (
            f"extrapolated: under {outcome.policy}, {share:.1%} of tokens were decoded in batches "
            f"beyond the {most:,.0f} sequences at which {run.model} was measured"
        )
    for run in fleet.groups:
        if not isinstance(run.batching, Continuous | Disaggregated):
            continue
        mixed = MixedCurves(run.curves[Phase.PREFILL], run.curves[Phase.DECODE])
        if not mixed.shared:
            yield (
                f"assumed: steps of {run.model} that mix phases take what each phase's curves say "
                "of its part, overlapping as prefill does"
            )


def _outside(values: Array, span: tuple[float, float]) -> float:
    return float(np.mean((values < span[0]) | (values > span[1])))


def _range(span: tuple[float, float]) -> str:
    low, high = span
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def _growing(waits_s: Array) -> bool:
    waits_s = waits_s[~np.isnan(waits_s)]
    if waits_s.size == 0:
        return False
    quarter = max(waits_s.size // 4, 1)
    return float(waits_s[-quarter:].mean()) > 2 * float(waits_s[:quarter].mean()) > 0
