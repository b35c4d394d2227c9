"""A large fleet costs memory for its queries, not for every replica times them."""

import tracemalloc

import numpy as np

from model.work import Phase
from simulate.fleet import Fleet, Routing
from simulate.replica import replay_alone
from simulate.service import Lengths, PhaseCost

QUERIES = 20_000


def peak_bytes(replicas):
    arrival_s = np.arange(QUERIES) * 2.0 / replicas
    # Curves that do not vary with the work give one value for all queries.
    one = np.broadcast_to(np.float64(1.0), QUERIES)
    service = {phase: PhaseCost(one, one, one, one) for phase in Phase}
    fleet = Fleet(replicas, Routing.LEAST_OUTSTANDING, 50.0, None, 0.0, 0.0)
    tracemalloc.start()
    tokens = np.ones(arrival_s.size, dtype=np.int64)
    lengths = Lengths(tokens, tokens)
    replayed = replay_alone(arrival_s, lengths, service, fleet, lambda *_: (0.0, 0.0, 0.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert set(replayed.replica.tolist()) == set(range(replicas))
    return peak


def test_memory_does_not_grow_with_the_fleet():
    assert peak_bytes(200) < peak_bytes(2) + 200 * 10_000
