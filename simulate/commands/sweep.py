"""``simulate sweep``: every setting of some options, on all cores or on a cluster."""

from pathlib import Path
from typing import Any

import click

from phasewatt.console import note, out, print_json, progress
from phasewatt.errors import BadOption
from phasewatt.files import whole_directory
from simulate.costs.options import COST_OPTIONS
from simulate.options import BASELINE, OUTPUT, WARM_UP, epilog, options
from simulate.topics import POLICY_FILE, ByTopic, Topical
from simulate.words import default_words


@click.command("sweep", cls=ByTopic, epilog=epilog())
@options(
    click.option(
        "--grid",
        "grids",
        multiple=True,
        metavar="OPTION=VALUES",
        help="An axis: any option here, as replicas=1:16, policy=a,b or rate-scale=0.5,1,2; with "
        "';' between values that hold commas. May be repeated.",
    ),
    click.option(
        "--seeds",
        type=int,
        default=1,
        show_default=True,
        metavar="N",
        help="Run every point N times, each with its own --seed; a recorded trace has its queries "
        "shuffled among its arrivals by it.",
    ),
    click.option("--prefill-mhz", metavar="A:B:STEP", help="Prefill clocks; or a list A,B,C."),
    click.option("--decode-mhz", metavar="A:B:STEP", help="Decode clocks; or a list A,B,C."),
    click.option(
        "--policy",
        "policies",
        multiple=True,
        metavar="POLICY",
        help="Run this policy at each setting; may be repeated. [default: phase-aware; beside "
        "clocks the built-in choices]",
        cls=Topical,
        topic="Policies",
        files=POLICY_FILE,
    ),
    BASELINE,
    click.option(
        "--draws",
        type=int,
        default=0,
        show_default=True,
        metavar="N",
        help="Draws of the curves' coefficients behind each point's interval.",
        cls=Topical,
        topic="Figures",
    ),
    WARM_UP,
    *COST_OPTIONS,
    click.option(
        "--latency",
        default="e2e_p95",
        show_default=True,
        metavar="NAME",
        help="What energy is weighed against: ttft, tpot, itl, e2e or queue, then _p50, _p95 or "
        "_p99.",
    ),
    click.option(
        "--jobs", type=int, metavar="N", help="Processes that run points. [default: all cores]"
    ),
    click.option(
        "--dask", metavar="ADDRESS", help="Run points on this Dask cluster: tcp://host:8786."
    ),
    *OUTPUT,
)
def command(
    grids: tuple[str, ...],
    seeds: int,
    prefill_mhz: str | None,
    decode_mhz: str | None,
    policies: tuple[str, ...],
    latency: str,
    jobs: int | None,
    dask: str | None,
    output: Path | None,
    as_json: bool,
    verbose: bool,
    **given: Any,
) -> None:
    """Replay a trace at every setting of some options, and mark the Pareto front.

    Without --grid, the options are the clocks of prefill and decode, nine each, spread over what
    was calibrated. Rows are kept in DIR as they are done: what is there does not run again.
    """
    from simulate.sweep.axes import CLOCKS, POLICY, clock_axis, parse_axes
    from simulate.sweep.document import sweep_summary, write_sweep
    from simulate.sweep.plan import MARKED
    from simulate.sweep.sweep import engine_of, prepare_sweep, run_sweep
    from simulate.sweep.table import print_sweep

    axes = list(parse_axes(grids))
    for name, written in zip(CLOCKS, (prefill_mhz, decode_mhz), strict=True):
        if written is not None:
            axes = [*(axis for axis in axes if axis.name != name), clock_axis(name, written)]
    over_clocks = not axes or any(axis.name in CLOCKS for axis in axes)
    words = {**default_words(), **given}
    if policies and any(axis.name == POLICY for axis in axes):
        raise BadOption("--policy: --grid policy names them; leave one out")
    if policies or over_clocks:
        words["policies"] = policies or MARKED
    engine = engine_of(jobs, dask)
    prepared = prepare_sweep(words, axes, seeds, latency)
    with prepared.store(output) as store:
        missing, points = len(prepared.missing(store)), len(prepared.tasks)
        if output is not None or verbose:
            note(f"{missing:,} of {points:,} points to run")
        try:
            with progress("sweeping", points) as advance:
                swept = run_sweep(prepared, store, engine, latency, advance)
        except BaseException:
            kept = points - len(prepared.missing(store))
            if output is not None:
                note(f"{kept:,} of {points:,} points are kept in {output}/points")
            raise
    if output is not None:
        with whole_directory(output) as directory:
            write_sweep(swept, directory)
    if as_json:
        print_json(sweep_summary(swept))
    else:
        print_sweep(out(), swept)
    if output is not None:
        note(f"wrote {output}/: report.html, sweep.json, sweep.parquet, sweep.png; each in points/")
