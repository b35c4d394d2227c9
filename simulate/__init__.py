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

__all__ = [
    "ClockGrid",
    "Comparison",
    "Scenario",
    "Slo",
    "Sweep",
    "clock_grid",
    "compare",
    "summary",
    "sweep_clocks",
    "write_results",
]
