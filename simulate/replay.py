"""The event loop: queries arrive, are routed, wait in line and are served one at a time.

In: arrival times, what serving each query costs, a fleet. Out: when each query started, got its
first token and finished, and what every replica did. One SimPy event per arrival and per service.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.work import Array, Phase
from simulate.course import Course, view_of
from simulate.fleet import Fleet
from simulate.meter import Intervals, State
from simulate.replica import OffClock, PhaseViews, Queries, Replica
from simulate.service import Service

__all__ = ["Batches", "OffClock", "Replayed", "replay"]


@dataclass(frozen=True)
class Batches:
    """What an engine that batches did besides: its steps, and every gap between two tokens.

    ``gap_tokens[i]`` tokens came ``gap_s[i]`` after the token before them, of the same request;
    both of shape (gaps,). ``found_tokens`` are what each request found of its prompt in the cache
    when it was first admitted, shape (n,).
    """

    gap_s: Array
    gap_tokens: NDArray[np.int64]
    steps: int
    preemptions: int
    recomputed_tokens: int
    kv_blocks_peak: int
    kv_blocks_left: int
    found_tokens: NDArray[np.int64]


@dataclass(frozen=True)
class Replayed:
    """What happened, as columns: one row a query, and the intervals of every replica.

    ``prefill_j`` and ``decode_j`` are what the phases drew and ``switching_j`` what the clock
    switches on their way did; switches to the idle clock belong to no query. A query that was
    ``rejected`` has NaN times and no energy. ``batches`` is None where nothing was batched.
    """

    replica: NDArray[np.int32]
    start_s: Array
    first_token_s: Array
    finish_s: Array
    prefill_j: Array
    decode_j: Array
    switching_j: Array
    rejected: NDArray[np.bool_]
    intervals: Intervals
    end_s: float
    batches: Batches | None = None


def replay(
    arrival_s: Array,
    service: Service,
    fleet: Fleet,
    off_clock: OffClock,
    advance: Callable[[int], None] = lambda _n: None,
) -> Replayed:
    """Serve every query, first come first served at its replica, and meter every replica.

    Routing happens at arrival: in turn, or to the replica with the fewest queries outstanding
    (waiting or in service), the lowest-numbered of equals; that takes time in proportion to the
    fleet for each query. What ends at the very moment of an arrival has ended when it is routed.

    A change of the requested clock stalls the replica for ``fleet.switch_latency_s``, at the
    larger of the powers before and after (the GPU goes on drawing while it waits: an upper bound).
    While the dwell forbids a change, the phase runs on at the old clock and changes on the way; a
    phase that ends before then never changes. A phase of no duration asks for no clock.

    Replicas start at ``fleet.idle_mhz``; where that is None, the first clock is set for free. A
    replica that falls idle asks for ``fleet.idle_mhz`` there and then, if the dwell allows and
    queries are yet to arrive, and serves none until that stall is over; its power before the next
    switch is the idle power. The run begins at 0 s and ends with the last query or stall; replicas
    idle until then.

    Args:
        arrival_s: arrivals in seconds, >= 0 and non-decreasing, shape (n,).
        service: what each query costs alone.
        fleet: the replicas.
        off_clock: cost of a phase at a clock that the dwell forces on it.
        advance: called with the number of queries finished since the last call.
    """
    queries = arrival_s.size
    start_s, first_token_s, finish_s = (np.zeros(queries) for _ in range(3))
    prefill_j, decode_j, switching_j = (np.zeros(queries) for _ in range(3))
    course = Course.of(arrival_s, fleet, advance)
    views = Queries(
        view_of(start_s),
        view_of(switching_j),
        (
            _views(Phase.PREFILL, State.PREFILL, service, prefill_j, first_token_s),
            _views(Phase.DECODE, State.DECODE, service, decode_j, finish_s),
        ),
        off_clock,
    )
    replicas = [Replica(number, course, views) for number in range(fleet.replicas)]
    served_by = course.run(replicas)
    end_s = max(replica.free_s for replica in replicas)
    for replica in replicas:
        replica.idle_until(end_s)
    return Replayed(
        served_by,
        start_s,
        first_token_s,
        finish_s,
        prefill_j,
        decode_j,
        switching_j,
        np.zeros(queries, dtype=np.bool_),
        course.meter.intervals(),
        end_s,
    )


def _views(
    phase: Phase, state: State, service: Service, energy_j: Array, end_s: Array
) -> PhaseViews:
    cost = service[phase]
    return PhaseViews(
        phase,
        int(state),
        view_of(cost.time_s),
        view_of(cost.power_w),
        view_of(cost.sm_mhz),
        view_of(cost.requested_mhz),
        view_of(energy_j),
        view_of(end_s),
    )
