"""Power over time: shares of seconds, parts of a run, and how far it follows the load."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulate.meter import Intervals, State
from simulate.power import by_state, clipped, percentiles_w, proportionality


def intervals(rows):
    replica, state, start_s, duration_s, power_w = zip(*rows, strict=True)
    return Intervals(
        np.array(replica, dtype=np.int32),
        np.array(state, dtype=np.int8),
        np.array(start_s, dtype=np.float64),
        np.array(duration_s, dtype=np.float64),
        np.full(len(rows), 1000.0),
        np.array(power_w, dtype=np.float64),
    )


def random_run(rng, replicas, end_s):
    rows = []
    for replica in range(replicas):
        cuts = np.sort(np.append(rng.uniform(0, end_s, rng.integers(0, 9)), [0, end_s]))
        for start_s, stop_s in itertools.pairwise(cuts):
            state = int(rng.integers(5))
            rows.append((replica, state, start_s, stop_s - start_s, float(rng.uniform(0, 700))))
    return intervals(rows)


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(300, 40 * 1024))
@example(116, 1, 2048)
@example(116, 2, 2048)
def test_percentiles_are_those_of_every_second(seed, replicas, end_1024th_s):
    # In such parts of a second every length and every share of them is exact: ties are ties.
    end_s = end_1024th_s / 1024
    run = random_run(np.random.default_rng(seed), replicas, end_s)
    edges = np.append(np.arange(0.0, end_s, 1.0), end_s)
    seconds = []
    for begin, end in itertools.pairwise(edges):
        stop_s = np.minimum(run.start_s + run.duration_s, end)
        inside_s = np.maximum(stop_s - np.maximum(run.start_s, begin), 0)
        seconds.append((float(inside_s @ run.power_w) / (end - begin), end - begin))
    seconds.sort()
    for label, percent in (("p50", 50), ("p95", 95), ("p99", 99)):
        needed_s = Fraction(percent, 100) * Fraction(end_s)
        until = itertools.accumulate(Fraction(length_s) for _, length_s in seconds)
        reached = (passed_s >= needed_s for passed_s in until)
        expected_w = next(w for (w, _), there in zip(seconds, reached, strict=True) if there)
        assert percentiles_w(run)[label] == pytest.approx(expected_w, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("last_s", [0.999999999999993, 1.0])
def test_a_second_that_lacks_only_rounding_is_a_whole_one(last_s):
    rows = [(0, State.DECODE, 0.0, 1.0, 700.0), (0, State.IDLE, 1.0, last_s, 60.0)]
    assert percentiles_w(intervals(rows)) == pytest.approx({"p50": 60, "p95": 700, "p99": 700})


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.lists(st.floats(0.0, 20.0), max_size=5))
def test_parts_of_a_run_hold_all_its_joules_and_seconds(seed, cuts):
    run = random_run(np.random.default_rng(seed), 2, 20.0)
    edges = [0.0, *sorted(cuts), 20.0]
    parts = [clipped(run, a, b) for a, b in itertools.pairwise(edges)]
    for state in State:
        for amounts in (lambda each: None, lambda each: each.energy_j):
            whole = by_state(run, amounts(run))[state]
            found = sum(by_state(part, amounts(part))[state] for part in parts)
            assert found == pytest.approx(whole, rel=1e-9, abs=1e-6)


def half_busy(idle_w, busy_w):
    """One replica, idle for 100 s, then in each ten seconds busy for one more, and busy at last."""
    rows = [(0, State.IDLE, 0.0, 100.0, idle_w)]
    for tenth in range(1, 10):
        start_s = 90.0 + 10 * tenth
        rows.append((0, State.DECODE, start_s, float(tenth), busy_w))
        rows.append((0, State.IDLE, start_s + tenth, 10.0 - tenth, idle_w))
    rows.append((0, State.DECODE, 190.0, 10.0, busy_w))
    return intervals(rows)


@pytest.mark.parametrize("idle_w", [0.0, 60.0, 300.0])
def test_power_that_rises_in_a_line_is_as_proportional_as_its_range(idle_w):
    # The area under a line from idle to busy is half of idle / busy above that of the ideal.
    found = proportionality(half_busy(idle_w, 300.0), 1)
    assert found.dynamic_range == pytest.approx(1 - idle_w / 300)
    assert found.ep == pytest.approx(1 - idle_w / 300)


def test_power_that_jumps_with_the_first_load_is_less_proportional_than_its_range():
    rows = [
        (0, State.IDLE, 0.0, 10.0, 0.0),
        (0, State.DECODE, 10.0, 5.0, 400.0),
        (0, State.IDLE, 15.0, 5.0, 400.0),
        (0, State.DECODE, 20.0, 10.0, 400.0),
    ]
    # Idle draws 133 W of 400 W on average, half a load 400 W: 1/2 (1/3 + 1) / 2 + 1/2 = 5/6.
    found = proportionality(intervals(rows), 1)
    assert found.dynamic_range == pytest.approx(2 / 3)
    assert found.ep == pytest.approx(2 - 2 * 5 / 6)


def test_a_fleet_that_never_rests_or_never_works_tells_nothing():
    assert proportionality(intervals([(0, State.DECODE, 0.0, 5.0, 100.0)]), 1) is None
    assert proportionality(intervals([(0, State.IDLE, 0.0, 5.0, 100.0)]), 1) is None
    both = [(0, State.DECODE, 0.0, 5.0, 100.0), (1, State.IDLE, 0.0, 5.0, 20.0)]
    assert proportionality(intervals(both), 2).dynamic_range == pytest.approx(0.8)
