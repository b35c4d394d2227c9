"""The clock of least energy that curves imply, and how sure that is.

In: curves, a GPU and a step. Out: an :class:`Optimum`: the clock, the interval over draws of what
the curves do not know, and what it saves against the clock that an untouched GPU holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.curves import Curves
from model.fitted import Normals
from model.gpu import Gpu
from model.work import Array, Work
from phasewatt.errors import OutOfRange

DRAWS = 100
"""Draws behind each interval."""

NEAR = 0.01
"""Energies within this share of the least are hardly more than it."""


@dataclass(frozen=True)
class Optimum:
    """The clock at which a step takes the least energy, of those that can be asked for.

    Attributes:
        sm_mhz, low_mhz, high_mhz: that clock, and the middle 95% of those that draws of the curves'
            coefficients (and shapes below the measured clocks) lead to.
        near_mhz: the lowest and the highest clock that take within :data:`NEAR` of the least.
        from_mhz, to_mhz: the clocks considered: those in range that hold under the power limit.
        stock_mhz: the clock that an untouched GPU holds.
        saving: share of the energy at that clock which the clock of least energy saves.
        slowdown: how much longer the step takes, as a fraction.
    """

    sm_mhz: float
    low_mhz: float
    high_mhz: float
    near_mhz: tuple[float, float]
    from_mhz: float
    to_mhz: float
    stock_mhz: float
    saving: float
    slowdown: float

    @property
    def at_lowest(self) -> bool:
        """Whether it is the lowest clock considered, so that energy may fall on below it."""
        return self.sm_mhz <= self.from_mhz


def draws_of(curves: Curves, count: int = DRAWS, seed: int = 0) -> tuple[Curves, ...]:
    """Return ``count`` draws of what is not known of ``curves``: coefficients, shapes."""
    rng = np.random.default_rng(seed)
    return tuple(curves.drawn(Normals(rng)) for _ in range(count))


def least_energy(curves: Curves, drawn: Sequence[Curves], gpu: Gpu, work: Work) -> Optimum:
    """Return the clock of least energy of ``work``, a single step, on an otherwise untouched GPU.

    ``drawn`` are draws of ``curves``: the interval is over them.

    Raises:
        OutOfRange: no clock that can be requested lies in the range and holds under the limit.
    """
    stock_mhz = float(np.ravel(gpu.settle(curves.domain.sm_mhz[1], curves, work))[0])
    clocks = gpu.clocks_mhz(curves)
    clocks = clocks[clocks <= stock_mhz]
    if clocks.size == 0:
        low, high = curves.domain.sm_mhz
        raise OutOfRange(
            f"{curves.phase} of {curves.model}: no clock that can be requested, in steps of "
            f"{gpu.sm_mhz_step:g} MHz, lies between {low:g} and {high:g} MHz and holds"
        )
    best_mhz = _best(curves, work, clocks)
    others_mhz = [_best(other, work, clocks) for other in drawn]
    low_mhz, high_mhz = np.quantile(others_mhz, (0.025, 0.975))
    each_j = curves.energy_j(work, clocks)
    near = clocks[each_j <= (1 + NEAR) * each_j.min()]
    both = np.array([best_mhz, stock_mhz])
    energy_j, time_s = curves.energy_j(work, both), curves.time_s(work, both)
    return Optimum(
        sm_mhz=best_mhz,
        low_mhz=float(low_mhz),
        high_mhz=float(high_mhz),
        near_mhz=(float(near[0]), float(near[-1])),
        from_mhz=float(clocks[0]),
        to_mhz=float(clocks[-1]),
        stock_mhz=stock_mhz,
        saving=float(1 - energy_j[0] / energy_j[1]),
        slowdown=float(time_s[0] / time_s[1] - 1),
    )


def _best(curves: Curves, work: Work, clocks: Array) -> float:
    return float(clocks[int(np.argmin(curves.energy_j(work, clocks)))])
