"""What no run may break, whatever the trace, fleet and policy: laws of conservation and order."""

import itertools

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from simulate.compare import compare
from simulate.fleet import Routing
from simulate.meter import State
from simulate.power import binned_power_w
from simulate.results import power_table, requests_table, write_results
from simulate.scenario import Arrivals, Scenario

CALIBRATION = tiny.calibration()
EXACT = 1e-9
POLICIES = ("max-frequency", "fixed:1250", "power-cap:230", "phase-aware", "min-energy", "min-edp")


@st.composite
def runs(draw):
    trace = tiny.random_trace(
        np.random.default_rng(draw(st.integers(0, 2**32))),
        draw(st.integers(1, 60)),
        draw(st.sampled_from([0.5, 5.0, 50.0])),
    )
    scenario = Scenario(
        (),
        draw(st.sampled_from(POLICIES)),
        replicas=draw(st.integers(1, 5)),
        routing=draw(st.sampled_from(Routing)),
        arrivals=draw(st.sampled_from(Arrivals)),
        switch_latency_s=draw(st.sampled_from([0.0, 0.02, 2.0])),
        min_dwell_s=draw(st.sampled_from([0.0, 1.0, 20.0])),
        draws=0,
    )
    (result,) = compare(trace, CALIBRATION, scenario).results
    return trace, scenario, result


@settings(max_examples=150)
@given(runs())
def test_every_joule_and_second_is_counted_once(run):
    trace, _, result = run
    outcome, metrics = result.outcome, result.metrics
    replayed, intervals = outcome.replayed, outcome.replayed.intervals
    energy_j = float(intervals.energy_j.sum())
    assert metrics.energy_j == pytest.approx(energy_j, rel=EXACT)
    assert sum(metrics.energy_by_state_j.values()) == pytest.approx(energy_j, rel=EXACT)
    assert outcome.energy_by_replica_j.sum() == pytest.approx(energy_j, rel=EXACT)
    assert outcome.energy_by_replica_j.shape == (outcome.replicas,)
    table = power_table(outcome)
    integral_j = np.dot(table.column("power_w"), table.column("duration_s"))
    assert integral_j == pytest.approx(energy_j, rel=EXACT)

    for replica in range(outcome.replicas):
        mine = intervals.replica == replica
        starts_s, durations_s = intervals.start_s[mine], intervals.duration_s[mine]
        assert durations_s.sum() == pytest.approx(outcome.makespan_s, rel=EXACT)
        ends_s = starts_s + durations_s
        assert np.all(durations_s > 0)
        assert starts_s == pytest.approx([0.0, *ends_s[:-1]], rel=EXACT, abs=EXACT)
    assert sum(metrics.time_by_state_s.values()) == pytest.approx(
        outcome.replicas * outcome.makespan_s, rel=EXACT
    )

    by_state = outcome.energy_by_state_j
    assert replayed.prefill_j.sum() == pytest.approx(by_state[State.PREFILL], rel=EXACT)
    assert replayed.decode_j.sum() == pytest.approx(by_state[State.DECODE], rel=EXACT)
    to_rest_j = by_state[State.SWITCHING] - replayed.switching_j.sum()
    assert to_rest_j >= -EXACT * energy_j
    requests_j = replayed.prefill_j + replayed.decode_j + replayed.switching_j
    assert requests_j.sum() + to_rest_j + by_state[State.IDLE] == pytest.approx(energy_j, rel=EXACT)
    if result.prepared.governor.idle_mhz is None or len(trace) == 1:
        assert to_rest_j == pytest.approx(0, abs=EXACT * energy_j)


@settings(max_examples=150)
@given(runs())
def test_every_request_is_served_once_in_order_and_without_delay(run):
    trace, scenario, result = run
    outcome, replayed = result.outcome, result.outcome.replayed
    n = len(trace)
    assert requests_table(outcome).num_rows == result.metrics.requests == n
    arrival_s = outcome.arrival_s
    assert np.all(arrival_s <= replayed.start_s)
    assert np.all(replayed.start_s < replayed.first_token_s)
    assert np.all(replayed.first_token_s <= replayed.finish_s)
    assert np.all(replayed.finish_s <= outcome.makespan_s)
    no_decode = trace.output_tokens <= 1
    assert np.all((replayed.finish_s == replayed.first_token_s) == no_decode)
    assert np.all((replayed.decode_j == 0) == no_decode)

    intervals = outcome.replayed.intervals
    for replica in range(outcome.replicas):
        queries = np.flatnonzero(replayed.replica == replica)
        starts_s, finishes_s = replayed.start_s[queries], replayed.finish_s[queries]
        # First come first served, and one at a time.
        assert np.all(starts_s[1:] >= finishes_s[:-1])
        # Never idle while a query waits: a start is an arrival, or follows what kept it busy.
        free_s = np.concatenate([[0.0], finishes_s[:-1]])
        mine = intervals.replica == replica
        idle = mine & (intervals.state == State.IDLE)
        for start, end in zip(
            intervals.start_s[idle],
            intervals.start_s[idle] + intervals.duration_s[idle],
            strict=True,
        ):
            waiting = (arrival_s[queries] < end - EXACT) & (starts_s > start + EXACT)
            assert not np.any(waiting & (arrival_s[queries] >= start))
            assert not np.any((arrival_s[queries] < start) & (starts_s >= end))
        late = starts_s > np.maximum(arrival_s[queries], free_s) + EXACT
        if result.prepared.governor.idle_mhz is None or scenario.switch_latency_s == 0:
            assert not np.any(late)
        else:
            stalls_s = (starts_s - np.maximum(arrival_s[queries], free_s))[late]
            assert np.all(stalls_s <= scenario.switch_latency_s + EXACT)
    if scenario.routing is Routing.ROUND_ROBIN:
        assert replayed.replica.tolist() == [q % outcome.replicas for q in range(n)]


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([5.0, 20.0]))
def test_in_turn_and_with_one_service_time_another_replica_makes_nobody_wait_longer(
    seed, replicas, mean_gap_s
):
    # Not so where replicas are chosen by their count of queries: of two with one query each, the
    # one that has only begun may be chosen.
    rng = np.random.default_rng(seed)
    trace = tiny.trace(np.cumsum(rng.exponential(mean_gap_s, 80)), [1024] * 80, [17] * 80)

    def queue_s(n):
        scenario = Scenario((), "fixed:1500", replicas=n, routing=Routing.ROUND_ROBIN, draws=0)
        return compare(trace, CALIBRATION, scenario).results[0].outcome.queue_s

    assert np.all(queue_s(replicas + 1) <= queue_s(replicas) + EXACT)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.sampled_from([2.0, 10.0]))
def test_a_lower_clock_never_serves_anyone_sooner_and_never_draws_more_at_once(seed, mean_gap_s):
    trace = tiny.random_trace(np.random.default_rng(seed), 50, mean_gap_s)
    scenario = Scenario(("fixed:1500", "fixed:1000"), "fixed:1750", replicas=1, draws=0)
    runs = [result.outcome for result in compare(trace, CALIBRATION, scenario).results]
    for faster, slower in itertools.pairwise(runs):
        assert np.all(faster.replayed.finish_s < slower.replayed.finish_s)
        assert np.max(slower.replayed.intervals.power_w) < np.max(faster.replayed.intervals.power_w)


@settings(max_examples=60)
@given(runs(), st.integers(1, 50))
def test_power_over_time_is_the_power_of_every_interval(run, bins):
    _, _, result = run
    intervals, end_s = result.outcome.replayed.intervals, result.outcome.makespan_s
    edges_s = np.linspace(0.0, 1.2 * end_s, bins + 1)
    power_w = binned_power_w(intervals, edges_s)
    for low, high, mean_w in zip(edges_s[:-1], edges_s[1:], power_w, strict=True):
        ends_s = np.minimum(intervals.start_s + intervals.duration_s, high)
        inside_s = np.maximum(ends_s - np.maximum(intervals.start_s, low), 0.0)
        expected_w = float(np.dot(inside_s, intervals.power_w)) / (high - low)
        assert mean_w == pytest.approx(expected_w, rel=1e-6, abs=1e-6)


def test_the_written_tables_add_up_to_the_written_totals(tmp_path):
    trace = tiny.random_trace(np.random.default_rng(1), 200, 3.0)
    scenario = Scenario(("phase-aware", "min-energy"), replicas=3, draws=0)
    comparison = compare(trace, CALIBRATION, scenario)
    write_results(comparison, tmp_path)
    power = pq.read_table(tmp_path / "power.parquet")
    requests = pq.read_table(tmp_path / "requests.parquet")
    for result in comparison.results:
        of_policy = np.array(power.column("policy")) == result.outcome.policy
        energy_j = np.array(power.column("power_w")) * np.array(power.column("duration_s"))
        assert energy_j[of_policy].sum() == pytest.approx(result.metrics.energy_j, rel=EXACT)
        mine = np.array(requests.column("policy")) == result.outcome.policy
        for column, state in (("prefill_j", "prefill"), ("decode_j", "decode")):
            assert np.array(requests.column(column))[mine].sum() == pytest.approx(
                result.metrics.energy_by_state_j[state], rel=EXACT
            )
        assert requests.column("tpot_s").null_count == 3 * int((trace.output_tokens < 2).sum())
