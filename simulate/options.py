"""The options that every command of ``simulate`` shares: which trace, which curves, which fleet.

In: a command. Out: the command with its options, and what its help ends with.
"""

from collections.abc import Callable
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

REPLAY: tuple[Option, ...] = (
    click.option(
        "--policy",
        "policies",
        multiple=True,
        default=("phase-aware",),
        show_default=True,
        metavar="POLICY",
        help="What decides clocks and models; may be repeated.",
    ),
    click.option(
        "--baseline",
        default="max-frequency",
        show_default=True,
        metavar="POLICY",
        help="What savings are counted against.",
    ),
    click.option(
        "--draws",
        type=int,
        default=20,
        show_default=True,
        metavar="N",
        help="Draws of the curves' coefficients behind each interval; 0: no intervals.",
    ),
    click.option(
        "--warm-up",
        default="0",
        show_default=True,
        metavar="TIME|auto",
        help="Leave the begin out of all figures; auto: as much as MSER-5 says.",
    ),
    click.option(
        "--by",
        "by",
        multiple=True,
        metavar="WAY",
        help="Also break down by model, task or window:TIME; may be repeated.",
    ),
    click.option("--token-times", is_flag=True, help="Write the time of every token, too."),
    *COST_OPTIONS,
)
"""What `simulate` itself takes beside the shared options: which policies, and what is counted."""

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


def epilog() -> str:
    """Return the line that help ends with: what is shipped."""
    return (
        f"Shipped traces: {', '.join(traces.known_traces())}. "
        f"Shipped calibrations: {', '.join(shipped_names())}."
    )
