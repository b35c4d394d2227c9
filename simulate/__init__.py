"""Replay query traces under policies that choose models and clocks, and say what it cost.

In: a trace, a calibration, a scenario. Out: outcomes, comparisons, sweeps, reports. Every command
of ``simulate`` is a thin shell over one of these functions.
"""

from simulate.compare import Comparison, compare
from simulate.document import summary
from simulate.explore import explore
from simulate.metrics import Slo
from simulate.plan.planning import Plan, plan
from simulate.results import write_report, write_results
from simulate.scenario import Scenario
from simulate.scenario_check import CheckedScenario, check_scenario_file
from simulate.scenario_file import read_scenario_file, words_of, words_of_summary
from simulate.scenario_text import scenario_text
from simulate.sweep.axes import Axis, parse_axes
from simulate.sweep.sweep import Sweep, sweep
from simulate.words import Words, command_line, default_words, inputs_of_words, worded

__all__ = [
    "Axis",
    "CheckedScenario",
    "Comparison",
    "Plan",
    "Scenario",
    "Slo",
    "Sweep",
    "Words",
    "check_scenario_file",
    "command_line",
    "compare",
    "default_words",
    "explore",
    "inputs_of_words",
    "parse_axes",
    "plan",
    "read_scenario_file",
    "scenario_text",
    "summary",
    "sweep",
    "worded",
    "words_of",
    "words_of_summary",
    "write_report",
    "write_results",
]
