"""``simulate plan``: the cheapest fleet that keeps its latencies, and how surely."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from phasewatt.console import note, out, print_json, progress
from simulate.costs.objective import parse_objective
from simulate.costs.options import PLAN_COST_OPTIONS, growth_of
from simulate.options import OUTPUT, REPLAY, epilog, options
from simulate.shell import results_in, say
from simulate.topics import ByTopic

NOTHING_KEPT_EXIT = 1
"""What the command ends with where no candidate keeps its promise: the answer is no."""

_BAR = 8
"""Runs that a candidate takes, more or less, for the length of the bar."""


@click.command("plan", cls=ByTopic, epilog=epilog())
@options(
    *REPLAY,
    click.option(
        "--grid",
        "grids",
        multiple=True,
        metavar="OPTION=VALUES",
        help="Try each of these: calibration=h100-sxm,h200-sxm, model=A,B, batching=none,"
        "continuous, tensor-parallel=1,2; with ';' between values that hold commas. May be "
        "repeated. [default: batching=none,continuous]",
    ),
    click.option(
        "--percentile",
        default="99",
        show_default=True,
        metavar="P|NAME=P,...",
        help="Of requests that meet each limit of --slo: 99, or ttft=99,tpot=95.",
    ),
    click.option(
        "--confidence",
        type=float,
        default=0.95,
        show_default=True,
        metavar="X",
        help="With which probability a new run meets them all.",
    ),
    click.option(
        "--seeds",
        type=int,
        default=5,
        show_default=True,
        metavar="N",
        help="Runs behind a promise: of other draws of trace and curves.",
    ),
    click.option("--max-gpus", type=int, metavar="N", help="GPUs of the whole fleet."),
    click.option("--rack-power-w", type=float, metavar="W", help="Peak of GPUs and hosts."),
    click.option("--site-power-w", type=float, metavar="W", help="Peak of these times the PUE."),
    click.option(
        "--power-window",
        default="10s",
        show_default=True,
        metavar="TIME",
        help="Peaks are the highest means over this: 100ms, 1s, 10s or 60s.",
    ),
    click.option("--min-quality", type=float, metavar="X", help="Mean quality of the answers."),
    *PLAN_COST_OPTIONS,
    click.option("--jobs", type=int, metavar="N", help="Processes that run. [default: all cores]"),
    *OUTPUT,
)
@click.pass_context
def command(
    context: click.Context,
    /,
    grids: tuple[str, ...],
    percentile: str,
    confidence: float,
    seeds: int,
    max_gpus: int | None,
    rack_power_w: float | None,
    site_power_w: float | None,
    power_window: str,
    min_quality: float | None,
    jobs: int | None,
    output: Path | None,
    as_json: bool,
    verbose: bool,
    **given: Any,
) -> int:
    """Find the cheapest fleet that keeps latencies for a trace, among many kinds of fleets.

    How many replicas each kind needs is found by bounds from the curves, by runs, and by what
    several runs promise. Ends with 1 where no kind keeps the promise, and tells the nearest.
    """
    from simulate.metrics import parse_slo
    from simulate.plan.candidates import BATCHING, POLICIES
    from simulate.plan.document import plan_document, write_plan
    from simulate.plan.goals import Goals, latency_goals
    from simulate.plan.planning import plan
    from simulate.plan.report import print_plan
    from simulate.sweep.axes import axis_of, parse_axes

    words = {key: value for key, value in given.items() if key not in _OWN}
    axes = list(parse_axes(grids))
    named = {axis.name for axis in axes}
    if "policy" not in named and _is_default(context, "policies"):
        words["policies"] = POLICIES
    if "batching" not in named and _is_default(context, "batching"):
        axes.append(axis_of("batching", BATCHING))
    goals = Goals(
        latency_goals(None if words["slo"] is None else parse_slo(words["slo"]), percentile),
        confidence=confidence,
        rack_power_w=rack_power_w,
        site_power_w=site_power_w,
        window=power_window,
        max_gpus=max_gpus,
        min_quality=min_quality,
    )
    objective, growth = parse_objective(given["objective"]), growth_of(given)
    with results_in(output) as directory:
        with progress("planning", _BAR * len(words["policies"]) * len(axes)) as advance:
            found = plan(words, goals, objective, axes, growth, seeds, jobs, advance)
        say(verbose, f"{len(found.candidates)} candidates, {found.simulated} runs")
        if directory is not None:
            write_plan(found, directory)
    if as_json:
        print_json(plan_document(found))
    else:
        print_plan(out(), found)
    if output is not None:
        replay = "" if found.choice is None else ", summary.json and what else a replay writes"
        note(f"wrote {output}/: report.html, plan.json, plan.parquet{replay}")
    return 0 if found.choice is not None else NOTHING_KEPT_EXIT


_OWN = ("objective", "growth", "horizon")


def _is_default(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.DEFAULT
