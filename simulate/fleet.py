"""A fleet of replicas, and how queries reach them.

In: what a user asks for. Out: a value that the event loop reads; the smallest stable size.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from model.work import Array, Phase
from simulate.service import Service


class Routing(StrEnum):
    """How an arriving query chooses its replica."""

    ROUND_ROBIN = "round-robin"
    LEAST_OUTSTANDING = "least-outstanding"
    LEAST_TOKENS = "least-tokens"
    POWER_AWARE = "power-aware"


@dataclass(frozen=True)
class Fleet:
    """Replicas of one kind: a model on a GPU.

    Attributes:
        replicas: how many.
        routing: how an arriving query chooses among them, and among those of other kinds.
        idle_power_w: power of a replica with nothing to do.
        idle_mhz: clock that an idle replica asks for; None keeps the last one.
        switch_latency_s: how long a change of the requested clock stalls the replica.
        min_dwell_s: how long a clock is kept before it may be changed again.
        queue_limit: queries that power-aware routing lets a replica have; None: as many as it
            serves together.
    """

    replicas: int
    routing: Routing
    idle_power_w: float
    idle_mhz: float | None
    switch_latency_s: float
    min_dwell_s: float
    queue_limit: int | None = None


WINDOWS = 10
"""Equal parts of the arrivals' span, none of which may bring more work than the fleet can do."""


def smallest_stable(arrival_s: Array, service: Service, switch_s: float, utilisation: float) -> int:
    """Return the fewest replicas that keep up, over all and in each tenth of the span.

    Offered load is the service time of the queries that arrive, two clock switches each counted in
    where the phases ask for different clocks, per second. Over the whole span it stays within
    ``utilisation``, below 1, so that queues do not grow without bound; in no tenth does it exceed
    what the fleet can do, so that a rush is not what most queries wait for.
    """
    busy_s = service[Phase.PREFILL].time_s + service[Phase.DECODE].time_s
    prefill_mhz, decode_mhz = (service[phase].requested_mhz for phase in Phase)
    busy_s = busy_s + np.where(prefill_mhz == decode_mhz, 0.0, 2 * switch_s)
    return fewest_replicas(arrival_s, busy_s, utilisation)


def fewest_replicas(arrival_s: Array, busy_s: Array, utilisation: float) -> int:
    """Return the fewest replicas that keep up with queries that take ``busy_s`` each, shape (n,).

    Overall and in each tenth of the span; see :func:`smallest_stable`.
    """
    first_s, last_s = float(arrival_s[0]), float(arrival_s[-1])
    span_s = last_s - first_s
    if span_s <= 0:
        return 1
    offered_s, _ = np.histogram(arrival_s, WINDOWS, (first_s, last_s), weights=busy_s)
    mean_load = float(busy_s.sum()) / span_s
    peak_load = float(offered_s.max()) * WINDOWS / span_s
    return max(1, math.ceil(mean_load / utilisation), math.ceil(peak_load))
