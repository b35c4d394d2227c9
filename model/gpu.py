"""A GPU as the curves see it: its clocks, its power limit, its idle power.

In: facts with their origin. Out: the clock that holds when one asks for another.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from model.curves import Domain
from model.provenance import STRICT, Origin
from model.work import Array, Work
from phasewatt.errors import OutOfRange

_BISECTIONS = 45
"""Halvings of a clock range: 2000 MHz / 2^45 is far below any clock's resolution."""


class Load(Protocol):
    """What a GPU must know of its load to hold a clock: :class:`model.curves.Curves`, or a mix."""

    @property
    def model(self) -> str:
        """The model that runs."""
        ...

    @property
    def phase(self) -> str:
        """What kind of step it is."""
        ...

    @property
    def domain(self) -> Domain:
        """The ranges that were measured."""
        ...

    @property
    def governor_limit_w(self) -> float | None:
        """The power at which the untouched GPU holds it; None for the nominal limit."""
        ...

    @property
    def power_varies(self) -> bool:
        """Whether its power depends on the step."""
        ...

    def power_w(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the mean power during each step in watts."""
        ...

    def power_relative_sd(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the standard error of log(power) of a newly measured step."""
        ...

    def power_of(self, work: Work) -> Callable[[ArrayLike], Array]:
        """Return the power of ``work`` as a function of the SM clock alone."""
        ...

    def require_clock(self, sm_mhz: ArrayLike) -> None:
        """Raise :class:`OutOfRange` unless every clock lies inside the calibrated domain."""
        ...


@dataclass(frozen=True, config=STRICT)
class Gpu:
    """One kind of GPU.

    Attributes:
        name: what the driver calls it.
        sm_mhz_step: distance between two clocks that can be requested.
        power_limit_w: the limit that an untouched GPU of this kind runs under.
        idle_power_w: power with a model loaded and nothing to do; None if nobody knows.
        origins: for each figure above, its kind and source.
        sm_mhz_max: the highest SM clock that can be requested; None if nobody told.
        memory_bytes: size of its memory; None if nobody told.
    """

    name: str
    sm_mhz_step: float
    power_limit_w: float
    idle_power_w: float | None
    origins: dict[str, Origin]
    sm_mhz_max: float | None = None
    memory_bytes: float | None = None

    @model_validator(mode="after")
    def _physical(self) -> "Gpu":
        for field in ("sm_mhz_step", "power_limit_w"):
            if getattr(self, field) <= 0:
                raise ValueError(f"{field} is {getattr(self, field):g}; expected more than 0")
        if self.idle_power_w is not None and self.idle_power_w < 0:
            raise ValueError(f"idle_power_w is {self.idle_power_w:g}; expected 0 or more")
        if self.sm_mhz_max is not None and self.sm_mhz_max <= 0:
            raise ValueError(f"sm_mhz_max is {self.sm_mhz_max:g}; expected more than 0")
        if self.memory_bytes is not None and self.memory_bytes <= 0:
            raise ValueError(f"memory_bytes is {self.memory_bytes:g}; expected more than 0")
        return self

    def clocks_mhz(self, curves: Load) -> Array:
        """Return the clocks that can be requested inside the calibrated domain, ascending."""
        low, high = curves.domain.sm_mhz
        high = min(high, self.sm_mhz_max or np.inf)
        steps = np.arange(np.ceil(low / self.sm_mhz_step), high // self.sm_mhz_step + 1)
        return np.asarray(steps * self.sm_mhz_step)

    def limit_w(self, curves: Load, cap_w: float | None = None) -> float:
        """Return the power that the governor holds this load to, under a cap of ``cap_w``.

        The untouched governor may hold a load below the nominal limit (``governor_limit_w``); a
        cap above the nominal limit lifts that.
        """
        nominal_w = self.power_limit_w if cap_w is None else cap_w
        if curves.governor_limit_w is None or nominal_w > self.power_limit_w:
            return nominal_w
        return min(nominal_w, curves.governor_limit_w)

    def settle(
        self, requested_mhz: ArrayLike, curves: Load, work: Work, cap_w: float | None = None
    ) -> Array:
        """Return the clock that holds for each step when ``requested_mhz`` is asked for.

        That is the requested clock, or the one at which power equals the limit where the requested
        one would draw more. Shape: that of the work, or of the requested clocks where power does
        not depend on the work.

        A load that draws more than the limit at the lowest calibrated clock, but no more than the
        power's own error could be, is held there.

        Raises:
            OutOfRange: the clock that would hold lies outside the calibrated domain.
        """
        low, high = curves.domain.sm_mhz
        limit_w = self.limit_w(curves, cap_w)
        if not curves.power_varies:
            work = work.at(slice(0, 1))
        asked, _ = np.broadcast_arrays(
            np.asarray(requested_mhz, dtype=np.float64), np.empty(work.shape)
        )
        power_w = curves.power_of(work)
        at_bottom_w = power_w(low)
        if np.any(at_bottom_w > limit_w) and _clearly_above(
            curves, work, low, at_bottom_w, limit_w
        ):
            raise OutOfRange(
                f"a power limit of {limit_w:g} W is below the {float(at_bottom_w.max()):.1f} W "
                f"that {curves.phase} of {curves.model} draws at {low:g} MHz, its lowest "
                "calibrated clock"
            )
        within = np.minimum(asked, high)
        capped = np.asarray(power_w(within) > limit_w)
        settled: Array = within.copy()
        if np.any(capped):
            which = np.broadcast_to(capped, settled.shape)
            chosen = work.at(np.broadcast_to(which, work.shape)) if work.shape != (1,) else work
            settled[which] = _clock_at_power(curves, chosen, limit_w, low, within[which])
        uncapped_above = (asked > high) & ~capped
        curves.require_clock(np.where(uncapped_above, asked, settled))
        return settled


_Z_95 = 1.96


def _clearly_above(curves: Load, work: Work, sm_mhz: float, power_w: Array, limit_w: float) -> bool:
    """Whether any power is above the limit by more than its 95% interval."""
    reach = _Z_95 * curves.power_relative_sd(work, sm_mhz)
    return bool(np.any(np.log(power_w / limit_w) > reach))


def _clock_at_power(curves: Load, work: Work, limit_w: float, low: float, high: Array) -> Array:
    power_w = curves.power_of(work)
    below, above = np.full_like(high, low), high.copy()
    for _ in range(_BISECTIONS):
        middle = (below + above) / 2
        over = power_w(middle) > limit_w
        above = np.where(over, middle, above)
        below = np.where(over, below, middle)
    return below
