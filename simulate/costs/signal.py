"""What a kilowatt-hour is worth, or emits, at every moment of a run.

In: a constant, or values and when each begins. Out: values at moments, and energy weighted by them.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from model.provenance import Origin
from model.work import Array
from phasewatt.errors import OutOfRange

JOULES_PER_KWH = 3.6e6

_ROUNDING = 1e-9
"""How far, relatively, sums of seconds may lie beyond the end of a series and still be in it."""


@dataclass(frozen=True)
class Signal:
    """A piecewise constant figure per kWh: currency, or grams of CO2e.

    Attributes:
        name: how the user calls it, in errors: the option and the file.
        values: one or more, per kWh.
        begins_s: the moment of the run from which each value holds, increasing.
        end_s: until when the last value holds; None for a constant, which always did and will.
        wraps: whether the series starts over, before its begin and after its end.
        origin: where the values are from.
    """

    name: str
    values: tuple[float, ...]
    begins_s: tuple[float, ...]
    end_s: float | None
    wraps: bool
    origin: Origin

    def at(self, time_s: ArrayLike) -> Array:
        """Return the value at each moment, of the shape of ``time_s``.

        Raises:
            OutOfRange: a moment lies outside a series that does not start over.
        """
        moments_s = np.asarray(time_s, dtype=np.float64)
        if self.is_constant:
            return np.full(moments_s.shape, self.values[0])
        self._require(moments_s)
        _, within_s = self._turns(moments_s)
        place = np.searchsorted(self._edges_s, within_s, side="right") - 1
        return np.asarray(self.values)[np.clip(place, 0, len(self.values) - 1)]

    def integral(self, start_s: ArrayLike, duration_s: ArrayLike, power_w: ArrayLike) -> float:
        """Return the sum over intervals of level power of energy in kWh times the value then.

        All three broadcast; an interval may span any number of values.

        Raises:
            OutOfRange: an interval lies outside a series that does not start over.
        """
        starts_s, durations_s, powers_w = np.broadcast_arrays(
            *(np.asarray(each, dtype=np.float64) for each in (start_s, duration_s, power_w))
        )
        if self.is_constant:
            return self.values[0] * math.fsum((durations_s * powers_w).flat) / JOULES_PER_KWH
        ends_s = starts_s + durations_s
        self._require(starts_s)
        self._require(ends_s)
        over = self._until(ends_s) - self._until(starts_s)
        return math.fsum((over * powers_w).flat) / JOULES_PER_KWH

    def mean(self, from_s: float, to_s: float) -> float:
        """Return the mean value from ``from_s`` to ``to_s``, where power is level."""
        if self.is_constant:
            return self.values[0]
        if to_s <= from_s:
            return float(self.at(from_s))
        return self.integral(from_s, to_s - from_s, JOULES_PER_KWH) / (to_s - from_s)

    @property
    def words(self) -> str:
        """As a person reads it: the constant, or from least to most."""
        if self.is_constant:
            return f"{self.values[0]:g}"
        return f"{min(self.values):g} to {max(self.values):g}"

    @property
    def is_constant(self) -> bool:
        """Whether it has one value, always."""
        return self.end_s is None

    @property
    def _edges_s(self) -> Array:
        """Begins and the end, from the first begin on."""
        return np.array([*self.begins_s, self._last_s]) - self.begins_s[0]

    @property
    def _last_s(self) -> float:
        return math.inf if self.end_s is None else self.end_s

    def _turns(self, moments_s: Array) -> tuple[Array, Array]:
        """Return how often the series has started over at each moment, and how far it is in."""
        since_s = moments_s - self.begins_s[0]
        if not self.wraps:
            return np.zeros(moments_s.shape), since_s
        turns, within_s = np.divmod(since_s, self._last_s - self.begins_s[0])
        return turns, within_s

    def _until(self, moments_s: Array) -> Array:
        """Return the value integrated from the first begin to each moment, times seconds."""
        edges_s = self._edges_s
        total = np.concatenate([[0.0], np.cumsum(np.diff(edges_s) * np.array(self.values))])
        turns, within_s = self._turns(moments_s)
        return np.asarray(turns * total[-1] + np.interp(within_s, edges_s, total))

    def _require(self, moments_s: Array) -> None:
        if self.wraps or not moments_s.size:
            return
        first_s, last_s = float(moments_s.min()), float(moments_s.max())
        reach_s = _ROUNDING * max(abs(self._last_s), abs(self.begins_s[0]), 1.0)
        if self.begins_s[0] - reach_s <= first_s and last_s <= self._last_s + reach_s:
            return
        raise OutOfRange(
            f"{self.name}: it covers {self.begins_s[0]:,.0f} s to {self._last_s:,.0f} s of a run "
            f"that asks for {first_s:,.0f} s to {last_s:,.0f} s; expected a series that covers "
            "it, another begin (,from=TIME), or one that starts over (,wrap)"
        )


def constant(name: str, value: float, origin: Origin) -> Signal:
    """Return a signal of one value, always."""
    return Signal(name, (value,), (0.0,), None, False, origin)
