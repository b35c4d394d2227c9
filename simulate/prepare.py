"""From words to a run: the policy's governor, its curves, what each query costs under it.

In: a scenario, a calibration, query lengths. Out: runs that only wait for a fleet size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.calibration import Calibration
from model.curves import Curves
from model.gpu import Gpu
from model.work import Phase
from phasewatt.errors import BadOption, BadPolicy
from policies import (
    Governor,
    Setting,
    governor_of,
    make_governor,
    make_selection,
    parse_policy,
)
from policies.fleet_cap import FleetCap
from policies.governor import held_mhz, max_frequency, requested_mhz
from simulate.availability import SLEEP_SHARE
from simulate.batching import (
    Alone,
    Batching,
    Continuous,
    Disaggregated,
    Static,
    limits_of,
    with_blocks,
)
from simulate.fleet import Fleet
from simulate.occupancy import mean_prefill_s, typical_steps, usual_batch
from simulate.order import priorities_of
from simulate.prefix_cache import Prefixes
from simulate.scenario import Arrivals, Scenario
from simulate.service import Lengths
from simulate.serving import (
    Queries,
    Serving,
    ServingAlone,
    ServingBatches,
    ServingPools,
    ServingStepwise,
    is_stepwise,
)
from traces import Trace


@dataclass(frozen=True)
class Prepared:
    """A policy made ready for a calibration: everything but the fleet's size.

    ``asked_mhz`` and ``held_mhz`` are the clocks of each phase's typical step; ``batching`` has its
    KV cache reckoned; ``setting`` is what the governor was made from; ``lengths`` are those of all
    queries as this model answers them, which ``serving`` prices.
    """

    policy: str
    model: str
    batching: Batching
    setting: Setting
    governor: Governor
    gpu: Gpu
    curves: Mapping[Phase, Curves]
    lengths: Lengths
    serving: Serving
    asked_mhz: Mapping[Phase, float]
    held_mhz: Mapping[Phase, float]


def queries_of(trace: Trace, scenario: Scenario) -> Queries:
    """Return the columns of ``trace`` that a replay reads.

    Raises:
        BadOption: priorities or hashes are asked for that the trace does not hold.
        BadTrace: its hashes contradict each other or its lengths.
    """
    arrival_s = np.asarray(trace.arrival_s, dtype=np.float64)
    if scenario.arrivals is Arrivals.OFFLINE:
        arrival_s = np.zeros_like(arrival_s)
    prefixes = None
    shares = isinstance(scenario.batching, Continuous | Disaggregated)
    if shares and scenario.prefix_cache is not False:
        prefixes = Prefixes.of_trace(trace, scenario.hash_tokens)
        if prefixes is None and scenario.prefix_cache:
            raise BadOption(
                f"--prefix-cache on: trace '{trace.name}' holds no block hashes that would tell "
                "which prompts begin alike"
            )
    priority = priorities_of(trace, scenario.order)
    return Queries(arrival_s, Lengths(trace.prompt_tokens, trace.output_tokens, priority, prefixes))


def prepare(
    policy: str,
    scenario: Scenario,
    calibration: Calibration,
    queries: Queries,
    share: float = 1.0,
) -> Prepared:
    """Make the policy named ``policy`` ready to run on ``calibration``.

    ``share`` is the part of the fleet that its replicas are: of the queries, as far as typical
    steps go, and of a power that the whole fleet may draw.

    Raises:
        BadPolicy, BadCalibration, OutOfRange: the policy, model, engine or a clock is not there.
    """
    spec = parse_policy(policy)
    model = scenario.model or calibration.models[0]
    if spec.selection is not None:
        model, *others = make_selection(spec.selection).models(calibration.models)
        if others:
            raise BadPolicy(
                f"policy {policy}: chooses among models and the fleet has one: expected "
                "--group NAME=MODEL:REPLICAS for each"
            )
    curves = {p: calibration.curves_of(model, p, scenario.engine) for p in Phase}
    batching = with_blocks(scenario.batching, calibration, model)
    setting = _setting(scenario, batching, calibration, curves, queries)
    if not isinstance(batching, Alone):
        setting = _at_usual_batch(setting, batching, scenario, queries, share)
    typical = setting.typical
    governor = make_governor(spec.governor, setting)
    if isinstance(governor, FleetCap):
        governor = governor.part(share)
    return Prepared(
        policy=policy,
        model=model,
        batching=batching,
        setting=setting,
        governor=governor,
        gpu=calibration.gpu,
        curves=curves,
        lengths=queries.lengths,
        serving=_serving(batching, queries.lengths, calibration, model, setting, governor),
        asked_mhz={p: float(requested_mhz(governor, p, typical[p])[0]) for p in Phase},
        held_mhz={p: held_mhz(governor_of(governor, p), p, typical[p], setting) for p in Phase},
    )


def redrawn(prepared: Prepared, drawn: Calibration, engine: str | None) -> Prepared:
    """Return ``prepared`` as it would fare on other curves; the governor keeps its decisions."""
    curves = {p: drawn.curves_of(prepared.model, p, engine) for p in Phase}
    setting = replace(prepared.setting, gpu=drawn.gpu, curves=curves)
    serving = _serving(
        *(prepared.batching, prepared.lengths, drawn, prepared.model, setting, prepared.governor)
    )
    return replace(prepared, setting=setting, gpu=drawn.gpu, curves=curves, serving=serving)


def serving_only(prepared: Prepared, queries: NDArray[np.int64]) -> Prepared:
    """Return ``prepared`` for those of ``queries``, in that order."""
    lengths, serving = prepared.lengths.take(queries), prepared.serving
    if isinstance(serving, ServingAlone):
        serving = ServingAlone.of(lengths, prepared.curves, prepared.gpu, prepared.governor)
    return replace(prepared, lengths=lengths, serving=serving)


def fleet_size(runs: list[Prepared], scenario: Scenario, queries: Queries) -> int:
    """Return the scenario's fleet size, or the smallest that is stable under every policy."""
    if not isinstance(scenario.batching, Disaggregated):
        if scenario.replicas is not None:
            return scenario.replicas
        if scenario.arrivals is Arrivals.OFFLINE:
            return 1
    return max(run.serving.fewest_replicas(queries, scenario.switch_latency_s) for run in runs)


def fleet_of(prepared: Prepared, scenario: Scenario, replicas: int) -> Fleet:
    """Return ``replicas`` replicas under ``prepared``.

    Raises:
        BadOption: nobody knows the GPU's idle power.
    """
    idle_w = idle_power_w(prepared.gpu, scenario)
    sleep, scaling = scenario.sleep, scenario.scaling
    if sleep is not None and sleep.power_w is None:
        sleep = replace(sleep, power_w=SLEEP_SHARE * idle_w)
    if scaling is not None:
        scaling = replace(scaling, least=min(scaling.least, replicas))
    return Fleet(
        replicas=replicas,
        routing=scenario.routing,
        idle_power_w=idle_w,
        idle_mhz=prepared.governor.idle_mhz,
        switch_latency_s=scenario.switch_latency_s,
        min_dwell_s=scenario.min_dwell_s,
        queue_limit=scenario.queue_limit,
        sleep=sleep,
        scaling=scaling,
        faults=scenario.faults,
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


def _serving(
    batching: Batching,
    lengths: Lengths,
    calibration: Calibration,
    model: str,
    setting: Setting,
    governor: Governor,
) -> Serving:
    curves, gpu = setting.curves, setting.gpu
    if isinstance(batching, Alone):
        if is_stepwise(governor):
            return ServingStepwise.of(lengths, curves, gpu, governor)
        return ServingAlone.of(lengths, curves, gpu, governor)
    if not isinstance(batching, Disaggregated):
        return ServingBatches.of(curves, gpu, governor, limits_of(batching))
    geometry = calibration.geometry_of(model)
    if geometry is None:
        raise BadOption(
            f"--batching disaggregated: the calibration does not tell the shape of {model}, whose "
            "KV cache crosses the link; expected a calibration with geometries"
        )
    decoding = governor_of(governor, Phase.DECODE)
    idle_mhz = decoding.idle_mhz
    if idle_mhz is not None:
        idle_mhz = float(requested_mhz(decoding, Phase.DECODE, setting.typical[Phase.DECODE])[0])
    token_bytes = float(geometry.kv_bytes_per_token())
    return ServingPools.of(curves, gpu, governor, batching, token_bytes, idle_mhz)


def _setting(
    scenario: Scenario,
    batching: Batching,
    calibration: Calibration,
    curves: Mapping[Phase, Curves],
    queries: Queries,
) -> Setting:
    slo, gpu = scenario.slo, calibration.gpu
    return Setting(
        gpu=gpu,
        curves=curves,
        typical=queries.lengths.typical(),
        max_slowdown=scenario.max_slowdown,
        ttft_s=None if slo is None else slo.ttft_s,
        tpot_s=None if slo is None else slo.tpot_s,
        switch_latency_s=scenario.switch_latency_s,
        decode_steps=float(queries.lengths.decode_steps.mean()),
        mixes=isinstance(batching, Continuous | Disaggregated),
        apart=isinstance(batching, Disaggregated),
        idle_power_w=gpu.idle_power_w if scenario.idle_power_w is None else scenario.idle_power_w,
    )


def _at_usual_batch(
    setting: Setting,
    batching: Static | Continuous | Disaggregated,
    scenario: Scenario,
    queries: Queries,
    share: float,
) -> Setting:
    """Return ``setting`` with typical steps of the batch that an untouched fleet would run."""
    limits = limits_of(batching)
    untouched = max_frequency("", setting)
    serving = ServingBatches.of(setting.curves, setting.gpu, untouched, limits)
    prefill_s = mean_prefill_s(queries.lengths, serving.prices)
    replicas = scenario.replicas
    if isinstance(batching, Disaggregated):
        replicas, prefill_s = batching.decode_replicas, 0.0
    elif replicas is None:
        offline = scenario.arrivals is Arrivals.OFFLINE
        replicas = 1 if offline else serving.fewest_replicas(queries, 0.0)
    decode = setting.curves[Phase.DECODE]
    batch = usual_batch(
        *(queries.arrival_s, queries.lengths, limits, decode, serving.prices, replicas / share),
        prefill_s,
    )
    return replace(setting, typical=typical_steps(queries.lengths, limits, batch))
