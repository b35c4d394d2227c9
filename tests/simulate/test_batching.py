"""Batches: what no run may break, what they must equal, and where they saturate."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import structured
import tiny
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model.calibration import dump, parse
from model.pricing import Step
from model.work import Phase
from phasewatt.errors import BadCalibration, BadOption, OutOfRange
from simulate.batching import Alone, Continuous, Disaggregated, Static, parse_batching, with_blocks
from simulate.compare import compare
from simulate.fleet import Routing
from simulate.meter import State
from simulate.metrics import Slo
from simulate.occupancy import busy_s, full_batch
from simulate.prepare import prepare, queries_of
from simulate.results import power_table, requests_table, write_results
from simulate.scenario import Arrivals, Scenario

EXACT = 1e-9
TINY, STRUCTURED = tiny.calibration(), structured.calibration()
POLICIES = ("max-frequency", "fixed:1500", "power-cap:230", "phase-aware", "min-energy")
EVERY = (
    *POLICIES,
    "phase-aware-amortised",
    "composition-aware",
    "slo-aware",
    "feedback",
    "greenllm",
    "voltana",
    "fleet-cap:900",
    "oracle",
)
MODES = (
    Static(1),
    Static(4),
    Continuous(8192, 1024, 10_000),
    Continuous(128, 16, 10_000),
    Continuous(256, 16, 150),
    Continuous(64, 64, 132),
    Continuous(2048, 8, 100),
    Disaggregated(1, 1, 1e-3, Continuous(2048, 64, 10_000)),
    Disaggregated(2, 1, 1e-4, Continuous(64, 16, 132)),
)
COLUMNS = ("start_s", "first_token_s", "finish_s", "prefill_j", "decode_j", "switching_j")


def engine_of(batching):
    """The limits of a replica that refills, or None."""
    batching = batching.engine if isinstance(batching, Disaggregated) else batching
    return batching if isinstance(batching, Continuous) else None


@st.composite
def runs(draw):
    trace = tiny.random_trace(
        np.random.default_rng(draw(st.integers(0, 2**32))),
        draw(st.integers(1, 40)),
        draw(st.sampled_from([0.02, 0.3, 3.0])),
    )
    scenario = Scenario(
        (),
        draw(st.sampled_from(EVERY)),
        replicas=draw(st.integers(1, 3)),
        routing=draw(st.sampled_from(Routing)),
        arrivals=draw(st.sampled_from(Arrivals)),
        batching=draw(st.sampled_from(MODES)),
        switch_latency_s=draw(st.sampled_from([0.0, 0.02])),
        min_dwell_s=draw(st.sampled_from([0.0, 0.5])),
        slo=Slo(ttft_s=0.1, tpot_s=0.0025),
        draws=0,
    )
    engine = engine_of(scenario.batching)
    if engine is not None:
        longest = trace.prompt_tokens + np.maximum(trace.output_tokens, 1) - 1
        assume(np.any(longest <= 16 * engine.kv_blocks))
    (result,) = compare(trace, STRUCTURED, scenario).results
    return trace, scenario, result


@settings(max_examples=120, deadline=None)
@given(runs())
def test_every_joule_second_request_and_block_is_counted_once(run):
    trace, scenario, result = run
    outcome, metrics, replayed = result.outcome, result.metrics, result.outcome.replayed
    intervals = replayed.intervals
    energy_j = float(intervals.energy_j.sum())
    assert sum(metrics.energy_by_state_j.values()) == pytest.approx(energy_j, rel=EXACT)
    table = power_table(outcome)
    integral_j = np.dot(table.column("power_w"), table.column("duration_s"))
    assert integral_j == pytest.approx(energy_j, rel=EXACT)
    for replica in range(outcome.replicas):
        mine = intervals.replica == replica
        ends_s = intervals.start_s[mine] + intervals.duration_s[mine]
        assert intervals.duration_s[mine].sum() == pytest.approx(outcome.makespan_s, rel=EXACT)
        assert intervals.start_s[mine] == pytest.approx([0, *ends_s[:-1]], rel=EXACT, abs=EXACT)

    by_state = outcome.energy_by_state_j
    served_j = replayed.prefill_j.sum() + replayed.decode_j.sum()
    computing_j = by_state[State.PREFILL] + by_state[State.DECODE] + by_state[State.MIXED]
    assert served_j == pytest.approx(computing_j, rel=EXACT)
    to_rest_j = by_state[State.SWITCHING] - replayed.switching_j.sum()
    assert to_rest_j >= -EXACT * energy_j
    if result.prepared.governor.idle_mhz is None:
        assert to_rest_j == pytest.approx(0, abs=EXACT * energy_j)

    served = outcome.served
    assert metrics.requests == len(trace) == served.sum() + metrics.rejected
    assert np.all(np.isnan(replayed.start_s) == ~served)
    assert np.all(replayed.prefill_j[~served] == 0)
    assert np.all(outcome.arrival_s[served] <= replayed.start_s[served] + EXACT)
    assert np.all(replayed.start_s[served] < replayed.first_token_s[served])
    no_decode = trace.output_tokens[served] <= 1
    ends_at_once = replayed.finish_s[served] == replayed.first_token_s[served]
    assert np.all(ends_at_once == no_decode)
    batches = replayed.batches
    assert batches.gap_tokens.sum() == np.maximum(trace.output_tokens[served] - 1, 0).sum()
    assert batches.gap_s @ batches.gap_tokens == pytest.approx(
        (replayed.finish_s - replayed.first_token_s)[served].sum(), rel=EXACT, abs=EXACT
    )
    assert batches.kv_blocks_left == 0
    engine = engine_of(scenario.batching)
    if engine is not None:
        assert 0 < batches.kv_blocks_peak <= engine.kv_blocks
        assert batches.gap_tokens.max(initial=0) <= engine.max_sequences
    else:
        assert not batches.preemptions


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.5, 5.0, 50.0]),
    st.sampled_from(POLICIES),
    st.sampled_from(Routing),
    st.sampled_from([Static(1), Continuous(4096, 1, 10_000)]),
)
def test_one_at_a_time_is_no_batching_at_all(seed, mean_gap_s, policy, routing, one_at_a_time):
    calibration = TINY if isinstance(one_at_a_time, Static) else flat()
    trace = tiny.random_trace(np.random.default_rng(seed), 25, mean_gap_s)
    scenario = Scenario((), policy, replicas=2, routing=routing, draws=0)
    alone, batched = (
        compare(trace, calibration, replace(scenario, batching=mode)).results[0].outcome
        for mode in (Alone(), one_at_a_time)
    )
    if isinstance(one_at_a_time, Static):
        assert alone.replayed.replica.tolist() == batched.replayed.replica.tolist()
    for name in COLUMNS:
        assert getattr(batched.replayed, name) == pytest.approx(
            getattr(alone.replayed, name), rel=EXACT, abs=EXACT
        ), name
    for state in State:
        assert batched.energy_by_state_j[state] == pytest.approx(
            alone.energy_by_state_j[state], rel=EXACT, abs=EXACT
        )


def flat():
    """Structured curves whose every decode step costs the same, so that sums of steps are exact."""
    return structured.calibration(kv_free=True)


def test_long_decodes_are_summed_step_by_step_and_one_at_a_time_by_quadrature():
    trace = tiny.trace([0.0, 1.0], [700, 20], [900, 1500])
    scenario = Scenario((), "phase-aware", replicas=1, draws=0)
    alone, batched = (
        compare(trace, STRUCTURED, replace(scenario, batching=mode)).results[0].outcome.replayed
        for mode in (Alone(), Static(1))
    )
    for name in COLUMNS:
        assert getattr(batched, name) == pytest.approx(getattr(alone, name), rel=1e-6), name


def test_a_finished_sequence_leaves_its_slot_empty():
    # Both are prefilled together; steps of two until the first ends, then of one.
    trace = tiny.trace([0.0, 0.0, 0.0], [64, 32, 16], [5, 9, 3])
    written = Scenario((), "fixed:1500", replicas=1, batching=Static(2), draws=0)
    calibration = structured.calibration()
    outcome = compare(trace, calibration, written).results[0].outcome
    curves = {p: calibration.curves_of("tiny", p) for p in Phase}

    def seconds(step):
        load = curves[step.phase]
        return float(load.time_s(step.work(1), 1500.0)[0])

    prefill_s = seconds(Step(2, 96, 64 * 65 // 2 + 32 * 33 // 2, 0, 0))
    together_s = sum(seconds(Step(0, 0, 0, 2, 65 + 33 + 2 * i)) for i in range(4))
    alone_s = sum(seconds(Step(0, 0, 0, 1, 37 + i)) for i in range(4))
    replayed = outcome.replayed
    assert replayed.first_token_s[:2] == pytest.approx([prefill_s] * 2)
    assert replayed.finish_s[0] == pytest.approx(prefill_s + together_s)
    assert replayed.finish_s[1] == pytest.approx(prefill_s + together_s + alone_s)
    assert replayed.start_s[2] == replayed.finish_s[1]


def test_a_cache_crosses_the_link_before_decode_begins():
    trace = tiny.trace([0.0, 0.0], [64, 32], [5, 1])
    batching = Disaggregated(1, 1, 1e-6, Continuous(2048, 8, 100))
    scenario = Scenario((), "fixed:1500", batching=batching, draws=0)
    outcome = compare(trace, STRUCTURED, scenario).results[0].outcome
    replayed, curves = outcome.replayed, {p: STRUCTURED.curves_of("tiny", p) for p in Phase}

    def seconds(step):
        return float(curves[step.phase].time_s(step.work(1), 1500.0)[0])

    prefill_s = seconds(Step(2, 96, 64 * 65 // 2 + 32 * 33 // 2, 0, 0))
    crossing_s = 64 * structured.SHAPE.kv_bytes_per_token() / 1e3
    decode_s = sum(seconds(Step(0, 0, 0, 1, 65 + i)) for i in range(4))
    assert outcome.replicas == 2
    assert replayed.first_token_s == pytest.approx([prefill_s] * 2)
    assert replayed.finish_s == pytest.approx([prefill_s + crossing_s + decode_s, prefill_s])
    assert replayed.batches.gap_s.max() > crossing_s
    idle_s = outcome.time_by_state_s[State.IDLE]
    assert idle_s == pytest.approx(2 * outcome.makespan_s - prefill_s - decode_s)


def test_two_pools_need_the_shape_of_the_model():
    written = json.loads(dump(STRUCTURED))
    written["geometries"] = []
    nameless = parse(json.dumps(written), "nameless.json")
    batching = Disaggregated(1, 1, 50.0, Continuous(2048, 8, 100))
    scenario = Scenario((), "fixed:1500", batching=batching, draws=0)
    with pytest.raises(BadOption, match="does not tell the shape of tiny, whose KV cache crosses"):
        compare(tiny.trace([0.0], [64], [5]), nameless, scenario)


def load(rate, n=400, mode=None, seed=3):
    rng = np.random.default_rng(seed)
    trace = tiny.trace(
        np.cumsum(rng.exponential(1 / rate, n)), rng.integers(20, 200, n), rng.integers(5, 60, n)
    )
    scenario = Scenario(
        (), "fixed:1500", replicas=1, batching=mode or Continuous(2048, 32, 10_000), draws=0
    )
    return trace, scenario


@pytest.mark.parametrize(
    ("mode", "full"), [(Continuous(2048, 32, 10_000), 32), (Continuous(96, 64, 10_000), 64)]
)
def test_beyond_the_capacity_of_the_curves_queues_grow_and_throughput_stays(mode, full):
    assert_saturation(mode, full)


def test_static_batches_saturate_at_their_capacity_too():
    assert_saturation(Static(8), 8)


def assert_saturation(mode, full):
    trace, scenario = load(1.0, mode=mode)
    queries = queries_of(trace, scenario)
    serving = prepare("fixed:1500", scenario, STRUCTURED, queries).serving
    assert full_batch(queries.lengths, serving.limits, serving.decode) == full
    parts = serving.limits, serving.decode, serving.prices, serving.governor
    capacity = 1 / float(busy_s(queries.lengths, *parts).mean())
    ttft_s, rates = {}, {}
    for part in (0.3, 0.7, 1.5, 3.0):
        loaded, _ = load(part * capacity, n=1200)
        comparison = compare(loaded, STRUCTURED, scenario)
        metrics = comparison.results[0].metrics
        ttft_s[part] = metrics.ttft.p50_s
        rates[part] = metrics.requests_per_s / capacity
        assert any("is saturated" in line for line in comparison.warnings) == (part > 1)
    assert rates[0.3] == pytest.approx(0.3, rel=0.1)
    assert rates[0.7] == pytest.approx(0.7, rel=0.1)
    assert rates[1.5] == pytest.approx(1, rel=0.1)
    assert rates[3.0] == pytest.approx(1, rel=0.1)
    assert ttft_s[0.3] < ttft_s[0.7] < ttft_s[1.5] < ttft_s[3.0]
    assert ttft_s[3.0] > 20 * ttft_s[0.3]


def test_goodput_peaks_and_falls_as_load_grows():
    _, scenario = load(1.0)
    scenario = replace(scenario, slo=Slo(ttft_s=0.05, tpot_s=0.05))
    goodputs = []
    for rate in (20.0, 60.0, 120.0, 480.0):
        result = compare(load(rate, n=600)[0], STRUCTURED, scenario).results[0]
        goodputs.append(result.metrics.goodput_per_s)
    best = int(np.argmax(goodputs))
    assert 0 < best < 3
    assert goodputs[-1] < 0.7 * goodputs[best]


def test_the_fleet_grows_with_the_load():
    sizes = []
    for rate in (30.0, 300.0):
        trace, scenario = load(rate)
        sizes.append(compare(trace, STRUCTURED, replace(scenario, replicas=None)).replicas)
    assert 1 <= sizes[0] < sizes[1]


def test_requests_that_never_fit_are_rejected_counted_and_said(tmp_path):
    trace = tiny.trace([0.0, 0.1, 0.2], [100, 2000, 50], [10, 10, 10])
    scenario = Scenario((), "max-frequency", replicas=1, batching=Continuous(2048, 16, 20), draws=0)
    comparison = compare(trace, STRUCTURED, replace(scenario, slo=Slo(e2e_s=1e3)))
    result = comparison.results[0]
    assert result.outcome.replayed.rejected.tolist() == [False, True, False]
    assert result.metrics.rejected == 1
    assert result.metrics.slo_attainment["all"] == pytest.approx(2 / 3)
    assert any("1 requests were rejected" in line for line in comparison.warnings)
    assert requests_table(result.outcome).column("finish_s").null_count == 1
    write_results(comparison, tmp_path)
    assert pq.read_table(tmp_path / "requests.parquet").num_rows == 3
    with pytest.raises(BadOption) as error:
        compare(trace, STRUCTURED, replace(scenario, batching=Continuous(2048, 16, 2)))
    assert str(error.value) == (
        "--kv-blocks: found 2, which no request of the trace fits: expected more"
    )


def test_batches_beyond_the_calibrated_are_said_or_refused():
    trace, scenario = load(2000.0, n=300, mode=Continuous(8192, 1024, 10_000))
    lines = compare(trace, STRUCTURED, scenario).warnings
    assert any("beyond the 64 sequences at which tiny was measured" in line for line in lines)
    with pytest.raises(OutOfRange, match="was not measured at batch 128: expected batch 1 to 64"):
        compare(trace, STRUCTURED, replace(scenario, batching=Static(128)))
    with pytest.raises(OutOfRange, match="was not measured at batch 2: expected batch 1"):
        compare(trace, TINY, replace(scenario, batching=Static(2)))
    with pytest.raises(BadCalibration, match="cannot price a step of both phases"):
        compare(trace, TINY, scenario)


def test_the_kv_cache_takes_what_weights_leave():
    calibration = structured.calibration(memory_bytes=1e9)
    shape = structured.SHAPE
    known = with_blocks(Continuous(), calibration, "tiny")
    expected = (0.9e9 - 2 * shape.parameters) // (16 * shape.kv_bytes_per_token())
    assert known == Continuous(kv_blocks=int(expected))
    assert with_blocks(Continuous(kv_blocks=7), calibration, "tiny").kv_blocks == 7
    with pytest.raises(BadOption) as error:
        with_blocks(Continuous(), STRUCTURED, "tiny")
    assert str(error.value) == (
        "the calibration does not tell the memory of Tiny GPU, so its KV cache cannot be reckoned: "
        "pass --kv-blocks N, in blocks of 16 tokens"
    )
    with pytest.raises(BadOption, match="does not tell the shape of tiny"):
        with_blocks(Continuous(), TINY, "tiny")
    with pytest.raises(BadOption, match=r"weights of tiny take .* GB and leave no KV cache"):
        with_blocks(Continuous(), structured.calibration(memory_bytes=4e7), "tiny")


def test_what_batching_says():
    assert parse_batching("none") == Alone()
    assert parse_batching("static:8") == Static(8)
    assert parse_batching("continuous") == Continuous(8192, 1024, None)
    assert parse_batching("continuous", max_batched_tokens=512) == Continuous(512, 512, None)
    assert parse_batching("continuous", 2048, 16, 99) == Continuous(2048, 16, 99)
    assert parse_batching("disaggregated:2:3") == Disaggregated(2, 3)
    assert parse_batching("disaggregated:2:3", 64, 8, 9, 25.0) == Disaggregated(
        2, 3, 25.0, Continuous(64, 8, 9)
    )


NONE_OF_THEM = "--batching: found '{}'; expected none, static:N, continuous or disaggregated:P:D"


@pytest.mark.parametrize(
    ("given_words", "line"),
    [
        (("static:0",), NONE_OF_THEM.format("static:0")),
        (("dynamic",), NONE_OF_THEM.format("dynamic")),
        (("disaggregated:2",), NONE_OF_THEM.format("disaggregated:2")),
        (("disaggregated:0:1",), NONE_OF_THEM.format("disaggregated:0:1")),
        (
            ("continuous", None, None, None, 9.0),
            "--link-gb-per-s belongs to --batching disaggregated; found 'continuous'",
        ),
        (
            ("disaggregated:1:1", None, None, None, 0.0),
            "--link-gb-per-s: found 0; expected more than 0",
        ),
        (("none", 512), "--max-batched-tokens belongs to --batching continuous; found 'none'"),
        (("continuous", None, 0), "--max-num-seqs: found 0; expected 1 or more"),
        (
            ("continuous", 64, 65),
            "--max-num-seqs: found 65; expected at most --max-batched-tokens, 64, since each "
            "running request takes a token of every step",
        ),
    ],
)
def test_what_batching_refuses(given_words, line):
    with pytest.raises(BadOption) as error:
        parse_batching(*given_words)
    assert str(error.value) == line
