"""oracle: the least energy above idle that any clock could give each step; a bound, no policy.

In: prices of steps. Out: prices at the clocks of least energy, free of switches and of the steps
between two clocks that can be requested, to a millionth.

The energy of a run is its idle power over its whole span, plus, of each step, what it draws above
idle: (P - P idle) x t. A clock decides the second. This governor takes the least of it for each
step, over all clocks of the calibrated range that the power limit lets hold. So no run that makes
the same steps draws less over the same span, whatever its clocks; and where requests are served
one at a time, every run makes the same steps. Where steps depend on the time when others end, as in
batches, another policy may come to make fewer and larger steps, and draw less than this one.
"""

from dataclasses import dataclass

import numpy as np

from model.pricing import Priced, Step, StepPrices
from model.work import Array, Phase, Work
from policies.governor import UNLOCKED_MHZ, Governor, Setting, no_argument

_GRID = 24
"""Clocks that are tried first, for the first step and the last of a run."""

_SECTIONS = 18
"""Golden sections of what is left then: to 1e-4 of it, and to a millionth in energy even where it
bends sharply, as at the knee of a voltage curve."""

_GOLDEN = (np.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Oracle:
    """Locks nothing itself: :meth:`reprice` chooses. ``idle_power_w`` is the GPU's."""

    idle_power_w: float
    name: str = "oracle"
    cap_w: float | None = None
    idle_mhz: float | None = None

    def request_mhz(self, phase: Phase, work: Work) -> Array:
        """Return no lock."""
        del phase
        return np.full(work.shape, UNLOCKED_MHZ)

    def reprice(self, prices: StepPrices) -> StepPrices:
        """Return ``prices`` at the clocks of least energy above idle."""
        return LeastPrices(prices, self.idle_power_w)


def oracle(argument: str, setting: Setting) -> Governor:
    """Return the bound; see the module.

    Raises:
        BadPolicy: an argument.
    """
    no_argument("oracle", argument)
    return Oracle(setting.idle_power_w or 0.0)


@dataclass(frozen=True)
class LeastPrices:
    """Steps at the clocks of least (P - ``idle_power_w``) x t; what is asked for is ignored."""

    prices: StepPrices
    idle_power_w: float

    def price(self, step: Step, steps: int, asked_mhz: float) -> Priced:
        """Return what ``step`` costs, ``steps`` times over, each at its own best clock."""
        del asked_mhz
        low_mhz = self.prices.lowest_mhz(step)
        top_mhz = self.prices.price(step, steps, UNLOCKED_MHZ).sm_mhz
        ends = [self._near(step, low_mhz, float(top_mhz[0]))]
        if steps > 1:
            last = step._replace(
                context_tokens=step.context_tokens + step.decode_batch * (steps - 1)
            )
            ends.append(self._near(last, low_mhz, float(top_mhz[-1])))
        below = np.minimum(min(low for low, _ in ends), top_mhz)
        above = np.minimum(max(high for _, high in ends), top_mhz)
        ends_j = [self._above_idle_j(step, steps, clocks) for clocks in (below, above)]
        chosen, least_j = self._section(step, steps, below, above)
        for clocks, spent_j in zip((below, above), ends_j, strict=True):
            chosen = np.where(spent_j < least_j, clocks, chosen)
            least_j = np.minimum(spent_j, least_j)
        return self.prices.at_clocks(step, steps, chosen)

    def _section(self, step: Step, steps: int, below: Array, above: Array) -> tuple[Array, Array]:
        """Return the clocks between those given at which the least is drawn, and how much."""
        left, right = above - _GOLDEN * (above - below), below + _GOLDEN * (above - below)
        left_j, right_j = (self._above_idle_j(step, steps, clocks) for clocks in (left, right))
        for _ in range(_SECTIONS):
            goes_left = left_j < right_j
            above, below = np.where(goes_left, right, above), np.where(goes_left, below, left)
            kept, kept_j = np.where(goes_left, left, right), np.where(goes_left, left_j, right_j)
            width = _GOLDEN * (above - below)
            tried = np.where(goes_left, above - width, below + width)
            tried_j = self._above_idle_j(step, steps, tried)
            left, right = np.where(goes_left, tried, kept), np.where(goes_left, kept, tried)
            left_j = np.where(goes_left, tried_j, kept_j)
            right_j = np.where(goes_left, kept_j, tried_j)
        goes_left = left_j < right_j
        return np.where(goes_left, left, right), np.where(goes_left, left_j, right_j)

    def prefill_time_share(self, step: Step, sm_mhz: float) -> float:
        """Return the part of a mixed step that is prefill's."""
        return self.prices.prefill_time_share(step, sm_mhz)

    def at_clocks(self, step: Step, steps: int, sm_mhz: Array) -> Priced:
        """Return what ``step`` costs at clocks that are given."""
        return self.prices.at_clocks(step, steps, sm_mhz)

    def lowest_mhz(self, step: Step) -> float:
        """Return the lowest clock at which such a step was calibrated."""
        return self.prices.lowest_mhz(step)

    def capped(self, cap_w: float) -> "LeastPrices":
        """Return the prices under another power limit."""
        return LeastPrices(self.prices.capped(cap_w), self.idle_power_w)

    def _near(self, step: Step, low_mhz: float, top_mhz: float) -> tuple[float, float]:
        """Return the clocks of a grid on either side of its best one, for a single step."""
        grid = np.linspace(low_mhz, top_mhz, _GRID)
        best = int(np.argmin(self._above_idle_j(step, 1, grid)))
        return float(grid[max(best - 1, 0)]), float(grid[min(best + 1, _GRID - 1)])

    def _above_idle_j(self, step: Step, steps: int, sm_mhz: Array) -> Array:
        priced = self.prices.at_clocks(step, steps, sm_mhz)
        return priced.time_s * (priced.power_w - self.idle_power_w)
