"""The options that every command of ``simulate`` shares: which trace, which curves, which fleet.

In: what click parsed. Out: a trace, a calibration and the part of a scenario that they decide.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click

import traces
from model.calibration import Calibration, shipped_names
from model.calibration import load as load_calibration
from model.tensor_parallel import Links
from phasewatt.errors import BadOption
from simulate.availability import (
    SLEEP_SHARE,
    START_UP_S,
    WAKE_S,
    faults_of,
    scaling_of,
    sleep_of,
)
from simulate.batching import (
    BLOCK_TOKENS,
    LINK_GB_PER_S,
    MAX_BATCHED_TOKENS,
    MAX_SEQUENCES,
    Batching,
    Continuous,
    Disaggregated,
    parse_batching,
)
from simulate.fleet import Routing
from simulate.metrics import parse_seconds, parse_slo
from simulate.order import Order
from simulate.prefix_cache import HASH_TOKENS
from simulate.scenario import SWITCH_LATENCY_S, Arrivals, Scenario
from traces import Trace

DEFAULT_CALIBRATION = "h100-sxm"

F = TypeVar("F", bound=Callable[..., Any])

Option = Callable[[Any], Any]
"""What ``click.option`` returns: a decorator of any command function."""

_TRACE: tuple[Option, ...] = (
    click.option("--trace", "trace", metavar="TRACE", help="A shipped name, a file, or a recipe."),
    click.option("--format", "format_", metavar="NAME", help="Format of the trace file."),
    click.option("--skip-bad-rows", is_flag=True, help="Count broken rows and leave them out."),
    click.option("--limit", type=int, metavar="N", help="Replay the first N requests."),
    click.option("--window", metavar="START:END", help="Replay arrivals in this span: 10m:20m."),
    click.option("--rate-scale", type=float, metavar="X", help="Arrivals X times as fast."),
    click.option("--shuffle-seed", type=int, metavar="N", help="Shuffle queries among arrivals."),
)

_FLEET: tuple[Option, ...] = (
    click.option(
        "--calibration",
        default=DEFAULT_CALIBRATION,
        show_default=True,
        metavar="NAME|FILE",
        help="A calibration file, or a shipped one.",
    ),
    click.option("--model", metavar="NAME", help="Model of the calibration; its first if absent."),
    click.option("--engine", metavar="NAME", help="Engine of the calibration; the model's first."),
    click.option(
        "--group",
        "groups",
        multiple=True,
        metavar="NAME=MODEL[@CALIBRATION]:N",
        help="Replicas of a kind beside others; ,engine=NAME and ,gpus=N may follow.",
    ),
    click.option(
        "--tensor-parallel",
        type=int,
        default=1,
        show_default=True,
        metavar="N",
        help="GPUs of each replica (what they gain is assumed).",
    ),
    click.option(
        "--tp-link-gb-per-s",
        type=float,
        default=Links.gb_per_s,
        show_default=True,
        metavar="X",
        help="Between the GPUs of a replica, one way.",
    ),
    click.option(
        "--tp-latency", metavar="TIME", help="Of one all-reduce. [default: 6.6 us, assumed]"
    ),
    click.option(
        "--replicas",
        default="auto",
        show_default=True,
        metavar="N|auto",
        help="GPUs that serve; auto: the fewest that keep up under every policy.",
    ),
    click.option(
        "--routing",
        type=click.Choice([r.value for r in Routing]),
        default=Routing.LEAST_OUTSTANDING.value,
        show_default=True,
        help="How an arriving request chooses its replica.",
    ),
    click.option(
        "--queue-limit",
        type=int,
        metavar="N",
        help="Requests that power-aware routing lets a replica have; what it serves at once.",
    ),
    click.option(
        "--autoscale",
        metavar="MIN:MAX[,target=N][,idle=TIME]",
        help="Start replicas as requests wait, N for each running one, and stop idle ones.",
    ),
    click.option(
        "--start-up",
        metavar="TIME",
        help=f"From off to serving. [default: {START_UP_S:g} s, assumed]",
    ),
    click.option("--sleep-after", metavar="TIME", help="Idle replicas fall asleep after this."),
    click.option(
        "--sleep-power-w",
        type=float,
        metavar="W",
        help=f"Power of a sleeping replica. [default: {SLEEP_SHARE:.0%} of idle, assumed]",
    ),
    click.option(
        "--wake-time",
        metavar="TIME",
        help=f"From asleep to serving. [default: {WAKE_S:g} s, assumed]",
    ),
    click.option("--mtbf", metavar="TIME", help="Mean time from repair to failure of a replica."),
    click.option("--mttr", metavar="TIME", help="Mean time to repair it."),
    click.option(
        "--retries",
        type=int,
        metavar="N",
        help="How often a request lost with a replica is tried again; without limit if absent.",
    ),
    click.option(
        "--arrivals",
        type=click.Choice([a.value for a in Arrivals]),
        default=Arrivals.TRACE.value,
        show_default=True,
        help="As in the trace, or all at once.",
    ),
    click.option(
        "--batching",
        default="none",
        show_default=True,
        metavar="MODE",
        help="What serves together: none, static:N, continuous or disaggregated:P:D.",
    ),
    click.option(
        "--max-batched-tokens",
        type=int,
        metavar="N",
        help=f"Tokens of one step of continuous batching. [default: {MAX_BATCHED_TOKENS}]",
    ),
    click.option(
        "--max-num-seqs",
        type=int,
        metavar="N",
        help=f"Requests that run at once in it. [default: {MAX_SEQUENCES}]",
    ),
    click.option(
        "--kv-blocks",
        type=int,
        metavar="N",
        help=f"KV-cache blocks of {BLOCK_TOKENS} tokens; reckoned from the GPU if absent.",
    ),
    click.option(
        "--priority",
        type=click.Choice([order.value for order in Order]),
        default=Order.FCFS.value,
        show_default=True,
        help="Who is served first; trace: the lowest of its column 'priority'.",
    ),
    click.option(
        "--prefix-cache",
        type=click.Choice(["on", "off"]),
        help="Skip what another prompt has cached. [default: on where the trace has block hashes]",
    ),
    click.option(
        "--hash-tokens",
        type=int,
        default=HASH_TOKENS,
        show_default=True,
        metavar="N",
        help="Tokens that a block hash of the trace tells of.",
    ),
    click.option(
        "--link-gb-per-s",
        type=float,
        metavar="X",
        help=f"Between P prefilling and D decoding replicas. [default: {LINK_GB_PER_S:g}, assumed]",
    ),
    click.option(
        "--switch-latency",
        default=f"{SWITCH_LATENCY_S:g}",
        show_default=True,
        metavar="TIME",
        help="How long a change of clock stalls a replica (assumed unless given).",
    ),
    click.option(
        "--min-dwell", default="0", show_default=True, metavar="TIME", help="Keep a clock so long."
    ),
    click.option("--idle-power-w", type=float, metavar="W", help="Power of an idle replica."),
    click.option(
        "--max-slowdown",
        type=float,
        default=0.1,
        show_default=True,
        metavar="X",
        help="How much phase-aware may slow each phase.",
    ),
    click.option(
        "--beyond-measured",
        is_flag=True,
        help="Let policies use clocks below the measured ones, where curves are transferred.",
    ),
    click.option("--slo", metavar="LIMITS", help="Such as ttft=1s,tpot=50ms,e2e=30s."),
    click.option(
        "--quality-from",
        metavar="NAME|FILE",
        help="Outcomes to give the queries: joined by id, or dealt by length (assumed).",
    ),
    click.option(
        "--quality-of",
        multiple=True,
        metavar="MODEL=NAME",
        help="MODEL answers as NAME does in outcomes and predictor (assumed).",
    ),
    click.option(
        "--predictor",
        metavar="NAME|FILE",
        help="What predicts quality from the trace's text: see `calibrate difficulty`.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of every draw."),
)

OUTPUT: tuple[Option, ...] = (
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write results here."
    ),
    click.option("--json", "as_json", is_flag=True, help="Print as JSON, for machines."),
    click.option("-v", "--verbose", is_flag=True, help="Say what is being done."),
)


def options(*more: Option) -> Callable[[F], F]:
    """Return a decorator that adds the shared options, then ``more``, in that order of help."""

    def decorate(function: F) -> F:
        decorated: Any = function
        for option in reversed((*_TRACE, *_FLEET, *more)):
            decorated = option(decorated)
        return cast("F", decorated)

    return decorate


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
    scenario = Scenario(
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
        seed=given["seed"],
        **more,
    )
    return Inputs(_trace(given), load_calibration(given["calibration"]), scenario)


def epilog() -> str:
    """Return the line that help ends with: what is shipped."""
    return (
        f"Shipped traces: {', '.join(traces.known_traces())}. "
        f"Shipped calibrations: {', '.join(shipped_names())}."
    )


def _trace(given: Mapping[str, Any]) -> Trace:
    trace = traces.load(
        given["trace"],
        format=given["format_"],
        skip_bad_rows=given["skip_bad_rows"],
        seed=given["seed"],
    )
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
