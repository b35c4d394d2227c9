"""What the options that every command of ``simulate`` shares name.

In: what click parsed. Out: a trace, a calibration and the part of a scenario that they decide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import traces
from model.calibration import Calibration
from model.calibration import load as load_calibration
from model.tensor_parallel import Links
from phasewatt.errors import BadOption
from simulate.availability import faults_of, scaling_of, sleep_of
from simulate.batching import BLOCK_TOKENS, Batching, Continuous, Disaggregated, parse_batching
from simulate.costs.options import costs_of
from simulate.fleet import Routing
from simulate.metrics import parse_seconds, parse_slo
from simulate.order import Order
from simulate.scenario import Arrivals, Scenario
from traces import Trace


@dataclass(frozen=True)
class Inputs:
    """What the shared options name."""

    trace: Trace
    calibration: Calibration
    scenario: Scenario


def inputs_of(given: Mapping[str, Any], policies: tuple[str, ...], **more: Any) -> Inputs:
    """Return what the shared options in ``given`` name; ``more`` goes into the scenario as it is.

    Raises:
        BadTrace, BadCalibration, BadOption: something named does not exist or contradicts another.
    """
    scenario = scenario_of(given, policies, **more)
    trace = replayed_trace(loaded_trace(given), given)
    return Inputs(trace, load_calibration(given["calibration"]), scenario)


def scenario_of(given: Mapping[str, Any], policies: tuple[str, ...], **more: Any) -> Scenario:
    """Return the scenario alone; neither trace nor calibration is read.

    Raises:
        BadOption: an option contradicts another, or holds an unusable value.
    """
    arrivals = Arrivals(given["arrivals"])
    if given["trace"] is None:
        raise BadOption(
            f"--trace is missing: expected {', '.join(traces.known_traces())}, a file or a recipe"
        )
    if arrivals is Arrivals.OFFLINE and given["rate_scale"] is not None:
        raise BadOption("--rate-scale changes nothing when --arrivals offline: leave one out")
    pooled = given["groups"] and given["batching"] == "disaggregated"
    batching = parse_batching(
        # How many replicas are in each pool, every group says itself.
        "disaggregated:1:1" if pooled else given["batching"],
        given["max_batched_tokens"],
        given["max_num_seqs"],
        given["kv_blocks"],
        given["link_gb_per_s"],
    )
    replicas = _replicas(given["replicas"])
    counted = bool(given["groups"]) or isinstance(batching, Disaggregated)
    scaling = scaling_of(given, counted)
    if scaling is not None and scaling[1] is not None:
        if replicas is not None:
            raise BadOption("--replicas: --autoscale MIN:MAX says how many; leave it out")
        replicas = scaling[1]
    if isinstance(batching, Disaggregated) and replicas is not None:
        raise BadOption("--replicas: --batching disaggregated:P:D says how many; leave it out")
    if isinstance(batching, Disaggregated) and given["groups"] and not pooled:
        raise BadOption(
            "--batching disaggregated:P:D: every --group says how many; expected disaggregated"
        )
    if given["queue_limit"] is not None and given["routing"] != Routing.POWER_AWARE:
        raise BadOption(f"--queue-limit belongs to --routing {Routing.POWER_AWARE}")
    _require_scheduler(given, batching)
    return Scenario(
        policies=policies,
        model=given["model"],
        engine=given["engine"],
        groups=given["groups"],
        replicas=replicas,
        routing=Routing(given["routing"]),
        tensor_parallel=given["tensor_parallel"],
        links=_links(given),
        queue_limit=given["queue_limit"],
        sleep=sleep_of(given),
        scaling=None if scaling is None else scaling[0],
        faults=faults_of(given),
        arrivals=arrivals,
        batching=batching,
        order=Order(given["priority"]),
        prefix_cache=None if given["prefix_cache"] is None else given["prefix_cache"] == "on",
        hash_tokens=given["hash_tokens"],
        switch_latency_s=_span_s("--switch-latency", given["switch_latency"]),
        min_dwell_s=_span_s("--min-dwell", given["min_dwell"]),
        idle_power_w=given["idle_power_w"],
        max_slowdown=given["max_slowdown"],
        beyond_measured=given["beyond_measured"],
        slo=None if given["slo"] is None else parse_slo(given["slo"]),
        quality_from=given["quality_from"],
        quality_of=given["quality_of"],
        predictor=given["predictor"],
        costs=costs_of(given),
        seed=given["seed"],
        **more,
    )


def loaded_trace(given: Mapping[str, Any]) -> Trace:
    """Return the trace that ``given`` names, whole and as it was recorded or drawn.

    Raises:
        BadTrace: it does not exist, or cannot be read.
    """
    return traces.load(
        given["trace"],
        format=given["format_"],
        skip_bad_rows=given["skip_bad_rows"],
        seed=given["seed"],
    )


def replayed_trace(trace: Trace, given: Mapping[str, Any]) -> Trace:
    """Return what ``given`` replays of ``trace``: a part of it, faster or slower, shuffled.

    Raises:
        BadTrace: no request is left, or an option holds an unusable value.
    """
    if given["window"] is not None:
        trace = traces.window(trace, *traces.parse_window(given["window"]))
    if given["limit"] is not None:
        trace = traces.limit(trace, given["limit"])
    if given["rate_scale"] is not None:
        trace = traces.scale_rate(trace, given["rate_scale"])
    if given["shuffle_seed"] is not None:
        trace = traces.shuffle(trace, given["shuffle_seed"])
    return trace


def _require_scheduler(given: Mapping[str, Any], batching: Batching) -> None:
    """Raise :class:`BadOption` for what only engines that refill know."""
    refills = isinstance(batching, Continuous | Disaggregated)
    for option, unset in (("priority", Order.FCFS.value), ("prefix_cache", None)):
        if given[option] != unset and not refills:
            raise BadOption(
                f"--{option.replace('_', '-')} belongs to --batching continuous; found "
                f"{given['batching']!r}"
            )
    tokens = given["hash_tokens"]
    if tokens < BLOCK_TOKENS or tokens % BLOCK_TOKENS:
        raise BadOption(
            f"--hash-tokens: found {tokens}; expected a multiple of {BLOCK_TOKENS}, the tokens of "
            "a block"
        )


def _replicas(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise BadOption(f"--replicas: found {text!r}; expected auto or a number of 1 or more")
    return int(text)


def _links(given: Mapping[str, Any]) -> Links:
    gb_per_s, latency = given["tp_link_gb_per_s"], given["tp_latency"]
    if not 0 < gb_per_s < float("inf"):
        raise BadOption(f"--tp-link-gb-per-s: found {gb_per_s:g}; expected more than 0")
    return Links(gb_per_s, Links.latency_s if latency is None else _span_s("--tp-latency", latency))


def _span_s(option: str, text: str) -> float:
    return 0.0 if text in ("0", "0s", "0ms") else parse_seconds(option, text)
