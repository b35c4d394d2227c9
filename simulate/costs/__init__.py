"""What energy is worth: money, carbon, host power, hardware, and growth of load.

In: prices, intensities, factors. Out: bills of runs and of analytic rates, and objectives on them.
"""

from model.host import HostPower
from simulate.costs.bill import Bill
from simulate.costs.costs import Costs, Rate
from simulate.costs.growth import Growth, parse_growth
from simulate.costs.hardware import Hardware, Kit
from simulate.costs.objective import Objective, parse_objective
from simulate.costs.options import costs_of, given_costs, growth_of, objective_of
from simulate.costs.signal import Signal

__all__ = [
    "Bill",
    "Costs",
    "Growth",
    "Hardware",
    "HostPower",
    "Kit",
    "Objective",
    "Rate",
    "Signal",
    "costs_of",
    "given_costs",
    "growth_of",
    "objective_of",
    "parse_growth",
    "parse_objective",
]
