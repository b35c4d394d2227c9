"""The options that every command of ``simulate`` shares: which trace, which curves, which fleet.

In: a command. Out: the command with its options, and what its help ends with.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import click

import traces
from model.calibration import shipped_names
from model.tensor_parallel import Links
from simulate.availability import SLEEP_SHARE, START_UP_S, WAKE_S
from simulate.batching import BLOCK_TOKENS, LINK_GB_PER_S, MAX_BATCHED_TOKENS, MAX_SEQUENCES
from simulate.costs.options import COST_OPTIONS
from simulate.fleet import Routing
from simulate.order import Order
from simulate.prefix_cache import HASH_TOKENS
from simulate.scenario import SWITCH_LATENCY_S, Arrivals
from simulate.topics import GROUP_FILE, POLICY_FILE, TRACE_FILE, WHOLE, Topical

DEFAULT_CALIBRATION = "h100-sxm"

F = TypeVar("F", bound=Callable[..., Any])

Option = Callable[[Any], Any]
"""What ``click.option`` returns: a decorator of any command function."""


def _fill(context: click.Context, _option: click.Parameter, path: Path | None) -> None:
    if path is not None and not context.resilient_parsing:
        from simulate.scenario_file import fill  # only who names such a file waits for it

        fill(context, path)


_SCENARIO = click.option(
    "--scenario",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_fill,
    metavar="FILE",
    cls=Topical,
    topic="Scenario",
    help="A file that says what options say; those given here win: see `simulate scenario`.",
)

_trace = partial(click.option, cls=Topical, topic="Trace")
_fleet = partial(click.option, cls=Topical, topic="Fleet")
_scaling = partial(click.option, cls=Topical, topic="Scaling, sleep and failures")
_batching = partial(click.option, cls=Topical, topic="Batching")
_clocks = partial(click.option, cls=Topical, topic="Clocks and power")
_quality = partial(click.option, cls=Topical, topic="Quality of answers")
_figure = partial(click.option, cls=Topical, topic="Figures")
_policies = partial(click.option, cls=Topical, topic="Policies")
_output = partial(click.option, cls=Topical, topic="Output")

_TRACE: tuple[Option, ...] = (
    _trace(
        "--trace",
        "trace",
        metavar="TRACE",
        help="A shipped name, a file, or a recipe.",
        files=TRACE_FILE,
    ),
    _trace("--format", "format_", metavar="NAME", help="Format of the trace file."),
    _trace("--skip-bad-rows", is_flag=True, help="Count broken rows and leave them out."),
    _trace("--limit", type=int, metavar="N", help="Replay the first N requests."),
    _trace("--window", metavar="START:END", help="Replay arrivals in this span: 10m:20m."),
    _trace("--rate-scale", type=float, metavar="X", help="Arrivals X times as fast."),
    _trace("--shuffle-seed", type=int, metavar="N", help="Shuffle queries among arrivals."),
    _trace(
        "--arrivals",
        type=click.Choice([a.value for a in Arrivals]),
        default=Arrivals.TRACE.value,
        show_default=True,
        help="As in the trace, or all at once.",
    ),
)

_FLEET: tuple[Option, ...] = (
    _fleet(
        "--calibration",
        default=DEFAULT_CALIBRATION,
        show_default=True,
        metavar="NAME|FILE",
        help="A calibration file, or a shipped one.",
        files=WHOLE,
    ),
    _fleet("--model", metavar="NAME", help="Model of the calibration; its first if absent."),
    _fleet("--engine", metavar="NAME", help="Engine of the calibration; the model's first."),
    _fleet(
        "--group",
        "groups",
        multiple=True,
        metavar="NAME=MODEL[@CALIBRATION]:N",
        help="Replicas of a kind beside others; ,engine=NAME and ,gpus=N may follow.",
        files=GROUP_FILE,
    ),
    _fleet(
        "--tensor-parallel",
        type=int,
        default=1,
        show_default=True,
        metavar="N",
        help="GPUs of each replica (what they gain is assumed).",
    ),
    _fleet(
        "--tp-link-gb-per-s",
        type=float,
        default=Links.gb_per_s,
        show_default=True,
        metavar="X",
        help="Between the GPUs of a replica, one way.",
    ),
    _fleet("--tp-latency", metavar="TIME", help="Of one all-reduce. [default: 6.6 us, assumed]"),
    _fleet(
        "--replicas",
        default="auto",
        show_default=True,
        metavar="N|auto",
        help="GPUs that serve; auto: the fewest that keep up under every policy.",
    ),
    _fleet(
        "--routing",
        type=click.Choice([r.value for r in Routing]),
        default=Routing.LEAST_OUTSTANDING.value,
        show_default=True,
        help="How an arriving request chooses its replica.",
    ),
    _fleet(
        "--queue-limit",
        type=int,
        metavar="N",
        help="Requests that power-aware routing lets a replica have; what it serves at once.",
    ),
)

_SCALING: tuple[Option, ...] = (
    _scaling(
        "--autoscale",
        metavar="MIN:MAX[,target=N][,idle=TIME]",
        help="Start replicas as requests wait, N for each running one, and stop idle ones.",
    ),
    _scaling(
        "--start-up",
        metavar="TIME",
        help=f"From off to serving. [default: {START_UP_S:g} s, assumed]",
    ),
    _scaling("--sleep-after", metavar="TIME", help="Idle replicas fall asleep after this."),
    _scaling(
        "--sleep-power-w",
        type=float,
        metavar="W",
        help=f"Power of a sleeping replica. [default: {SLEEP_SHARE:.0%} of idle, assumed]",
    ),
    _scaling(
        "--wake-time",
        metavar="TIME",
        help=f"From asleep to serving. [default: {WAKE_S:g} s, assumed]",
    ),
    _scaling("--mtbf", metavar="TIME", help="Mean time from repair to failure of a replica."),
    _scaling("--mttr", metavar="TIME", help="Mean time to repair it."),
    _scaling(
        "--retries",
        type=int,
        metavar="N",
        help="How often a request lost with a replica is tried again; without limit if absent.",
    ),
)

_BATCHING: tuple[Option, ...] = (
    _batching(
        "--batching",
        default="none",
        show_default=True,
        metavar="MODE",
        help="What serves together: none, static:N, continuous or disaggregated:P:D.",
    ),
    _batching(
        "--max-batched-tokens",
        type=int,
        metavar="N",
        help=f"Tokens of one step of continuous batching. [default: {MAX_BATCHED_TOKENS}]",
    ),
    _batching(
        "--max-num-seqs",
        type=int,
        metavar="N",
        help=f"Requests that run at once in it. [default: {MAX_SEQUENCES}]",
    ),
    _batching(
        "--kv-blocks",
        type=int,
        metavar="N",
        help=f"KV-cache blocks of {BLOCK_TOKENS} tokens; reckoned from the GPU if absent.",
    ),
    _batching(
        "--priority",
        type=click.Choice([order.value for order in Order]),
        default=Order.FCFS.value,
        show_default=True,
        help="Who is served first; trace: the lowest of its column 'priority'.",
    ),
    _batching(
        "--prefix-cache",
        type=click.Choice(["on", "off"]),
        help="Skip what another prompt has cached. [default: on where the trace has block hashes]",
    ),
    _batching(
        "--hash-tokens",
        type=int,
        default=HASH_TOKENS,
        show_default=True,
        metavar="N",
        help="Tokens that a block hash of the trace tells of.",
    ),
    _batching(
        "--link-gb-per-s",
        type=float,
        metavar="X",
        help=f"Between P prefilling and D decoding replicas. [default: {LINK_GB_PER_S:g}, assumed]",
    ),
)

_CLOCKS: tuple[Option, ...] = (
    _clocks(
        "--switch-latency",
        default=f"{SWITCH_LATENCY_S:g}",
        show_default=True,
        metavar="TIME",
        help="How long a change of clock stalls a replica (assumed unless given).",
    ),
    _clocks(
        "--min-dwell", default="0", show_default=True, metavar="TIME", help="Keep a clock so long."
    ),
    _clocks("--idle-power-w", type=float, metavar="W", help="Power of an idle replica."),
    _clocks(
        "--max-slowdown",
        type=float,
        default=0.1,
        show_default=True,
        metavar="X",
        help="How much phase-aware may slow each phase.",
    ),
    _clocks(
        "--beyond-measured",
        is_flag=True,
        help="Let policies use clocks below the measured ones, where curves are transferred.",
    ),
)

_QUALITY: tuple[Option, ...] = (
    _quality(
        "--quality-from",
        metavar="NAME|FILE",
        help="Outcomes to give the queries: joined by id, or dealt by length (assumed).",
        files=WHOLE,
    ),
    _quality(
        "--quality-of",
        multiple=True,
        metavar="MODEL=NAME",
        help="MODEL answers as NAME does in outcomes and predictor (assumed).",
    ),
    _quality(
        "--predictor",
        metavar="NAME|FILE",
        help="What predicts quality from the trace's text: see `calibrate difficulty`.",
        files=WHOLE,
    ),
)

_FIGURES: tuple[Option, ...] = (
    _figure("--slo", metavar="LIMITS", help="Such as ttft=1s,tpot=50ms,e2e=30s."),
    _figure("--seed", type=int, default=0, show_default=True, help="Seed of every draw."),
)

BASELINE: Option = _policies(
    "--baseline",
    default="max-frequency",
    show_default=True,
    metavar="POLICY",
    help="What savings are counted against.",
    files=POLICY_FILE,
)

WARM_UP: Option = _figure(
    "--warm-up",
    default="0",
    show_default=True,
    metavar="TIME|auto",
    help="Leave the begin out of all figures; auto: as much as MSER-5 says.",
)

REPLAY: tuple[Option, ...] = (
    _policies(
        "--policy",
        "policies",
        multiple=True,
        default=("phase-aware",),
        show_default=True,
        metavar="POLICY",
        help="What decides clocks and models; may be repeated.",
        files=POLICY_FILE,
    ),
    BASELINE,
    _figure(
        "--draws",
        type=int,
        default=20,
        show_default=True,
        metavar="N",
        help="Draws of the curves' coefficients behind each interval; 0: no intervals.",
    ),
    WARM_UP,
    _figure(
        "--by",
        "by",
        multiple=True,
        metavar="WAY",
        help="Also break down by model, task or window:TIME; may be repeated.",
    ),
    _figure("--token-times", is_flag=True, help="Write the time of every token, too."),
    *COST_OPTIONS,
)
"""What `simulate` itself takes beside the shared options: which policies, and what is counted."""

_SHARED = (*_TRACE, *_FLEET, *_SCALING, *_BATCHING, *_CLOCKS, *_QUALITY, *_FIGURES)

OUTPUT: tuple[Option, ...] = (
    _output(
        "-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write results here."
    ),
    _output("--json", "as_json", is_flag=True, help="Print as JSON, for machines."),
    _output("-v", "--verbose", is_flag=True, help="Say what is being done."),
)


def said(*more: Option) -> Callable[[F], F]:
    """Return a decorator that adds the shared options, then ``more``, in that order of help."""

    def decorate(function: F) -> F:
        decorated: Any = function
        for option in reversed((*_SHARED, *more)):
            decorated = option(decorated)
        return cast("F", decorated)

    return decorate


def options(*more: Option) -> Callable[[F], F]:
    """Return a decorator that adds what :func:`said` adds, and a scenario file that says it."""

    def decorate(function: F) -> F:
        return _SCENARIO(said(*more)(function))

    return decorate


def epilog() -> str:
    """Return the line that help ends with: what is shipped."""
    return (
        f"Shipped traces: {', '.join(traces.known_traces())}. "
        f"Shipped calibrations: {', '.join(shipped_names())}."
    )
