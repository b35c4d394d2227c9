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
class Sleep:
    """An idle replica that falls asleep.

    Attributes:
        after_s: how long it idles before.
        power_w: what it draws asleep; None: a share of its idle power.
        wake_s: how long it takes to wake when it is given a query, at idle power.
    """

    after_s: float
    power_w: float | None
    wake_s: float


@dataclass(frozen=True)
class Scaling:
    """A group whose replicas are started and stopped as it goes.

    Attributes:
        least: replicas that are kept running.
        target: queries outstanding for each running replica beyond which another is started; None:
            as many as it serves together.
        idle_s: how long a replica has nothing to do before it is stopped.
        start_up_s: how long one takes from off to serving, at idle power; off, it draws nothing.
    """

    least: int
    target: float | None
    idle_s: float
    start_up_s: float


@dataclass(frozen=True)
class Faults:
    """Replicas that break and are repaired, each on its own, whatever it does.

    Attributes:
        mtbf_s: mean of the exponential time from being repaired to breaking.
        mttr_s: mean of the exponential time that a repair takes; broken, it draws nothing.
        retries: how often a query is given to another replica; None: as often as it takes.
        seed: of both times, the same for every policy.
        stream: tells fleets apart that are numbered alike.
    """

    mtbf_s: float
    mttr_s: float
    retries: int | None
    seed: int
    stream: int = 0


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
        sleep: when idle replicas fall asleep; None: never.
        scaling: how replicas are started and stopped; None: all are always on.
        faults: how they break; None: never.
    """

    replicas: int
    routing: Routing
    idle_power_w: float
    idle_mhz: float | None
    switch_latency_s: float
    min_dwell_s: float
    queue_limit: int | None = None
    sleep: Sleep | None = None
    scaling: Scaling | None = None
    faults: Faults | None = None


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
