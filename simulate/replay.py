"""The event loop: queries arrive, wait in line, and are served one at a time by each replica.

In: arrival times, what serving each query costs, a fleet. Out: when each query started, got its
first token and finished, and what every replica did. One SimPy event per arrival and per service.
"""

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import simpy
from numpy.typing import NDArray

from model.work import Array, Phase
from simulate.fleet import Fleet, Routing
from simulate.meter import Intervals, Meter, State
from simulate.service import Service

OffClock = Callable[[int, Phase, float], tuple[float, float, float]]
"""(query, phase, requested MHz) -> (time_s, power_w, sm_mhz) at a clock that it did not ask for."""

_ADVANCE_EVERY = 1000


@dataclass(frozen=True)
class Replayed:
    """What happened, as columns: one row a query, and the intervals of every replica."""

    replica: NDArray[np.int32]
    start_s: Array
    first_token_s: Array
    finish_s: Array
    prefill_j: Array
    decode_j: Array
    switching_j: Array
    intervals: Intervals
    end_s: float


def replay(
    arrival_s: Array,
    service: Service,
    fleet: Fleet,
    off_clock: OffClock,
    advance: Callable[[int], None] = lambda _n: None,
) -> Replayed:
    """Serve every query, first come first served at its replica, and meter every replica.

    A change of the requested clock stalls the replica for ``fleet.switch_latency_s``, at the
    larger of the powers before and after (the GPU goes on drawing while it waits: an upper bound).
    While the dwell forbids a change, the phase runs on at the old clock and changes on the way.
    The run begins at 0 s and ends with the last query; replicas idle until then.

    Args:
        arrival_s: arrivals in seconds, non-decreasing, shape (n,).
        service: what each query costs alone.
        fleet: the replicas.
        off_clock: cost of a phase at a clock that the dwell forces on it.
        advance: called with the number of queries finished since the last call.
    """
    run = _Run(arrival_s, service, fleet, off_clock, advance)
    run.environment.run()
    return run.replayed()


def _view(column: Array) -> "memoryview[float]":
    """Indexing a memoryview costs a third of indexing an array and keeps no boxed floats."""
    return cast("memoryview[float]", np.ascontiguousarray(column, dtype=np.float64).data)


class _Run:
    """The mutable state of one replay."""

    def __init__(
        self,
        arrival_s: Array,
        service: Service,
        fleet: Fleet,
        off_clock: OffClock,
        advance: Callable[[int], None],
    ) -> None:
        queries = arrival_s.size
        self.environment = simpy.Environment()
        self.fleet = fleet
        self.off_clock = off_clock
        self.advance = advance
        self.meter = Meter()
        self.arrival_s = _view(arrival_s)
        prefill, decode = service[Phase.PREFILL], service[Phase.DECODE]
        self.phases = tuple(
            (
                phase,
                int(state),
                _view(cost.time_s),
                _view(cost.power_w),
                _view(cost.sm_mhz),
                _view(cost.requested_mhz),
            )
            for phase, state, cost in (
                (Phase.PREFILL, State.PREFILL, prefill),
                (Phase.DECODE, State.DECODE, decode),
            )
        )
        self.columns = {
            name: np.zeros(queries)
            for name in ("start", "first_token", "finish", "prefill", "decode", "switching")
        }
        self.views = {name: _view(column) for name, column in self.columns.items()}
        self.served_by = np.zeros(queries, dtype=np.int32)
        self.served_by_view = self.served_by.data
        self.queues: list[deque[int]] = [deque() for _ in range(fleet.replicas)]
        self.outstanding = [0] * fleet.replicas
        self.wake: list[Any] = [None] * fleet.replicas
        self.idle_from_s = [0.0] * fleet.replicas
        self.end_s = 0.0
        self.unserved = queries
        for replica in range(fleet.replicas):
            self.environment.process(self._replica(replica))
        self.environment.process(self._arrivals())

    def replayed(self) -> Replayed:
        """Return the columns, after idling every replica until the last query has finished."""
        for replica, since_s in enumerate(self.idle_from_s):
            self._idle(replica, since_s, self.end_s)
        columns = self.columns
        return Replayed(
            self.served_by,
            columns["start"],
            columns["first_token"],
            columns["finish"],
            columns["prefill"],
            columns["decode"],
            columns["switching"],
            self.meter.intervals(),
            self.end_s,
        )

    def _arrivals(self) -> Generator[Any, Any, None]:
        environment, arrival_s, served_by = self.environment, self.arrival_s, self.served_by_view
        queues, outstanding, wake = self.queues, self.outstanding, self.wake
        replicas = range(self.fleet.replicas)
        in_turn = self.fleet.routing is Routing.ROUND_ROBIN
        for query in range(len(arrival_s)):
            wait_s = arrival_s[query] - environment.now
            if wait_s > 0:
                yield environment.timeout(wait_s)
            if in_turn:
                chosen = query % self.fleet.replicas
            else:
                chosen = min(replicas, key=outstanding.__getitem__)
            served_by[query] = chosen
            outstanding[chosen] += 1
            queues[chosen].append(query)
            sleeper = wake[chosen]
            if sleeper is not None:
                wake[chosen] = None
                sleeper.succeed()

    def _replica(self, replica: int) -> Generator[Any, Any, None]:
        environment, queue = self.environment, self.queues[replica]
        clock = _Clock(self, replica)
        finished = 0
        while True:
            if not queue:
                self.idle_from_s[replica] = environment.now
                stall_s = clock.rest(environment.now) if self.unserved else 0.0
                if stall_s > 0:
                    yield environment.timeout(stall_s)
                    self.idle_from_s[replica] = environment.now
                    self.end_s = max(self.end_s, environment.now)
                if not queue:
                    self.wake[replica] = environment.event()
                    yield self.wake[replica]
                self._idle(replica, self.idle_from_s[replica], environment.now)
                clock.before_w = self.fleet.idle_power_w
            query = queue.popleft()
            end_s = clock.serve(query, environment.now)
            yield environment.timeout(end_s - environment.now)
            self.end_s = max(self.end_s, end_s, environment.now)
            self.idle_from_s[replica] = environment.now
            self.outstanding[replica] -= 1
            self.unserved -= 1
            finished += 1
            if finished % _ADVANCE_EVERY == 0:
                self.advance(_ADVANCE_EVERY)

    def _idle(self, replica: int, from_s: float, to_s: float) -> None:
        if to_s > from_s:
            self.meter.add(
                replica, State.IDLE, from_s, to_s - from_s, np.nan, self.fleet.idle_power_w
            )


class _Clock:
    """The clock of one replica: what it is set to, since when, and what serving does to it."""

    def __init__(self, run: _Run, replica: int) -> None:
        self.run = run
        self.replica = replica
        self.set_mhz = run.fleet.idle_mhz
        self.changed_s = -np.inf
        self.before_w = run.fleet.idle_power_w

    def rest(self, now_s: float) -> float:
        """Ask for the idle clock, if the dwell allows; return how long that stalls."""
        fleet = self.run.fleet
        wanted = fleet.idle_mhz
        if wanted is None or wanted == self.set_mhz or now_s < self.changed_s + fleet.min_dwell_s:
            return 0.0
        self._change(wanted, wanted, now_s, fleet.idle_power_w)
        return fleet.switch_latency_s

    def serve(self, query: int, now_s: float) -> float:
        """Run both phases of ``query`` from ``now_s`` and return when it finishes."""
        run, views = self.run, self.run.views
        views["start"][query] = now_s
        at_s = now_s
        switching_j = 0.0
        for phase, state, time_s, power_w, sm_mhz, requested in run.phases:
            full_s, watts, mhz, wanted = (
                time_s[query],
                power_w[query],
                sm_mhz[query],
                requested[query],
            )
            energy_j = 0.0
            if full_s > 0:
                share = 1.0
                if self.set_mhz is None:
                    self.set_mhz = wanted
                elif wanted != self.set_mhz:
                    until_s = self.changed_s + run.fleet.min_dwell_s
                    if at_s < until_s:
                        old = run.off_clock(query, phase, self.set_mhz)
                        ran_s = min(old[0], until_s - at_s)
                        run.meter.add(self.replica, state, at_s, ran_s, old[2], old[1])
                        energy_j += ran_s * old[1]
                        at_s += ran_s
                        share -= ran_s / old[0]
                        self.before_w = old[1]
                    if share > 0:
                        switching_j += self._change(wanted, mhz, at_s, watts)
                        at_s += run.fleet.switch_latency_s
                if share > 0:
                    run.meter.add(self.replica, state, at_s, share * full_s, mhz, watts)
                    energy_j += share * full_s * watts
                    at_s += share * full_s
                self.before_w = watts
            if state == State.PREFILL:
                views["first_token"][query] = at_s
                views["prefill"][query] = energy_j
            else:
                views["decode"][query] = energy_j
        views["finish"][query] = at_s
        views["switching"][query] = switching_j
        return at_s

    def _change(self, wanted_mhz: float, held_mhz: float, now_s: float, after_w: float) -> float:
        latency_s = self.run.fleet.switch_latency_s
        watts = max(self.before_w, after_w)
        if latency_s > 0:
            self.run.meter.add(self.replica, State.SWITCHING, now_s, latency_s, held_mhz, watts)
        self.set_mhz = wanted_mhz
        self.changed_s = now_s + latency_s
        return latency_s * watts
