"""A fleet of replicas, each serving one query at a time, and how queries reach them.

In: what a user asks for. Out: a value that the event loop reads; the smallest stable size.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from model.work import Phase
from simulate.service import Service


class Routing(StrEnum):
    """How an arriving query chooses its replica."""

    ROUND_ROBIN = "round-robin"
    LEAST_OUTSTANDING = "least-outstanding"


@dataclass(frozen=True)
class Fleet:
    """Replicas of one model, one GPU each.

    Attributes:
        replicas: how many.
        routing: how an arriving query chooses among them.
        idle_power_w: power of a replica with nothing to do.
        idle_mhz: clock that an idle replica asks for; None keeps the last one.
        switch_latency_s: how long a change of the requested clock stalls the replica.
        min_dwell_s: how long a clock is kept before it may be changed again.
    """

    replicas: int
    routing: Routing
    idle_power_w: float
    idle_mhz: float | None
    switch_latency_s: float
    min_dwell_s: float


def smallest_stable(service: Service, span_s: float, switch_s: float, utilisation: float) -> int:
    """Return the fewest replicas whose offered load stays within ``utilisation``.

    The offered load is the service time of all queries, two clock switches each counted in, over
    the span of their arrivals; utilisation below 1 keeps queues from growing without bound.
    """
    busy_s = float(sum(np.sum(service[phase].time_s) for phase in Phase))
    queries = service[Phase.PREFILL].time_s.size
    if np.array_equal(service[Phase.PREFILL].requested_mhz, service[Phase.DECODE].requested_mhz):
        switch_s = 0.0
    if span_s <= 0:
        return 1
    return max(1, int(np.ceil((busy_s + 2 * switch_s * queries) / (span_s * utilisation))))
