"""``simulate`` without a command: policies against a baseline on one trace."""

from dataclasses import replace
from pathlib import Path

from phasewatt.console import note, out, print_json
from simulate.compare import compare, planned_queries, require_sensible
from simulate.document import summary
from simulate.report import print_comparison
from simulate.results import write_results
from simulate.shell import replaying, results_in, say
from simulate.words import Words, inputs_of_words


def replay(words: Words, output: Path | None, as_json: bool, verbose: bool) -> None:
    """Replay what ``words`` say; print the table, or JSON; write the results into ``output``."""
    inputs = inputs_of_words(words)
    require_sensible(inputs.scenario)
    say(verbose, f"{inputs.trace!r}; calibration {inputs.calibration.name}")
    with results_in(output) as directory:
        planned = planned_queries(inputs.trace, inputs.scenario)
        with replaying(planned, verbose) as advance:
            compared = compare(inputs.trace, inputs.calibration, inputs.scenario, advance)
        comparison = replace(compared, words=words)
        if directory is not None:
            write_results(comparison, directory)
    if as_json:
        print_json(summary(comparison))
    else:
        print_comparison(out(), comparison)
    if output is not None:
        more = "parts.parquet, " if inputs.scenario.by else ""
        more += "tokens.parquet, " if inputs.scenario.token_times else ""
        tables = f"requests.parquet, power.parquet, {more}"
        note(f"wrote {output}/: report.html, summary.json, curves.json, {tables}plots")
