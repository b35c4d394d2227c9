"""What a governor that looks expects of a step: its time at any clock, from its calibration.

In: a setting. Out: the clocks that it may ask for, as levels, and searches among them. What the
governor expects rests on the curves as calibrated, whatever the curves of a run are drawn to be.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.pricing import Step, StepPrices
from model.step_prices import prices_of
from model.work import Array, Phase, Work
from phasewatt.errors import OutOfRange
from policies.governor import Setting, best_clock_mhz


@dataclass(frozen=True)
class Forecast:
    """The clocks that can be requested for both phases, and what steps take at them.

    Attributes:
        prices: what prices a step.
        clocks_mhz: requestable clocks inside both phases' calibrated ranges, ascending: levels.
        floor: for each phase the level of least energy on its typical step.
    """

    prices: StepPrices
    clocks_mhz: tuple[float, ...]
    floor: Mapping[Phase, int]

    @staticmethod
    def of(setting: Setting) -> "Forecast":
        """Return what ``setting`` lets one expect.

        Raises:
            OutOfRange: no clock can be requested that both phases were calibrated at.
        """
        prefill, decode = (setting.curves[phase] for phase in Phase)
        clocks = np.intersect1d(setting.gpu.clocks_mhz(prefill), setting.gpu.clocks_mhz(decode))
        if not clocks.size:
            raise OutOfRange(
                f"no clock that {setting.gpu.name} can be asked for lies inside the calibrated "
                f"ranges of both phases of {prefill.model}"
            )
        prices = prices_of(prefill, decode, setting.gpu, None, setting.mixes)
        floor = {
            phase: int(np.searchsorted(clocks[:-1], best_clock_mhz(phase, setting, _energy_j)))
            for phase in Phase
        }
        return Forecast(prices, tuple(clocks.tolist()), floor)

    @property
    def top(self) -> int:
        """The highest level."""
        return len(self.clocks_mhz) - 1

    def time_s(self, step: Step, level: int) -> float:
        """Return the seconds of one step at a level."""
        return float(self.prices.price(step, 1, self.clocks_mhz[level]).time_s[0])

    def times_s(self, step: Step, steps: int, level: int) -> Array:
        """Return the seconds of each of ``steps`` repetitions at a level, shape (steps,)."""
        return self.prices.price(step, steps, self.clocks_mhz[level]).time_s

    def least_within(self, step: Step, limit_s: float, floor: int, guess: int) -> int:
        """Return the lowest level at which a step takes no more than ``limit_s``."""
        return self.least_level(lambda level: self.time_s(step, level) <= limit_s, floor, guess)

    def least_level(self, fits: Callable[[int], bool], floor: int, guess: int) -> int:
        """Return the lowest level from ``floor`` on that ``fits``, or the highest with none.

        ``fits`` holds at every level above one at which it holds; ``guess`` is where the search
        begins, and costs least where it is right.
        """
        low, high = floor, self.top
        guess = min(max(guess, floor), self.top)
        if fits(guess):
            high = guess
            if guess > floor and not fits(guess - 1):
                return guess
            high = max(guess - 1, floor)
        else:
            low = min(guess + 1, self.top)
        while low < high:
            middle = (low + high) // 2
            if fits(middle):
                high = middle
            else:
                low = middle + 1
        return low


def clocks_within(forecast: Forecast, limit_s: float, phase: Phase, work: Work) -> Array:
    """Return for each step of ``work`` the lowest clock that takes no more than ``limit_s``.

    Not below the phase's clock of least energy; the highest where none does. Shape (n,).
    """
    found = []
    for counts in np.stack([*vars(work).values()], axis=-1).tolist():
        step = Step(*counts)
        floor = forecast.floor[phase]
        level = forecast.least_within(step, limit_s, floor, floor)
        found.append(forecast.clocks_mhz[level])
    return np.array(found)


def repetitions(holds: NDArray[np.bool_]) -> int:
    """Return how many of the first entries hold, at least one, shape (steps,)."""
    broken = np.flatnonzero(~holds)
    return max(1, int(broken[0])) if broken.size else holds.size


def _energy_j(energy_j: Array, time_s: Array) -> Array:
    del time_s
    return energy_j
