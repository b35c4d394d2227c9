"""The command line of ``simulate``: a trace and curves in, tables and plots out.

In: words. Out: one table, or a directory of results. Without a command it replays; every command
lives in its own module of :mod:`simulate.commands`, which is imported only when it is called.
"""

from pathlib import Path
from typing import Any

import click

from phasewatt import __version__
from phasewatt.console import LazyCommands
from phasewatt.errors import BadOption, UserError
from simulate.options import OUTPUT, REPLAY, epilog, options
from simulate.topics import ByTopic

COMMANDS = {
    "plan": "Find the cheapest fleet that keeps latencies.",
    "sweep": "Replay a trace at every setting of some options, on all cores or a cluster.",
    "explore": "Move clocks, load and fleet on a local page, and see what they cost.",
    "scenario": "Write or check a file that says what a command line says.",
    "report": "Build the page of results again, or compare several on one page.",
    "reproduce": "Run a paper again: its tables beside ours.",
}


class Simulate(LazyCommands, ByTopic):
    """The commands; an error about what a scenario file says names its line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see :class:`click.Group`."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            from simulate.scenario_file import blamed_on_file

            raise blamed_on_file(ctx, error) from None


@click.group(
    cls=Simulate,
    package="simulate.commands",
    lazy=COMMANDS,
    invoke_without_command=True,
    epilog=epilog(),
)
@click.version_option(__version__, prog_name="simulate")
@options(*REPLAY, *OUTPUT)
@click.pass_context
def main(
    context: click.Context,
    /,
    output: Path | None,
    as_json: bool,
    verbose: bool,
    **words: Any,
) -> None:
    """Replay a trace of queries under each POLICY and under a baseline, on the same arrivals.

    Policies: max-frequency, fixed:MHZ, power-cap:W, phase-aware (or
    phase-aware:prefill=MHZ,decode=MHZ), min-energy, min-edp, min-ed2p, FILE.py:NAME;
    single:MODEL+POLICY chooses the model too.
    """
    if context.invoked_subcommand is not None:
        _refuse_stray_options(context)
        return
    from simulate.commands.replay import replay

    replay(words, output, as_json, verbose)


def _refuse_stray_options(context: click.Context) -> None:
    source = click.core.ParameterSource.COMMANDLINE
    stray = [p for p in context.params if context.get_parameter_source(p) is source]
    if stray:
        raise BadOption(
            f"options before '{context.invoked_subcommand}' belong to `simulate` itself: "
            f"write them after '{context.invoked_subcommand}'"
        )
