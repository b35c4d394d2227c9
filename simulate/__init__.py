"""Replay query traces under policies that choose models and clocks, and say what it cost.

In: a trace, a calibration, a scenario. Out: outcomes, comparisons, sweeps, reports. Every command
of ``simulate`` is a thin shell over one of these functions.
"""

from simulate.compare import Comparison, compare
from simulate.document import summary
from simulate.metrics import Slo
from simulate.results import write_results
from simulate.scenario import Scenario
from simulate.sweep import ClockGrid, Sweep, clock_grid, sweep_clocks
from simulate.words import Words, command_line, default_words, inputs_of_words, worded

__all__ = [
    "ClockGrid",
    "Comparison",
    "Scenario",
    "Slo",
    "Sweep",
    "Words",
    "clock_grid",
    "command_line",
    "compare",
    "default_words",
    "inputs_of_words",
    "summary",
    "sweep_clocks",
    "worded",
    "write_results",
]
