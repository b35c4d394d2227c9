"""No run beats the bounds: random curves, traces, governors, batching, and fleets."""

import numpy as np
import pytest
import structured
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from model.roofline import Extra, Launch, Roofline
from simulate.answers import answers_of
from simulate.batching import parse_batching
from simulate.groups import groups_of, models_of, prepare_fleet, run_fleet
from simulate.meter import SERVING
from simulate.plan.bounds import fewest_replicas, floor_of
from simulate.plan.goals import Figure, LatencyGoal, exempt, percentile_s
from simulate.prepare import queries_of
from simulate.scenario import Scenario

FORMS = (
    Roofline(),
    Roofline(Launch.CLOCKED, extras=frozenset({Extra.ATTENTION, Extra.TILES, Extra.WALK})),
    Roofline(Launch.OVERLAPPED, streams=True, extras=frozenset({Extra.ACTIVATIONS})),
)
POLICIES = ("max-frequency", "phase-aware", "min-energy", "fixed:1300", "composition-aware")
BATCHING = ("none", "static:3", "continuous", "disaggregated:1:2")


def ran(calibration, trace, policy, batching, replicas, **more):
    pools = batching.startswith("disaggregated")
    scenario = Scenario(
        (policy,),
        replicas=None if pools else replicas,
        batching=parse_batching(batching, **more),
        draws=0,
    )
    queries, groups = queries_of(trace, scenario), groups_of(scenario, calibration)
    answers = answers_of(trace, scenario, models_of(groups))
    fleet = prepare_fleet(policy, groups, queries, answers)
    outcome = run_fleet(fleet, groups, queries, (3 if pools else replicas,))
    return outcome, fleet.groups[0], groups[0].scenario, queries


def require_above(outcome, ready, scenario, queries):
    floor = floor_of(ready, scenario, queries)
    allowed = 1 + 1e-9
    assert np.all(floor.ttft_s <= outcome.ttft_s * allowed)
    assert np.all(floor.e2e_s <= outcome.e2e_s * allowed)
    decodes = ~np.isnan(outcome.tpot_s)
    assert np.all(floor.tpot_s[decodes] <= outcome.tpot_s[decodes] * allowed)
    busy_s = sum(outcome.time_by_state_s[state] for state in SERVING)
    assert floor.busy_s <= busy_s * allowed
    last_s = float(queries.arrival_s[-1])
    assert floor.energy_j(outcome.replicas, last_s) <= outcome.energy_j * allowed
    for percentile in (50.0, 90.0):
        ttft, tpot = Figure("ttft", percentile), Figure("tpot", percentile)
        kept = LatencyGoal(ttft, ttft.of(outcome)), LatencyGoal(tpot, tpot.of(outcome))
        assert fewest_replicas(ready, scenario, queries, kept) <= outcome.replicas
        assert fewest_replicas(ready, scenario, queries, kept[:1]) <= outcome.replicas
        e2e = LatencyGoal(Figure("e2e", percentile), Figure("e2e", percentile).of(outcome))
        assert fewest_replicas(ready, scenario, queries, (e2e,)) <= outcome.replicas


@settings(max_examples=25)
@given(st.data())
def test_no_run_of_structured_curves_beats_its_bounds(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    calibration = structured.calibration(
        data.draw(st.sampled_from(FORMS)),
        decode_faster=data.draw(st.sampled_from([1.0, 0.6, 1.7])),
        limit_w=data.draw(st.sampled_from([250.0, 340.0, 900.0])),
    )
    batching = data.draw(st.sampled_from(BATCHING))
    more = {}
    if batching in BATCHING[2:]:
        more = {
            "kv_blocks": data.draw(st.sampled_from([400, 4000])),
            "max_batched_tokens": data.draw(st.sampled_from([64, 2048])),
            "max_sequences": data.draw(st.sampled_from([2, 32])),
        }
    trace = tiny.random_trace(rng, 40, data.draw(st.sampled_from([0.002, 0.02, 0.2])))
    policy = data.draw(st.sampled_from(POLICIES))
    require_above(*ran(calibration, trace, policy, batching, data.draw(st.integers(1, 3)), **more))


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from(POLICIES[:3]), st.integers(1, 3))
def test_no_run_of_plain_curves_beats_its_bounds(seed, policy, replicas):
    rng = np.random.default_rng(seed)
    calibration = tiny.random_calibration(rng)
    require_above(*ran(calibration, tiny.random_trace(rng, 60, 3.0), policy, "none", replicas))


def test_one_query_alone_meets_its_bounds():
    outcome, ready, scenario, queries = ran(
        tiny.calibration(), tiny.trace([0.0], [1024], [9]), "fixed:1500", "none", 1
    )
    floor = floor_of(ready, scenario, queries)
    prefill_s, decode_s = tiny.prefill_s(1024, 1500), tiny.decode_s(8, 1500)
    assert floor.ttft_s == pytest.approx([prefill_s])
    assert floor.tpot_s == pytest.approx([decode_s / 8])
    assert floor.busy_s == pytest.approx(prefill_s + decode_s)
    assert floor.energy_j(1, prefill_s + decode_s) == pytest.approx(outcome.energy_j)


def test_the_fewest_replicas_by_hand():
    # 8 queries of 8 s each at 0, 1, ... 7 s: 64 s of work; the last is due at 7 + 9 s.
    _, ready, scenario, queries = ran(
        tiny.calibration(), tiny.trace(range(8), [1024] * 8, [9] * 8), "fixed:1000", "none", 8
    )
    each_s = tiny.prefill_s(1024, 1000) + tiny.decode_s(8, 1000)
    goal = LatencyGoal(Figure("e2e", 99.0), each_s + 1)
    needed = 8 * each_s / (7 + each_s + 1)
    assert exempt(8, 99.0) == 1
    # The exempt one is not counted.
    assert fewest_replicas(ready, scenario, queries, (goal,)) == int(np.ceil(needed * 7 / 8))
    assert percentile_s(np.full(8, each_s), 99.0) < goal.limit_s
