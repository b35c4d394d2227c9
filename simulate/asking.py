"""How the clock of a step is asked for: of governors that look at their replica, and of others.

In: governors, and what a replica is about to compute. Out: the clock asked for, for how many
repetitions of the step, what prices it, and whether other replicas are to ask again.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from model.pricing import Priced, Step, StepPrices
from phasewatt.errors import OutOfRange
from policies import Governor, Looking, PhaseClocks, Pilot, Situation, Watch
from policies.governor import requested_mhz
from simulate.course import Course
from simulate.fleet import Fleet
from simulate.scheduler import Plan, Scheduler


class Prices(Protocol):
    """What prices a step; :class:`model.pricing.StepPrices`, as far as a run needs it."""

    def price(self, step: Step, steps: int, asked_mhz: float) -> Priced:
        """Return what ``step`` costs, ``steps`` times over, at the clock that holds."""
        ...


Answer = tuple[float, int, Prices, bool]
"""Clock, repetitions, prices under the power limit in force, whether others are to ask again."""


class Asks(Protocol):
    """Asks for one replica. ``looks`` says whether what arrives may change the answer."""

    looks: bool

    def of(
        self, plan: Plan, at_s: float, set_mhz: float | None, scheduler: Scheduler, watch: Watch
    ) -> Answer:
        """Return what is asked for the step that ``plan`` holds, which begins at ``at_s``."""
        ...

    def rest(self) -> bool:
        """Take note that the replica falls idle; return whether others are to ask again."""
        ...


def asks_of(governor: Governor, prices: StepPrices, course: Course, fleet: Fleet) -> Sequence[Asks]:
    """Return what asks ``governor`` for each replica of ``fleet``.

    Raises:
        BadPolicy: the governor cannot serve so many.
    """
    if not isinstance(governor, Looking):
        return [_Blind(governor, prices)] * fleet.replicas
    pilots = governor.crew(fleet.replicas, fleet.idle_power_w)
    return [_Seeing(pilot, prices, course, governor.coupled) for pilot in pilots]


class _Blind:
    looks = False

    def __init__(self, governor: Governor, prices: StepPrices) -> None:
        self._governor, self._prices = governor, prices
        self._fixed = governor.clocks_mhz if type(governor) is PhaseClocks else None

    def of(
        self, plan: Plan, at_s: float, set_mhz: float | None, scheduler: Scheduler, watch: Watch
    ) -> Answer:
        del at_s, set_mhz, scheduler, watch
        step, steps = plan.step, plan.steps
        if self._fixed is not None:
            return self._fixed[step.phase], steps, self._prices, False
        asked = requested_mhz(self._governor, step.phase, step.work(steps))
        others = np.flatnonzero(asked != asked[0])
        same = int(others[0]) if others.size else steps
        return float(asked[0]), same, self._prices, False

    def rest(self) -> bool:
        return False


class _Strict:
    """Prices under a power limit that is kept to the watt, or the run ends."""

    def __init__(self, prices: StepPrices, cap_w: float) -> None:
        self._prices, self._cap_w = prices.capped(cap_w), cap_w

    def price(self, step: Step, steps: int, asked_mhz: float) -> Priced:
        priced = self._prices.price(step, steps, asked_mhz)
        most_w = float(priced.power_w.max())
        if most_w > self._cap_w * (1 + 1e-9):
            raise OutOfRange(
                f"a share of {self._cap_w:.1f} W of the fleet's power is below the {most_w:.1f} W "
                f"that a {step.phase} step draws at its lowest calibrated clock"
            )
        return priced


class _Seeing:
    looks = True

    def __init__(self, pilot: Pilot, prices: StepPrices, course: Course, coupled: bool) -> None:
        self._pilot = pilot
        self._prices = prices
        self._now: Prices = prices
        self._course = course
        self._coupled = coupled
        self._cap_w: float | None = None
        self._busy = False

    def of(
        self, plan: Plan, at_s: float, set_mhz: float | None, scheduler: Scheduler, watch: Watch
    ) -> Answer:
        decision = self._pilot.decide(self._situation(plan, at_s, set_mhz, scheduler, watch))
        changed = not self._busy or decision.cap_w != self._cap_w
        if decision.cap_w != self._cap_w:
            self._cap_w = decision.cap_w
            self._now = self._prices if self._cap_w is None else _Strict(self._prices, self._cap_w)
        self._busy = True
        steps = min(plan.steps, decision.steps)
        return decision.asked_mhz, steps, self._now, changed and self._coupled

    def rest(self) -> bool:
        self._pilot.rest()
        self._busy = False
        return self._coupled

    def _situation(
        self, plan: Plan, at_s: float, set_mhz: float | None, scheduler: Scheduler, watch: Watch
    ) -> Situation:
        arrival_s = self._course.arrival_s
        line = scheduler.line
        begun = [arrival_s[chunk.request] for chunk in plan.chunks]
        last_s = arrival_s[line.last()] if line else max(begun, default=at_s)
        return Situation(
            now_s=at_s,
            step=plan.step,
            steps=plan.steps,
            set_mhz=set_mhz,
            waiting=len(line),
            prompt_tokens=scheduler.uncomputed_tokens(),
            first_wait_s=at_s - arrival_s[line.first()] if line else 0.0,
            last_wait_s=at_s - last_s,
            prefill_wait_s=at_s - min(begun) if begun else None,
            kv_used=1 - scheduler.free_blocks / scheduler.kv_blocks,
            watch=watch,
        )
