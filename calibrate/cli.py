"""The command line of ``calibrate``: hardware or tables in, calibrations out.

In: words. Out: files and tables. Each command lives in its own module of
:mod:`calibrate.commands`, which is imported only when that command is called.
"""

from importlib import import_module

import click

from phasewatt import __version__
from phasewatt.console import Commands

COMMANDS = {
    "doctor": "Say what this machine allows, and what to do about each no.",
    "run": "Measure prefill and decode on a GPU and fit a calibration.",
    "fit": "Fit a calibration from a table of measurements or a log of a run.",
    "show": "Print and draw a calibration.",
    "check": "Compare the predictions of a calibration with logs, seen or held out.",
    "regimes": "Say what sets the pace of each step: launches, memory, compute or power.",
    "predict": "Predict time, power and energy of one step.",
    "difficulty": "Predict which model answers which query well.",
    "transfer": "Predict a model that was not measured, from its geometry.",
    "optimum": "Say at which clock each phase takes the least energy, beside public GPUs.",
    "shapes": "Learn from public GPUs what clocks do below a measured range.",
}


class LazyCommands(Commands):
    """Names every command and imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which a user meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command named ``cmd_name``, or None."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"calibrate.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyCommands)
@click.version_option(__version__, prog_name="calibrate")
def main() -> None:
    """Measure what prefill and decode cost on a GPU, and fit curves that `simulate` reads."""
