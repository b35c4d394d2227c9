"""One replica: a GPU that serves one query at a time, and the clock that it is set to.

In: the queries that are routed to it. Out: when each started, got its first token and finished and
what it cost, as columns, and on the meter all that the replica did. One SimPy event per service.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, cast

import numpy as np
import simpy

from model.work import Array, Phase
from simulate.fleet import Fleet
from simulate.meter import Meter, State

OffClock = Callable[[int, Phase, float], tuple[float, float, float]]
"""(query, phase, requested MHz) -> (time_s, power_w, sm_mhz) at a clock that it did not ask for."""

View: TypeAlias = "memoryview[float]"
"""A column as the event loop reads it: indexing one costs a third of indexing an array."""

_ADVANCE_EVERY = 1000
_IDLE, _SWITCHING = int(State.IDLE), int(State.SWITCHING)


class PhaseViews(NamedTuple):
    """One phase of every query: what it costs alone, and where its energy and end are written."""

    phase: Phase
    state: int
    time_s: View
    power_w: View
    sm_mhz: View
    requested_mhz: View
    energy_j: View
    end_s: View


@dataclass
class Course:
    """What the replicas of one run share, and how far the run has got.

    ``phases`` are prefill and decode. ``outstanding`` holds, for each replica, how many queries it
    was given and has not finished; ``to_arrive`` and ``finished`` count queries of the whole run.
    """

    environment: simpy.Environment
    fleet: Fleet
    arrival_s: View
    start_s: View
    switching_j: View
    phases: tuple[PhaseViews, ...]
    off_clock: OffClock
    advance: Callable[[int], None]
    meter: Meter
    outstanding: list[int]
    to_arrive: int
    finished: int = 0


class Replica:
    """A GPU and the queries that wait for it, first come first served.

    ``free_s`` is when it is done with what it has begun. It is reckoned from arrivals and costs
    alone: SimPy's own clock adds up delays, which rounds, and only orders the events.
    """

    def __init__(self, number: int, course: Course) -> None:
        self.free_s = 0.0
        self._number = number
        self._course = course
        self._fleet = course.fleet
        self._environment = course.environment
        self._record = course.meter.add
        self._arrival_s = course.arrival_s
        self._start_s = course.start_s
        self._switching_j = course.switching_j
        self._phases = course.phases
        self._waiting: deque[int] = deque()
        self._busy = False
        self._set_mhz = course.fleet.idle_mhz
        self._may_change_s = -np.inf
        self._power_before_w = course.fleet.idle_power_w

    def take(self, query: int) -> None:
        """Serve ``query``, which arrives now, after those that wait."""
        if self._busy:
            self._waiting.append(query)
        else:
            self._serve(query)

    def idle_until(self, end_s: float) -> None:
        """Record that the replica has nothing to do until ``end_s``."""
        if end_s > self.free_s:
            idle_w = self._fleet.idle_power_w
            self._record(self._number, _IDLE, self.free_s, end_s - self.free_s, np.nan, idle_w)
            self.free_s = end_s

    def _serve(self, query: int) -> None:
        self._busy = True
        self.idle_until(self._arrival_s[query])
        at_s = self._start_s[query] = self.free_s
        for phase, state, time_s, power_w, sm_mhz, asked_mhz, energy_j, end_s in self._phases:
            left_s = time_s[query]
            if left_s > 0:
                watts, held_mhz, wanted_mhz = power_w[query], sm_mhz[query], asked_mhz[query]
                spent_j = 0.0
                if wanted_mhz != self._set_mhz:
                    if at_s < self._may_change_s:
                        share, spent_j, at_s = self._run_at_old_clock(query, phase, state, at_s)
                        left_s *= share
                    if left_s > 0:
                        switching_j, at_s = self._switch(wanted_mhz, held_mhz, watts, at_s)
                        self._switching_j[query] += switching_j
                if left_s > 0:
                    self._record(self._number, state, at_s, left_s, held_mhz, watts)
                    self._power_before_w = watts
                    at_s += left_s
                energy_j[query] = spent_j + left_s * watts
            end_s[query] = at_s
        self.free_s = at_s
        wait_s = at_s - self._environment.now
        self._environment.timeout(max(wait_s, 0.0)).callbacks.append(self._finish)

    def _run_at_old_clock(
        self, query: int, phase: Phase, state: int, at_s: float
    ) -> tuple[float, float, float]:
        """Run while the dwell lasts: the share of the phase left, joules spent, the time then."""
        assert self._set_mhz is not None
        old_s, old_w, old_mhz = self._course.off_clock(query, phase, self._set_mhz)
        ran_s = min(old_s, self._may_change_s - at_s)
        self._record(self._number, state, at_s, ran_s, old_mhz, old_w)
        self._power_before_w = old_w
        return 1 - ran_s / old_s, ran_s * old_w, at_s + ran_s

    def _switch(
        self, wanted_mhz: float, held_mhz: float, power_after_w: float, at_s: float
    ) -> tuple[float, float]:
        """Change the clock: the joules that it takes, the time when it is done."""
        first, self._set_mhz = self._set_mhz is None, wanted_mhz
        if first:
            return 0.0, at_s
        stall_s = self._fleet.switch_latency_s
        watts = max(self._power_before_w, power_after_w)
        if stall_s > 0:
            self._record(self._number, _SWITCHING, at_s, stall_s, held_mhz, watts)
        self._may_change_s = at_s + stall_s + self._fleet.min_dwell_s
        return stall_s * watts, at_s + stall_s

    def _finish(self, _event: object) -> None:
        course = self._course
        course.outstanding[self._number] -= 1
        course.finished += 1
        if course.finished % _ADVANCE_EVERY == 0 or course.finished == len(self._arrival_s):
            course.advance((course.finished - 1) % _ADVANCE_EVERY + 1)
        if self._waiting:
            self._serve(self._waiting.popleft())
        else:
            self._rest()

    def _rest(self) -> None:
        self._busy = False
        idle_mhz, idle_w = self._fleet.idle_mhz, self._fleet.idle_power_w
        if (
            idle_mhz is not None
            and idle_mhz != self._set_mhz
            and self.free_s >= self._may_change_s
            and self._course.to_arrive
        ):
            # Whoever arrives during the stall starts when the replica is free again: no event.
            _, self.free_s = self._switch(idle_mhz, idle_mhz, idle_w, self.free_s)
        self._power_before_w = idle_w


def view_of(column: Array) -> View:
    """Return a view of ``column``, shape (n,); writes to the view of a float array reach it."""
    return cast(View, np.ascontiguousarray(column, dtype=np.float64).data)
