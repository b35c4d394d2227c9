"""The physically structured forms of power: what a step draws, by what keeps the GPU busy.

In: powers of busy memory and compute, the voltage curve of the GPU, a step's activity. Out: watts
for every batch, length and clock together.
"""

from itertools import product

import numpy as np
import scipy

from model.shape import Coefficient, Coefficients, Form, Inputs
from model.work import Array


def activity_power(knee: bool, memory_static: bool) -> Form:
    """Return the power form with or without a voltage floor, and static power of busy memory."""
    marks = ["no floor"] * (not knee) + ["one static"] * (not memory_static)
    name = f"activity ({', '.join(marks)})" if marks else "activity"
    coefficients = (
        _VOLTAGE_SLOPE,
        *([_KNEE] if knee else []),
        _STATIC,
        *([_MEMORY_STATIC] if memory_static else []),
        _MEMORY_DYNAMIC,
        _COMPUTE_DYNAMIC,
    )
    names = [c.name for c in coefficients]

    def evaluate(c: Coefficients, at: Inputs) -> Array:
        value = dict(zip(names, c, strict=True))
        assert at.activity is not None
        memory, compute = at.activity.memory, at.activity.compute
        static_w = value["static_w"] + value.get("memory_static_w", _NONE) * memory
        dynamic_w = value["memory_dynamic_w"] * memory + value["compute_dynamic_w"] * compute
        floor = value.get("knee", _NONE)
        return static_w + dynamic_w * switching(at.clock, value["voltage_slope"], floor)

    def starts(target: Array, at: Inputs) -> list[list[float]]:
        return _power_starts(target, at, knee, memory_static)

    return Form(
        name=name,
        formula=(
            f"P = P0{' + Pm m' if memory_static else ''} + (Dm m + Dc c) x V^2, "
            f"V = 1 - s (1 - {'max(x, x_k)' if knee else 'x'}); "
            "m, c = shares of time that memory, compute take at x = 1"
        ),
        coefficients=coefficients,
        evaluate=evaluate,
        starts=starts,
        varies_with_work=True,
        needs_activity=True,
    )


def switching(clock: Array, slope: Array, knee: Array) -> Array:
    """Return x V(x)^2 with V relative to the voltage at the reference clock; it rises with x."""
    voltage = 1 - slope * (1 - np.maximum(clock, knee))
    return np.asarray(clock * np.maximum(voltage, LEAST_VOLTAGE) ** 2)


_LEAST_START = 0.01
"""No power starts below this share of the least that was measured, so that a fit can raise it."""

_NONE = np.zeros(())

_MOST_W = 5000.0
"""No board draws more for one purpose; powers of a share that no step shows end here."""

LEAST_VOLTAGE = 0.2
"""No GPU runs below this share of its highest voltage; it keeps extrapolated power rising."""

_VOLTAGE_SLOPE = Coefficient(
    "voltage_slope",
    "1/f_ref",
    0.0,
    4.0,
    "fall of voltage below that at the reference clock, as a fraction",
    of_gpu=True,
    assumed=(1.0, 0.5),
)
_KNEE = Coefficient(
    "knee", "f_ref", 0.05, 1.0, "relative clock below which voltage is level", of_gpu=True
)
_STATIC = Coefficient("static_w", "W", 0.0, _MOST_W, "power that neither clock nor work changes")
_MEMORY_STATIC = Coefficient(
    "memory_static_w", "W", 0.0, _MOST_W, "power of busy memory that the SM clock does not change"
)
_MEMORY_DYNAMIC = Coefficient(
    "memory_dynamic_w", "W", 0.0, _MOST_W, "dynamic power of busy memory at the reference clock"
)
_COMPUTE_DYNAMIC = Coefficient(
    "compute_dynamic_w", "W", 0.0, _MOST_W, "dynamic power of busy compute at the reference clock"
)


def _power_starts(target: Array, at: Inputs, knee: bool, memory_static: bool) -> list[list[float]]:
    """Return the three voltage curves of a grid that fit best, each with its best powers."""
    assert at.activity is not None
    memory, compute = at.activity.memory, at.activity.compute
    lowest = float(at.clock.min())
    knees = np.linspace(lowest, 1.0, 12)[:-1] if knee else [0.0]
    tried = []
    for slope, floor in product(np.geomspace(0.05, 3.2, 13), knees):
        factor = switching(at.clock, np.asarray(slope), np.asarray(floor))
        columns = [np.ones_like(target), *([memory] if memory_static else [])]
        columns += [memory * factor, compute * factor]
        powers_w, misfit = scipy.optimize.nnls(
            np.column_stack(columns) / target[:, None], np.ones(target.size)
        )
        floors = [float(floor)] if knee else []
        started_w = np.maximum(powers_w, _LEAST_START * target.min())
        tried.append((misfit, [float(slope), *floors, *started_w.tolist()]))
    return [start for _, start in sorted(tried, key=lambda each: each[0])[:3]]


ACTIVITY_FORMS: tuple[Form, ...] = tuple(
    activity_power(knee, memory_static) for knee, memory_static in product((True, False), repeat=2)
)
"""Power while a step runs; x = f / f_ref, V is voltage relative to that at x = 1."""
