"""One replica under Poisson arrivals waits as queueing theory says: M/D/1 and M/M/1.

Means are compared with their exact values within the confidence interval of the run itself, by
batch means: long batches are nearly independent although successive waits are not.
"""

import numpy as np
import pytest
from scipy import stats

from model.work import Phase
from simulate.fleet import Fleet, Routing
from simulate.replica import replay_alone
from simulate.service import Lengths, PhaseCost

QUERIES = 200_000
BATCHES = 40
SERVICE_S = 2.0
BUSY_W, IDLE_W = 300.0, 50.0


def waited(seed, load, service_s, routing=Routing.ROUND_ROBIN):
    arrival_s = np.cumsum(np.random.default_rng(seed).exponential(SERVICE_S / load, QUERIES))
    busy_w, clock = np.full(QUERIES, BUSY_W), np.full(QUERIES, 1500.0)
    service = {
        Phase.PREFILL: PhaseCost(0.25 * service_s, busy_w, clock, clock),
        Phase.DECODE: PhaseCost(0.75 * service_s, busy_w, clock, clock),
    }
    fleet = Fleet(1, routing, IDLE_W, None, 0.02, 0.0)
    tokens = np.ones(arrival_s.size, dtype=np.int64)
    lengths = Lengths(tokens, tokens)
    replayed = replay_alone(
        arrival_s, lengths, service, fleet, lambda *_: pytest.fail("no dwell, no old clock")
    )
    return replayed, replayed.start_s - arrival_s


def interval(values):
    """The 99% confidence interval of the mean of a correlated series, without its first tenth."""
    steady = values[values.size // 10 :]
    means = steady[: steady.size // BATCHES * BATCHES].reshape(BATCHES, -1).mean(axis=1)
    reach = stats.t.ppf(0.995, BATCHES - 1) * stats.sem(means)
    return means.mean() - reach, means.mean() + reach


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_constant_service(load):
    replayed, wait_s = waited(1, load, np.full(QUERIES, SERVICE_S))
    low, high = interval(wait_s)
    exact = load * SERVICE_S / (2 * (1 - load))
    assert low < exact < high
    assert high - low < 0.1 * exact
    low, high = interval((wait_s > 0).astype(float))
    assert low < load < high
    intervals = replayed.intervals
    mean_w = float(intervals.energy_j.sum()) / replayed.end_s
    assert mean_w == pytest.approx(IDLE_W + load * (BUSY_W - IDLE_W), rel=0.01)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_exponential_service(load):
    service_s = np.random.default_rng(2).exponential(SERVICE_S, QUERIES)
    _, wait_s = waited(3, load, service_s, Routing.LEAST_OUTSTANDING)
    low, high = interval(wait_s)
    exact = load * SERVICE_S / (1 - load)
    assert low < exact < high
    assert high - low < 0.2 * exact
    # The time from arrival to finish is exponential, with mean service / (1 - load).
    late = (wait_s + service_s > -np.log(0.05) * SERVICE_S / (1 - load)).astype(float)
    low, high = interval(late)
    assert low < 0.05 < high
