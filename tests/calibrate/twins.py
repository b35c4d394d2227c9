"""Twins and points that several tests measure."""

from dataclasses import replace

import numpy as np

from calibrate.bench import Engine, Point
from calibrate.twin import (
    Faults,
    StepCost,
    TwinBench,
    TwinGpu,
    TwinSampler,
    VirtualClock,
    twin_truth,
)
from model.work import Phase

WEIGHTS = 8e9
LAUNCHES = 400

DECODE = Point("8B", Engine.CUDA_GRAPH, Phase.DECODE, 1, 0, 1024)
PREFILL = Point("8B", Engine.CUDA_GRAPH, Phase.PREFILL, 4, 2048, 0)


def cost(point):
    tokens = point.batch * (point.prompt_tokens if point.phase is Phase.PREFILL else 1)
    cached = point.batch * (point.prompt_tokens + point.context_tokens)
    return StepCost(2 * WEIGHTS, 131072 * cached, 2 * WEIGHTS * tokens, LAUNCHES, point.engine)


def twin(truth=None, seed=0, **faults):
    clock = VirtualClock()
    rng = np.random.default_rng(seed).spawn(3)
    gpu = TwinGpu(truth or twin_truth("twin:h100"), clock, rng[0], Faults(**faults))
    return gpu, TwinBench(gpu, cost, rng[1]), TwinSampler(gpu, rng[2])


def quiet(name="h100", **changes):
    """A preset without noise and without heat."""
    silence = {"step_noise": 0.0, "run_noise": 0.0, "power_noise": 0.0, "leakage_w_per_k": 0.0}
    return replace(twin_truth(name), **{**silence, **changes})
