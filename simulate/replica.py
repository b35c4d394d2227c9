"""Replicas that serve one query at a time, and the clock that each is set to.

In: what serving each query costs, the queries that are routed to a replica. Out: when each started,
got its first token and finished and what it cost, as columns, and on the meter all that the replica
did. One SimPy event per service.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.work import Array, Phase
from simulate.clock import Clock
from simulate.columns import View, Views, view_of
from simulate.course import Course
from simulate.fleet import Fleet
from simulate.meter import State
from simulate.replay import Batches, Group, Replayed, replay
from simulate.rest import Rest
from simulate.routing import Marginal
from simulate.service import Lengths, Service

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

    views: Views
    phases: tuple[PhaseViews, ...]
    off_clock: OffClock


@dataclass(frozen=True)
class AloneEngine:
    """One query at a time, first come first served: ``service`` is what each costs alone.

    A change of the requested clock stalls the replica for ``fleet.switch_latency_s``, at the
    larger of the powers before and after (the GPU goes on drawing while it waits: an upper bound).
    While the dwell forbids a change, the phase runs on at the old clock, at the cost that
    ``off_clock`` gives, and changes on the way; a phase that ends before then never changes. A
    phase of no duration asks for no clock.

    Replicas start at ``fleet.idle_mhz``; where that is None, the first clock is set for free. A
    replica that falls idle asks for ``fleet.idle_mhz`` there and then, if the dwell allows and
    queries are yet to arrive, and serves none until that stall is over; its power before the next
    switch is the idle power.
    """

    service: Service
    off_clock: OffClock

    @property
    def at_once(self) -> int:
        """One query."""
        return 1

    def fits(self) -> NDArray[np.bool_]:
        """Return that every query fits, shape (n,)."""
        return np.ones(self.service[Phase.PREFILL].time_s.size, dtype=np.bool_)

    def marginal(self, fleet: Fleet) -> Marginal:
        """Return the joules of a query beyond what the replica would draw idle in its time."""
        added_j = np.zeros(self.fits().size)
        for cost in self.service.values():
            added_j += cost.time_s * (cost.power_w - fleet.idle_power_w)
        column = added_j.tolist()
        return lambda query, _outstanding: column[query]

    def replicas(self, course: Course, fleet: Fleet, views: Views, first: int) -> "list[Replica]":
        """Return the replicas of ``fleet``, numbered from ``first`` on."""
        prefill = _phase_views(Phase.PREFILL, self.service, views.prefill_j, views.first_token_s)
        decode = _phase_views(Phase.DECODE, self.service, views.decode_j, views.finish_s)
        queries = Queries(views, (prefill, decode), self.off_clock)
        return [Replica(first + i, course, fleet, queries) for i in range(fleet.replicas)]


def replay_alone(
    arrival_s: Array,
    lengths: Lengths,
    service: Service,
    fleet: Fleet,
    off_clock: OffClock,
    advance: Callable[[int], None] = lambda _n: None,
) -> Replayed:
    """Serve every query on one group of replicas, one at a time; see :class:`AloneEngine`."""
    group = Group(fleet, AloneEngine(service, off_clock))
    return replay(arrival_s, lengths, [group], advance)


def _phase_views(phase: Phase, service: Service, energy_j: View, end_s: View) -> PhaseViews:
    cost, state = service[phase], State.PREFILL if phase is Phase.PREFILL else State.DECODE
    return PhaseViews(
        phase,
        int(state),
        view_of(cost.time_s),
        view_of(cost.power_w),
        view_of(cost.sm_mhz),
        view_of(cost.requested_mhz),
        energy_j,
        end_s,
    )


class Replica:
    """A GPU and the queries that wait for it, first come first served.

    ``free_s`` is when it is done with what it has begun. It is reckoned from arrivals and costs
    alone: SimPy's own clock adds up delays, which rounds, and only orders the events.
    """

    def __init__(self, number: int, course: Course, fleet: Fleet, queries: Queries) -> None:
        self.free_s = 0.0
        self._number = number
        self._course = course
        self._environment = course.environment
        self._ledger = course.ledgers[number]
        self._record = self._ledger.add
        self.rest = Rest(number, fleet, self._ledger)
        self._views, self._phases, self._off_clock = queries
        self._start_s, self._switching_j = self._views.start_s, self._views.switching_j
        self._waiting: deque[int] = deque()
        self._serving: int | None = None
        self._fleet = fleet
        self._clock = Clock(number, fleet, self._ledger)
        self._ending: object = None

    def take(self, query: int, at_s: float) -> None:
        """Serve ``query``, which is given to it at ``at_s``, after those that wait."""
        if self._serving is None:
            self.free_s = self.rest.wake(self.free_s, at_s)
            self._serve(query)
        else:
            self._waiting.append(query)

    def batches(self) -> Batches | None:
        """Return None: it serves one query at a time."""
        return None

    def idle_until(self, end_s: float) -> None:
        """Record that the replica rests until ``end_s``."""
        self.free_s = self.rest.until(self.free_s, end_s)

    def fail(self, at_s: float) -> list[int]:
        """Break at ``at_s``; return the queries that are lost with it, in ascending order."""
        while self._serving is not None and self.free_s <= at_s:
            self._finish(self._ending)
        self.idle_until(at_s)
        lost: list[int] = []
        if self._serving is not None:
            self._views.waste(self._serving, self._ledger.spent_j)
            lost = sorted([self._serving, *self._waiting])
        self._waiting.clear()
        self._serving = self._ending = None
        self._clock = Clock(self._number, self._fleet, self._ledger)
        self.free_s = at_s
        return lost

    def _serve(self, query: int) -> None:
        self._serving = query
        self._ledger.spent_j = 0.0
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
        self._ending = ending = self._environment.timeout(max(wait_s, 0.0))
        ending.callbacks.append(self._finish)

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

    def _finish(self, event: object) -> None:
        if event is not self._ending:
            return  # The replica has broken, or finished before it did.
        assert self._serving is not None
        self._course.finish(self._serving, self._number, self.free_s)
        if self._waiting:
            self._serve(self._waiting.popleft())
        else:
            self._serving = self._ending = None
            self.free_s = self._clock.rest(self.free_s, self._course.to_arrive > 0)
