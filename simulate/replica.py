"""One replica: a GPU that serves one query at a time, and the clock that it is set to.

In: the queries that are routed to it. Out: when each started, got its first token and finished and
what it cost, as columns, and on the meter all that the replica did. One SimPy event per service.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from model.work import Phase
from simulate.clock import Clock
from simulate.course import Course, View

OffClock = Callable[[int, Phase, float], tuple[float, float, float]]
"""(query, phase, requested MHz) -> (time_s, power_w, sm_mhz) at a clock that it did not ask for."""


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


class Queries(NamedTuple):
    """Every query, as replicas read and write it; ``phases`` are prefill and decode."""

    start_s: View
    switching_j: View
    phases: tuple[PhaseViews, ...]
    off_clock: OffClock


class Replica:
    """A GPU and the queries that wait for it, first come first served.

    ``free_s`` is when it is done with what it has begun. It is reckoned from arrivals and costs
    alone: SimPy's own clock adds up delays, which rounds, and only orders the events.
    """

    def __init__(self, number: int, course: Course, queries: Queries) -> None:
        self.free_s = 0.0
        self._number = number
        self._course = course
        self._environment = course.environment
        self._record = course.meter.add
        self._arrival_s = course.arrival_s
        self._start_s, self._switching_j, self._phases, self._off_clock = queries
        self._waiting: deque[int] = deque()
        self._busy = False
        self._clock = Clock(number, course.fleet, course.meter)

    def take(self, query: int) -> None:
        """Serve ``query``, which arrives now, after those that wait."""
        if self._busy:
            self._waiting.append(query)
        else:
            self._serve(query)

    def idle_until(self, end_s: float) -> None:
        """Record that the replica has nothing to do until ``end_s``."""
        self.free_s = self._clock.idle(self.free_s, end_s)

    def _serve(self, query: int) -> None:
        self._busy = True
        self.idle_until(self._arrival_s[query])
        at_s = self._start_s[query] = self.free_s
        clock = self._clock
        for phase, state, time_s, power_w, sm_mhz, asked_mhz, energy_j, end_s in self._phases:
            left_s = time_s[query]
            if left_s > 0:
                watts, held_mhz, wanted_mhz = power_w[query], sm_mhz[query], asked_mhz[query]
                spent_j = 0.0
                if wanted_mhz != clock.set_mhz:
                    if at_s < clock.may_change_s:
                        share, spent_j, at_s = self._run_at_old_clock(query, phase, state, at_s)
                        left_s *= share
                    if left_s > 0:
                        switching_j, at_s = clock.switch(wanted_mhz, held_mhz, watts, at_s)
                        self._switching_j[query] += switching_j
                if left_s > 0:
                    self._record(self._number, state, at_s, left_s, held_mhz, watts)
                    clock.power_before_w = watts
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
        clock = self._clock
        assert clock.set_mhz is not None
        old_s, old_w, old_mhz = self._off_clock(query, phase, clock.set_mhz)
        ran_s = min(old_s, clock.may_change_s - at_s)
        self._record(self._number, state, at_s, ran_s, old_mhz, old_w)
        clock.power_before_w = old_w
        return 1 - ran_s / old_s, ran_s * old_w, at_s + ran_s

    def _finish(self, _event: object) -> None:
        self._course.finish(self._number)
        if self._waiting:
            self._serve(self._waiting.popleft())
        else:
            self._busy = False
            self.free_s = self._clock.rest(self.free_s, self._course.to_arrive > 0)
