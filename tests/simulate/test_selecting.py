"""Ten queries with known outcomes on a fleet of two models: energy, quality and latency by hand."""

import json

import numpy as np
import pytest
import structured
import tiny
import two_models
from hypothesis import given, settings
from hypothesis import strategies as st
from two_models import GROUPS, SLOWER

from model.calibration import dump, parse
from phasewatt.errors import BadOption, BadPolicy
from simulate.batching import Continuous, Disaggregated, Static
from simulate.compare import compare
from simulate.fleet import Faults, Sleep
from simulate.meter import State
from simulate.quality import How
from simulate.results import requests_table
from simulate.scenario import Scenario
from traces import Trace

NAN = float("nan")
PROMPTS = [1024, 512, 256, 1024, 128, 64, 2048, 512, 256, 1024]
OUTPUTS = [5, 9, 1, 0, 17, 5, 3, 2, 9, 1]
TINY = [1, 1, 0, 0, 0, 1, 1, 0, 1, 0]
HUGE = [1, 1, 1, 1, 0, 1, 0, 1, 1, 1]
SURE = [-0.1, -0.2, -2.0, -0.3, -3.0, -0.1, -0.4, -5.0, -0.2, -1.0]
GAP_S = 500.0
MHZ = 1000.0
IDLE_W = 50.0


def ten(**columns) -> Trace:
    base = tiny.trace(GAP_S * np.arange(10), PROMPTS, OUTPUTS)
    known = {"quality": {"tiny": TINY, "huge": HUGE}, "confidence": {"tiny": SURE}}
    return Trace("ten", base.arrival_s, base.prompt_tokens, base.output_tokens, **(known | columns))


def scenario(*policies, **more):
    given = {"baseline": f"single:huge+fixed:{MHZ:g}", "groups": GROUPS, "draws": 0}
    return Scenario(tuple(f"{policy}+fixed:{MHZ:g}" for policy in policies), **(given | more))


def last(trace, *policies, **more):
    return compare(trace, two_models.calibration(), scenario(*policies, **more)).results[-1]


def alone(query, model, outputs=OUTPUTS):
    """Seconds and joules of one query served alone."""
    slower, more_w = (SLOWER, 30.0) if model == "huge" else (1, 0.0)
    prefill_s = slower * tiny.prefill_s(PROMPTS[query], MHZ)
    decode_s = slower * tiny.decode_s(max(outputs[query] - 1, 0), MHZ)
    prefill_j = prefill_s * (tiny.prefill_w(MHZ) + more_w)
    return prefill_s, decode_s, prefill_j + decode_s * (tiny.decode_w(MHZ) + more_w)


S, L = ["tiny"], ["huge"]
SL = [*S, *L]


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ("single:tiny", [S] * 10),
        ("single:huge", [L] * 10),
        ("oracle", [S, S, L, L, S, S, S, L, S, L]),
        # 0.5 and more: who is less sure than -0.5 is asked again.
        ("cascade:threshold=0.5", [S, S, SL, S, SL, S, S, SL, S, SL]),
        ("random:0", [S] * 10),
        ("random:tiny=0,huge=1", [L] * 10),
    ],
)
def test_ten_queries_by_hand(policy, served):
    result = last(ten(), policy)
    outcome, replayed = result.outcome, result.outcome.replayed
    spent_j, busy_s = np.zeros(10), 0.0
    for query, models in enumerate(served):
        waited_s = 0.0
        for model in models:
            prefill_s, decode_s, joules = alone(query, model)
            spent_j[query] += joules
            first_s, waited_s = waited_s + prefill_s, waited_s + prefill_s + decode_s
        busy_s += waited_s
        # Each finds the fleet at rest: what it waits for is the models that answer it.
        assert outcome.ttft_s[query] == pytest.approx(first_s)
        assert outcome.e2e_s[query] == pytest.approx(waited_s)
        assert outcome.queue_s[query] == pytest.approx(0, abs=1e-9)
    assert replayed.prefill_j + replayed.decode_j == pytest.approx(spent_j)
    idle_s = 2 * outcome.makespan_s - busy_s
    assert outcome.makespan_s == pytest.approx(9 * GAP_S + waited_s)
    assert outcome.energy_j == pytest.approx(spent_j.sum() + idle_s * IDLE_W)
    assert outcome.time_by_state_s[State.IDLE] == pytest.approx(idle_s)
    right = [{"tiny": TINY, "huge": HUGE}[models[-1]][q] for q, models in enumerate(served)]
    assert result.quality.how is How.MEASURED
    table = requests_table(outcome, quality=result.request_quality)
    assert table.column("quality").to_pylist() == right
    assert table.column("model").to_pylist() == [models[-1] for models in served]
    assert result.quality.mean == pytest.approx(np.mean(right))
    assert result.quality.answered_twice == pytest.approx(np.mean([len(m) == 2 for m in served]))
    models = [outcome.groups[group].model for group in outcome.group_of]
    assert models == [models[-1] for models in served]


def test_a_model_may_give_longer_answers_than_another():
    longer = [3 * tokens for tokens in OUTPUTS]
    result = last(ten(answer_tokens={"huge": longer}), "single:huge")
    for query in range(10):
        prefill_s, decode_s, _ = alone(query, "huge", longer)
        assert result.outcome.e2e_s[query] == pytest.approx(prefill_s + decode_s)
    assert result.outcome.output_tokens.tolist() == longer
    assert result.metrics.output_tokens == sum(longer)
    cascade = last(ten(answer_tokens={"huge": longer}), "cascade:threshold=0.5")
    twice = [q for q in range(10) if SURE[q] < -0.5]
    assert cascade.outcome.output_tokens.tolist() == [
        longer[q] if q in twice else OUTPUTS[q] for q in range(10)
    ]


def test_the_second_model_is_busy_with_what_the_first_sends_on():
    """All arrive at once: the large model serves in the order in which first answers end."""
    trace = tiny.trace(np.zeros(3), [1024] * 3, [1] * 3)
    trace = Trace(
        "three",
        trace.arrival_s,
        trace.prompt_tokens,
        trace.output_tokens,
        confidence={"tiny": [-1.0, -1.0, -1.0]},
    )
    outcome = last(trace, "cascade:threshold=0").outcome
    small_s = tiny.prefill_s(1024, MHZ)
    large_s = SLOWER * small_s
    assert outcome.replayed.finish_s == pytest.approx(
        [small_s + large_s, small_s + 2 * large_s, small_s + 3 * large_s]
    )
    assert outcome.makespan_s == pytest.approx(small_s + 3 * large_s)
    assert outcome.replayed.start_s == pytest.approx([0, small_s, 2 * small_s])


def batching_calibration():
    """The structured calibration with a second model, whose decode is slower."""
    written = json.loads(dump(structured.calibration()))
    slower = json.loads(dump(structured.calibration(decode_faster=0.5)))
    for part, name in (("curves", "model"), ("geometries", "name")):
        written[part] += [each | {name: "huge"} for each in slower[part]]
    return parse(json.dumps(written), "batching.json")


@pytest.mark.parametrize(
    ("batching", "groups"),
    [
        (Static(4), ("a=tiny:1", "b=huge:2")),
        (Continuous(8192, 64, 400), ("a=tiny:1", "b=huge:2")),
        (Continuous(8192, 64, 200), ("b=huge:1", "a=tiny:1", "c=huge:1")),
        (
            Disaggregated(1, 1, 0.01, Continuous(8192, 64, 400)),
            ("a=tiny:1:2", "b=huge:2:1", "c=tiny:1:1"),
        ),
    ],
)
def test_batches_of_first_and_second_answers_add_up(batching, groups):
    rng = np.random.default_rng(3)
    base = tiny.random_trace(rng, 60, 0.02)
    trace = Trace(
        "batched",
        base.arrival_s,
        base.prompt_tokens,
        np.maximum(base.output_tokens, 1),
        confidence={"tiny": -rng.exponential(1.0, 60)},
    )
    asked = scenario("cascade:threshold=0.7", groups=groups, batching=batching, token_times=True)
    outcome = compare(trace, batching_calibration(), asked).results[-1].outcome
    replayed, intervals = outcome.replayed, outcome.replayed.intervals
    twice = trace.confidence["tiny"] < -0.7
    models = np.array([outcome.groups[group].model for group in outcome.group_of])
    served = outcome.served
    assert served.sum() > 50
    assert np.array_equal(models[served] == "huge", twice[served])
    assert np.all(replayed.finish_s[served] >= replayed.first_token_s[served])
    spent_j = replayed.prefill_j + replayed.decode_j + replayed.switching_j
    energy_j = outcome.energy_by_state_j
    # Every joule that is not idle is some query's, but for switches to the clock of rest.
    assert spent_j.sum() == pytest.approx(outcome.energy_j - energy_j[State.IDLE], rel=1e-9)
    for replica in range(outcome.replicas):
        mine = intervals.replica == replica
        assert intervals.duration_s[mine].sum() == pytest.approx(outcome.makespan_s)
    # The tokens that are told are those of the answers that stand.
    made = np.bincount(replayed.tokens.request, minlength=60)
    assert np.array_equal(made[served], trace.output_tokens[served])
    first = replayed.tokens.number == 0
    assert replayed.tokens.time_s[first] == pytest.approx(replayed.first_token_s[served])
    # Second answers cost what they cost, and change nothing for those that were not asked again.
    asked = scenario("cascade:threshold=99", groups=groups, batching=batching)
    once = compare(trace, batching_calibration(), asked).results[-1].outcome.replayed
    again_j = spent_j - (once.prefill_j + once.decode_j + once.switching_j)
    assert np.all(again_j[served & twice] > 0)
    assert again_j[~twice] == pytest.approx(0, abs=1e-9)
    assert replayed.finish_s[served & ~twice] == pytest.approx(once.finish_s[served & ~twice])
    assert np.all(replayed.finish_s[served & twice] > once.finish_s[served & twice])


def test_a_group_that_cannot_keep_up_is_named():
    """The small model rests, and the line before the large one grows."""
    trace = tiny.trace(np.arange(200.0), np.full(200, 64), np.full(200, 1))
    trace = Trace(
        "rush",
        trace.arrival_s,
        trace.prompt_tokens,
        trace.output_tokens,
        confidence={"tiny": np.full(200, -1.0)},
    )
    for policy in ("single:huge", "cascade:threshold=0.5"):
        said = compare(trace, two_models.calibration(), scenario(policy)).warnings
        assert any(f"{policy}+fixed:1000: large is saturated (" in line for line in said)
        assert not any("small is saturated" in line for line in said)
    groups = ("small=tiny:9", "large=huge:40")
    said = compare(trace, two_models.calibration(), scenario(policy, groups=groups)).warnings
    assert not any("saturated" in line for line in said)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    policy=st.sampled_from(["cascade:threshold=0.7", "random:0.5", "oracle"]),
    groups=st.sampled_from([GROUPS, ("a=tiny:2", "b=huge:1", "c=huge:2")]),
    sleep=st.sampled_from([None, Sleep(2.0, 10.0, 0.5)]),
    faults=st.sampled_from([None, Faults(100.0, 5.0, None, 3), Faults(20.0, 3.0, 1, 3)]),
)
def test_nothing_is_lost_and_every_replica_is_metered_to_the_end(
    seed, policy, groups, sleep, faults
):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    base = tiny.random_trace(rng, n, rng.choice([0.1, 3.0, 50.0]))
    trace = Trace(
        "random",
        base.arrival_s,
        base.prompt_tokens,
        base.output_tokens,
        quality={"tiny": rng.integers(0, 2, n), "huge": rng.integers(0, 2, n)},
        confidence={"tiny": -rng.exponential(1.0, n)},
    )
    more = {"sleep": sleep, "faults": faults, "switch_latency_s": 0.1}
    outcome = last(trace, policy, groups=groups, **more).outcome
    replayed, intervals = outcome.replayed, outcome.replayed.intervals
    done = ~(replayed.rejected | replayed.failed)
    assert done.all() or faults is not None
    assert np.array_equal(done, ~np.isnan(replayed.finish_s))
    assert np.all((replayed.finish_s >= replayed.first_token_s)[done])
    assert np.all((replayed.start_s >= trace.arrival_s - 1e-9)[done])
    spent_j = replayed.prefill_j + replayed.decode_j + replayed.switching_j + replayed.wasted_j
    serving_j = sum(
        joules
        for state, joules in outcome.energy_by_state_j.items()
        if state in (State.PREFILL, State.DECODE, State.SWITCHING)
    )
    assert serving_j == pytest.approx(spent_j.sum(), rel=1e-9)
    for replica in range(outcome.replicas):
        mine = intervals.replica == replica
        assert intervals.duration_s[mine].sum() == pytest.approx(outcome.makespan_s)
        ends = (intervals.start_s + intervals.duration_s)[mine]
        assert intervals.start_s[mine][1:] == pytest.approx(ends[:-1])


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    policy=st.sampled_from(
        [
            "single:tiny",
            "single:huge",
            "random:0.4",
            "cascade:threshold=0.5",
            "cascade:min-quality=0.9",
        ]
    ),
)
def test_the_oracle_is_never_beaten_in_quality_or_in_joules_for_it(seed, policy):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 30))
    base = tiny.random_trace(rng, n, 1.0)
    trace = Trace(
        "random",
        base.arrival_s,
        base.prompt_tokens,
        base.output_tokens,
        quality={"tiny": rng.integers(0, 2, n), "huge": rng.integers(0, 2, n)},
        confidence={"tiny": -rng.exponential(1.0, n)},
    )
    results = compare(trace, two_models.calibration(), scenario(policy, "oracle")).results
    # A policy that is the baseline too is replayed once.
    other, oracle = results[-2:]
    assert oracle.quality.mean >= other.quality.mean

    def spent_j(result):
        return (result.outcome.replayed.prefill_j + result.outcome.replayed.decode_j).sum()

    if oracle.quality.mean == other.quality.mean:
        assert spent_j(oracle) <= spent_j(other) + 1e-6


def test_quality_is_unknown_where_nothing_tells_it():
    trace = ten(quality={}, confidence={})
    result = last(trace, "random:0.5")
    assert result.quality.how is How.UNKNOWN
    assert result.quality.mean is None
    said = compare(trace, two_models.calibration(), scenario("random:0.5")).warnings
    assert any("quality is unknown" in line for line in said)


def test_a_promise_is_told():
    rng = np.random.default_rng(0)
    n = 400
    hard = rng.random(n)
    trace = Trace(
        "promised",
        100.0 * np.arange(n),
        np.full(n, 64),
        np.ones(n, int),
        quality={"tiny": (hard < 0.5).astype(int), "huge": (hard < 0.9).astype(int)},
        confidence={"tiny": -hard},
    )
    comparison = compare(trace, two_models.calibration(), scenario("cascade:min-quality=0.9"))
    promise = comparison.results[-1].fleet.selected.choice.promise
    assert promise.held_out == 200
    assert any("promise" in line for line in comparison.warnings)


@pytest.mark.parametrize(
    ("policy", "columns", "error", "line"),
    [
        ("single:vast", {}, BadPolicy, "unknown model 'vast'; expected one of tiny, huge"),
        ("oracle", {"quality": {}}, BadPolicy, "found no outcomes"),
        ("cascade:threshold=0", {"confidence": {}}, BadPolicy, "expected a column confidence.tiny"),
        ("rule", {}, BadPolicy, "needs the queries' text"),
        ("difficulty:threshold=0", {}, BadPolicy, "needs the queries' text and a predictor"),
    ],
)
def test_what_a_policy_lacks(policy, columns, error, line):
    with pytest.raises(error, match=line):
        last(ten(**columns), policy)


def test_a_selection_needs_a_fleet_of_several_models():
    with pytest.raises((BadPolicy, BadOption), match="--group"):
        last(ten(), "random:0.5", groups=(), baseline="max-frequency")
