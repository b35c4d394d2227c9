"""A simulated GPU with known truth, for laptops and for tests that recover that truth.

In: a preset name such as ``twin:h100`` and a seed. Out: the same :class:`calibrate.gpu.Gpu`,
:class:`calibrate.bench.Bench` and sampler as a real GPU gives, in virtual time.
"""

from calibrate.twin.bench import TwinBench
from calibrate.twin.clock import VirtualClock
from calibrate.twin.cost import step_cost
from calibrate.twin.device import Faults, TwinGpu
from calibrate.twin.sampler import TwinSampler
from calibrate.twin.truth import GEMM, PRESETS, StepCost, TwinTruth, twin_truth

__all__ = [
    "GEMM",
    "PRESETS",
    "Faults",
    "StepCost",
    "TwinBench",
    "TwinGpu",
    "TwinSampler",
    "TwinTruth",
    "VirtualClock",
    "step_cost",
    "twin_truth",
]
