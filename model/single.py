"""The price of one step of structured curves in plain numbers: arrays of one are slow.

In: one phase's curves, and their parts per count of a step as :mod:`model.affine` works them out.
Out: seconds, watts and clocks, the same as those of arrays to rounding.
"""

from bisect import bisect_left
from dataclasses import fields
from typing import NamedTuple

from model.activity import LEAST_VOLTAGE
from model.curves import Curves
from model.pricing import Step
from model.shape import Parts
from model.work import Array

_NAMES = [field.name for field in fields(Parts)]
_PARTS = len(_NAMES)
_NEWTON_STEPS = 3


class Level(NamedTuple):
    """What a step draws: static power, and what multiplies x V(x)^2, in watts."""

    static_w: float
    dynamic_w: float


class Single:
    """Prices single steps by ``curves``.

    ``matrix`` holds the parts of a time at x = 1 and what each gains as 1 / x does, per count;
    ``grid`` and ``switched`` table x V(x)^2, to start from.
    """

    def __init__(self, curves: Curves, matrix: Array, grid: Array, switched: Array) -> None:
        time, power = curves.time, curves.power
        total = time.definition.total
        assert total is not None
        self._total, self._theta = total, tuple(time.theta)
        self._rows = [tuple(row) for row in matrix.tolist()]
        self._time_scale, self._time_mhz = time.scale, time.reference_mhz
        value, scale = power.coefficients, power.scale
        self._static_w = scale * value["static_w"], scale * value.get("memory_static_w", 0.0)
        self._dynamic_w = scale * value["memory_dynamic_w"], scale * value["compute_dynamic_w"]
        self._power_mhz = power.reference_mhz
        self._slope, self._knee = value["voltage_slope"], value.get("knee", 0.0)
        self._grid, self._switched = grid.tolist(), switched.tolist()

    def parts(self, step: Step) -> list[float]:
        """Return the parts of a time at x = 1, then what each gains as 1 / x rises by 1."""
        batch, tokens, pairs, decoding, context = step
        walk = context / decoding if decoding else 0.0
        return [
            one + a * batch + b * tokens + c * pairs + d * decoding + e * context + f * walk
            for one, a, b, c, d, e, f in self._rows
        ]

    def time_s(self, parts: list[float], sm_mhz: float) -> float:
        """Return the time of a step with ``parts`` at ``sm_mhz``."""
        slow = self._time_mhz / sm_mhz - 1
        held = [at_one + slow * gain for at_one, gain in zip(parts, parts[_PARTS:], strict=False)]
        return self._time_scale * float(self._total(self._theta, Parts(*held)))  # type: ignore[arg-type]

    def level(self, parts: list[float]) -> Level:
        """Return what a step with ``parts`` draws."""
        at_one = parts[:_PARTS]
        whole_s = float(self._total(self._theta, Parts(*at_one)))  # type: ignore[arg-type]
        named = dict(zip(_NAMES, at_one, strict=True))
        compute = named["compute_s"] / whole_s
        memory = (named["memory_s"] + named.get("stream_s", 0.0)) / whole_s
        return Level(
            self._static_w[0] + self._static_w[1] * memory,
            self._dynamic_w[0] * memory + self._dynamic_w[1] * compute,
        )

    def clock_mhz(self, switched: float) -> float:
        """Return the clock at which x V(x)^2 is ``switched``."""
        grid, table = self._grid, self._switched
        above = min(max(bisect_left(table, switched), 1), len(table) - 1)
        low, high = table[above - 1], table[above]
        share = (switched - low) / (high - low) if high > low else 0.0
        x = grid[above - 1] + min(max(share, 0.0), 1.0) * (grid[above] - grid[above - 1])
        for _ in range(_NEWTON_STEPS):
            voltage = 1 - self._slope * (1 - max(x, self._knee))
            held = max(voltage, LEAST_VOLTAGE)
            level = x <= self._knee or voltage <= LEAST_VOLTAGE
            slope = held * (held + (0.0 if level else 2 * self._slope) * x)
            x -= (x * held**2 - switched) / slope
        return float(x * self._power_mhz)
