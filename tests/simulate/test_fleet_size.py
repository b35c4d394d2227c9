"""How many replicas ``--replicas auto`` takes, and offline arrivals."""

import itertools

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from model.work import Phase
from phasewatt.errors import BadOption
from simulate.compare import compare, planned_queries, require_sensible
from simulate.fleet import WINDOWS, smallest_stable
from simulate.scenario import Arrivals, Scenario
from simulate.service import PhaseCost

CALIBRATION = tiny.calibration()


def service(prefill_s, decode_s, prefill_mhz=1500.0, decode_mhz=1500.0):
    def cost(time_s, mhz):
        full = np.full_like(time_s, mhz)
        return PhaseCost(time_s, np.full_like(time_s, 100.0), full, full)

    return {Phase.PREFILL: cost(prefill_s, prefill_mhz), Phase.DECODE: cost(decode_s, decode_mhz)}


def busiest_tenth(arrival_s, busy_s):
    """The most seconds of work that arrive per second in one of ten equal parts, by hand."""
    edges = np.linspace(arrival_s[0], arrival_s[-1], WINDOWS + 1)
    loads = []
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        last = number == WINDOWS - 1
        inside = (arrival_s >= start) & ((arrival_s <= end) if last else (arrival_s < end))
        loads.append(busy_s[inside].sum() / (end - start))
    return max(loads)


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.floats(0.5, 0.99), st.sampled_from([0.0, 0.5]))
def test_the_smallest_fleet_that_keeps_up(seed, utilisation, switch_s):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 200))
    arrival_s = np.cumsum(rng.exponential(2.0, n)) + 5
    prefill_s, decode_s = rng.exponential(1.0, n), rng.exponential(4.0, n)
    two_clocks = service(prefill_s, decode_s, 1500.0, 1000.0)
    busy_s = prefill_s + decode_s + 2 * switch_s
    mean_load = busy_s.sum() / (arrival_s[-1] - arrival_s[0])
    peak_load = busiest_tenth(arrival_s, busy_s)
    found = smallest_stable(arrival_s, two_clocks, switch_s, utilisation)

    def keeps_up(replicas):
        return mean_load / replicas <= utilisation and peak_load <= replicas

    assert keeps_up(found + 1e-9)
    assert found == 1 or not keeps_up(found - 1 + 1e-9)
    # With one clock for both phases nothing switches.
    one_clock = service(prefill_s, decode_s)
    assert smallest_stable(arrival_s, one_clock, switch_s, utilisation) == smallest_stable(
        arrival_s, one_clock, 0.0, utilisation
    )


def test_one_moment_of_arrivals_has_no_rate():
    assert smallest_stable(np.zeros(9), service(np.ones(9), np.ones(9)), 0.0, 0.9) == 1


def test_auto_is_the_fewest_that_every_policy_keeps_up_with():
    trace = tiny.random_trace(np.random.default_rng(3), 200, 6.0)
    sizes = {
        policy: compare(trace, CALIBRATION, Scenario((), policy, draws=0)).replicas
        for policy in ("max-frequency", "fixed:1000")
    }
    assert sizes["max-frequency"] < sizes["fixed:1000"]
    both = compare(trace, CALIBRATION, Scenario(("fixed:1000",), "max-frequency", draws=0))
    assert both.replicas == sizes["fixed:1000"]
    assert {len(r.outcome.energy_by_replica_j) for r in both.results} == {both.replicas}


def test_offline_everything_is_there_at_once_and_nobody_idles_before_the_end():
    trace = tiny.random_trace(np.random.default_rng(4), 100, 50.0)
    scenario = Scenario((), "fixed:1500", arrivals=Arrivals.OFFLINE, draws=0)
    comparison = compare(trace, CALIBRATION, scenario)
    outcome = comparison.results[0].outcome
    assert comparison.replicas == 1
    assert outcome.arrival_s.tolist() == [0.0] * 100
    assert outcome.replayed.intervals.state.min() > 0
    assert outcome.makespan_s == pytest.approx(
        sum(tiny.prefill_s(p, 1500) for p in trace.prompt_tokens.tolist())
        + sum(tiny.decode_s(max(o - 1, 0), 1500) for o in trace.output_tokens.tolist()),
        rel=1e-9,
    )
    assert np.all(np.diff(outcome.replayed.start_s) > 0)


def test_progress_counts_every_query_of_every_policy_and_draw():
    trace = tiny.random_trace(np.random.default_rng(0), 1234, 20.0)
    scenario = Scenario(("fixed:1500", "max-frequency"), replicas=2, draws=2)
    steps = []
    compare(trace, tiny.uncertain(), scenario, steps.append)
    assert 1234 in np.cumsum(steps)
    assert planned_queries(trace, scenario) == 1234 * 2 * 3
    assert sum(steps) == planned_queries(trace, scenario)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"replicas": 0}, "--replicas: found 0; expected 1 or more"),
        ({"switch_latency_s": -1.0}, "--switch-latency: found -1; expected 0 or more"),
        ({"min_dwell_s": float("inf")}, "--min-dwell: found inf; expected 0 or more"),
        ({"idle_power_w": float("nan")}, "--idle-power-w: found nan; expected 0 or more"),
        ({"max_slowdown": -0.1}, "--max-slowdown: found -0.1; expected 0 or more"),
        ({"draws": -1}, "--draws: found -1; expected 0 or more"),
        ({"draws": 1}, "--draws: found 1; expected 0, or at least 2 for an interval"),
        ({"seed": -1}, "--seed: found -1; expected 0 or more"),
    ],
)
def test_numbers_that_no_scenario_can_have(options, line):
    with pytest.raises(BadOption) as error:
        require_sensible(Scenario((), **options))
    assert str(error.value) == line
