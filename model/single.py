"""The price of one step of structured curves in plain numbers: arrays of one are slow.

In: one phase's curves, and their parts per count of a step as :mod:`model.affine` works them out.
Out: seconds, watts and clocks, the same as those of arrays to rounding.
"""

from bisect import bisect_left
from collections.abc import Sequence
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
        self._time_scale, self.time_mhz = time.scale, time.reference_mhz
        value, scale = power.coefficients, power.scale
        self._static_w = scale * value["static_w"], scale * value.get("memory_static_w", 0.0)
        self._dynamic_w = scale * value["memory_dynamic_w"], scale * value["compute_dynamic_w"]
        self._power_mhz = power.reference_mhz
        self._slope, self._knee = value["voltage_slope"], value.get("knee", 0.0)
        self._grid, self._switched = grid.tolist(), switched.tolist()

    def parts(self, step: Step) -> list[float]:
        """Return the parts of a time at x = 1, then what each gains as 1 / x rises by 1."""
        return _counted(self._rows, step)

    def time_s(self, parts: list[float], sm_mhz: float) -> float:
        """Return the time of a step with ``parts`` at ``sm_mhz``."""
        slow = self.time_mhz / sm_mhz - 1
        held = [at_one + slow * gain for at_one, gain in zip(parts, parts[_PARTS:], strict=False)]
        return self._time_scale * self.total_s(held)

    def total_s(self, held: list[float]) -> float:
        """Return the time of a step whose parts at its clock are ``held``, before any scale."""
        return float(self._total(self._theta, Parts(*held)))  # type: ignore[arg-type]

    def level(self, parts: list[float]) -> Level:
        """Return what a step with ``parts`` draws."""
        at_one = parts[:_PARTS]
        return self.level_of(at_one, self.total_s(at_one))

    def level_of(self, at_one: list[float], whole_s: float) -> Level:
        """Return what a step draws that takes ``whole_s`` at x = 1, ``at_one`` being its parts."""
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


class MixedSingle:
    """Prices single steps of both phases as :class:`model.mixed.MixedCurves` does.

    ``matrix`` holds the parts of three times as :class:`Single` has them, in seconds of the
    reference clock of ``prefill``: those of the step, of its prefill alone, of its decode alone.
    """

    def __init__(self, prefill: Single, decode: Single, matrix: Array) -> None:
        self._prefill, self._decode = prefill, decode
        self._rows = [tuple(row) for row in matrix.tolist()]

    def parts(self, step: Step) -> list[float]:
        """Return the parts of all three times, and the share of tokens that are prefill."""
        tokens = step.prefill_tokens + step.decode_batch
        return [*_counted(self._rows, step), step.prefill_tokens / tokens]

    def time_s(self, parts: list[float], sm_mhz: float) -> float:
        """Return the time of a step with ``parts`` at ``sm_mhz``."""
        return self._bounded_s(parts, self._prefill.time_mhz / sm_mhz - 1)

    def level(self, parts: list[float]) -> Level:
        """Return what a step with ``parts`` draws."""
        whole_s, at_one, share = self._bounded_s(parts, 0.0), parts[:_PARTS], parts[-1]
        mine, other = (each.level_of(at_one, whole_s) for each in (self._prefill, self._decode))
        return Level(
            share * mine.static_w + (1 - share) * other.static_w,
            share * mine.dynamic_w + (1 - share) * other.dynamic_w,
        )

    def _bounded_s(self, parts: list[float], slow: float) -> float:
        held = [
            [parts[at + i] + slow * parts[at + _PARTS + i] for i in range(_PARTS)]
            for at in (0, 2 * _PARTS, 4 * _PARTS)
        ]
        whole_s, prefill_s = self._prefill.total_s(held[0]), self._prefill.total_s(held[1])
        decode_s = self._decode.total_s(held[2])
        return min(max(whole_s, prefill_s, decode_s), prefill_s + decode_s)


def _counted(rows: Sequence[tuple[float, ...]], step: Step) -> list[float]:
    """Return what ``rows`` of costs per count come to for ``step``."""
    batch, tokens, pairs, decoding, context = step
    walk = context / decoding if decoding else 0.0
    return [
        one + a * batch + b * tokens + c * pairs + d * decoding + e * context + f * walk
        for one, a, b, c, d, e, f in rows
    ]
