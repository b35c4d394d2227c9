"""The command line of ``simulate``: a trace and curves in, tables and plots out.

In: words. Out: one table, or a directory of results. Every command is a thin shell over one public
function.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

from phasewatt import __version__
from phasewatt.console import Commands, note, out, print_json, progress
from phasewatt.errors import BadOption
from phasewatt.files import whole_directory
from simulate.inputs import inputs_of
from simulate.options import OUTPUT, epilog, options

DEFAULT_POLICY = "phase-aware"


@click.group(cls=Commands, invoke_without_command=True, epilog=epilog())
@click.version_option(__version__, prog_name="simulate")
@options(
    click.option(
        "--policy",
        "policies",
        multiple=True,
        metavar="POLICY",
        help=f"What decides clocks and models; may be repeated. [default: {DEFAULT_POLICY}]",
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
    *OUTPUT,
)
@click.pass_context
def main(
    context: click.Context,
    /,
    policies: tuple[str, ...],
    baseline: str,
    draws: int,
    warm_up: str,
    by: tuple[str, ...],
    token_times: bool,
    output: Path | None,
    as_json: bool,
    verbose: bool,
    **given: Any,
) -> None:
    """Replay a trace of queries under each POLICY and under a baseline, on the same arrivals.

    Policies: max-frequency, fixed:MHZ, power-cap:W, phase-aware (or
    phase-aware:prefill=MHZ,decode=MHZ), min-energy, min-edp, min-ed2p, FILE.py:NAME;
    single:MODEL+POLICY chooses the model too.
    """
    if context.invoked_subcommand is not None:
        _refuse_stray_options(context)
        return
    from simulate.breakdown import parse_by
    from simulate.compare import compare, planned_queries, require_sensible
    from simulate.document import summary
    from simulate.report import print_comparison
    from simulate.results import write_results
    from simulate.warmup import parse_warm_up

    inputs = inputs_of(
        *(given, policies or (DEFAULT_POLICY,)),
        baseline=baseline,
        draws=draws,
        warm_up=parse_warm_up(warm_up),
        by=tuple(dict.fromkeys(parse_by(way) for way in by)),
        token_times=token_times,
    )
    require_sensible(inputs.scenario)
    _say(verbose, f"{inputs.trace!r}; calibration {inputs.calibration.name}")
    with _results_in(output) as directory:
        planned = planned_queries(inputs.trace, inputs.scenario)
        with _replaying(planned, verbose) as advance:
            comparison = compare(inputs.trace, inputs.calibration, inputs.scenario, advance)
        if directory is not None:
            write_results(comparison, directory)
    if as_json:
        print_json(summary(comparison))
    else:
        print_comparison(out(), comparison)
    if output is not None:
        more = "parts.parquet, " if inputs.scenario.by else ""
        more += "tokens.parquet, " if token_times else ""
        note(f"wrote {output}/: summary.json, requests.parquet, power.parquet, {more}plots")


@main.command("sweep", epilog=epilog())
@options(
    click.option(
        "--policy",
        "policies",
        multiple=True,
        metavar="POLICY",
        help="Mark what this policy picks; may be repeated. [default: the built-in choices]",
    ),
    click.option("--prefill-mhz", metavar="A:B:STEP", help="Prefill clocks; or a list A,B,C."),
    click.option("--decode-mhz", metavar="A:B:STEP", help="Decode clocks; or a list A,B,C."),
    click.option(
        "--latency",
        default="e2e_p95",
        show_default=True,
        metavar="NAME",
        help="What energy is weighed against: ttft_p95, tpot_p95, e2e_p50, e2e_p95 or e2e_p99.",
    ),
    *OUTPUT,
)
def sweep(
    policies: tuple[str, ...],
    prefill_mhz: str | None,
    decode_mhz: str | None,
    latency: str,
    output: Path | None,
    as_json: bool,
    verbose: bool,
    **given: Any,
) -> None:
    """Replay a trace at every pair of prefill and decode clocks, and mark the Pareto front.

    Without ranges, nine clocks of each phase are spread over what was calibrated.
    """
    from simulate.compare import require_sensible
    from simulate.sweep import MARKED, clock_grid, planned_queries, sweep_clocks
    from simulate.sweep_report import print_sweep, sweep_summary, write_sweep

    inputs = inputs_of(given, policies or MARKED, draws=0)
    trace, calibration, scenario = inputs.trace, inputs.calibration, inputs.scenario
    require_sensible(scenario)
    grid = clock_grid(calibration, scenario, prefill_mhz, decode_mhz)
    with _results_in(output) as directory:
        with _replaying(planned_queries(trace, scenario, grid), verbose) as advance:
            swept = sweep_clocks(trace, calibration, scenario, grid, latency, advance)
        if directory is not None:
            write_sweep(swept, directory)
    if as_json:
        print_json(sweep_summary(swept))
    else:
        print_sweep(out(), swept)
    if output is not None:
        note(f"wrote {output}/: sweep.json, sweep.parquet, sweep.png")


@main.command("reproduce")
@click.argument("paper", metavar="PAPER")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write results here."
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, for machines.")
def reproduce_paper(paper: str, output: Path | None, as_json: bool) -> None:
    """Run PAPER again: its tables beside ours, and its use case on measured clocks.

    PAPER is 2501.08219, the one that phasewatt starts from.
    """
    from simulate.reproduction.reproduce import (
        document,
        print_reproduction,
        reproduce,
        write_reproduction,
    )

    with _results_in(output) as directory:
        reproduction = reproduce(paper)
        if directory is not None:
            write_reproduction(reproduction, directory)
    if as_json:
        print_json(document(reproduction))
    else:
        print_reproduction(out(), reproduction)
    if output is not None:
        note(f"wrote {output}/: reproduction.json, published.json, reproduction.png")


def _results_in(output: Path | None) -> AbstractContextManager[Path | None]:
    """Yield the directory to write results into, found writable before any work; None for none."""
    return nullcontext() if output is None else whole_directory(output)


@contextmanager
def _replaying(queries: int, verbose: bool) -> Iterator[Callable[[int], None]]:
    """Yield what tells how many of ``queries`` are done; say at the end how long they took."""
    begun_s = time.monotonic()
    with progress("replaying", queries) as advance:
        yield advance
    _say(verbose, f"replayed in {time.monotonic() - begun_s:.1f} s")


def _refuse_stray_options(context: click.Context) -> None:
    source = click.core.ParameterSource.COMMANDLINE
    stray = [p for p in context.params if context.get_parameter_source(p) is source]
    if stray:
        raise BadOption(
            f"options before '{context.invoked_subcommand}' belong to `simulate` itself: "
            f"write them after '{context.invoked_subcommand}'"
        )


def _say(verbose: bool, message: str) -> None:
    if verbose:
        note(message)
