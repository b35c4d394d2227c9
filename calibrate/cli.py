"""The command line of ``calibrate``: hardware or tables in, calibrations out.

In: words. Out: files and tables. Each command lives in its own module of
:mod:`calibrate.commands`, which is imported only when that command is called.
"""

import click

from phasewatt import __version__
from phasewatt.console import LazyCommands

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


@click.group(cls=LazyCommands, package="calibrate.commands", lazy=COMMANDS)
@click.version_option(__version__, prog_name="calibrate")
def main() -> None:
    """Measure what prefill and decode cost on a GPU, and fit curves that `simulate` reads."""
