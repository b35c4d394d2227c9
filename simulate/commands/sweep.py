"""``simulate sweep``: the trace at every pair of prefill and decode clocks."""

from pathlib import Path
from typing import Any

import click

from phasewatt.console import note, out, print_json
from simulate.inputs import inputs_of
from simulate.options import OUTPUT, epilog, options
from simulate.shell import replaying, results_in
from simulate.topics import ByTopic


@click.command("sweep", cls=ByTopic, epilog=epilog())
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
def command(
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
    with results_in(output) as directory:
        with replaying(planned_queries(trace, scenario, grid), verbose) as advance:
            swept = sweep_clocks(trace, calibration, scenario, grid, latency, advance)
        if directory is not None:
            write_sweep(swept, directory)
    if as_json:
        print_json(sweep_summary(swept))
    else:
        print_sweep(out(), swept)
    if output is not None:
        note(f"wrote {output}/: sweep.json, sweep.parquet, sweep.png")
