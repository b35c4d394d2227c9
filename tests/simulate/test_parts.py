"""A run by model, task and window, and the time of every token: they add up to the whole."""

import json
import math
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import structured
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from model.calibration import dump
from phasewatt.errors import BadOption
from simulate.batching import Alone, Continuous, Disaggregated, Static
from simulate.breakdown import By, parse_by
from simulate.cli import main
from simulate.compare import compare
from simulate.fleet import Faults
from simulate.metrics import Slo
from simulate.scenario import Scenario

CALIBRATION = structured.calibration()
MODES = (
    Alone(),
    Static(4),
    Continuous(256, 16, 150),
    Disaggregated(1, 1, 1e-3, Continuous(2048, 64, 10_000)),
)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(MODES), st.sampled_from([0.7, 3.0, 1e3]))
def test_parts_add_up_to_the_whole(seed, batching, window_s):
    rng = np.random.default_rng(seed)
    trace = tiny.random_trace(rng, 30, 0.3)
    trace = replace(trace, task=[["chat", "code", None][i] for i in rng.integers(0, 3, 30)])
    ways = (By("model"), By("task"), By("window", window_s))
    scenario = Scenario(
        (), "fixed:1500", replicas=2, batching=batching, draws=0, slo=Slo(e2e_s=1.0), by=ways
    )
    if isinstance(batching, Disaggregated):
        scenario = replace(scenario, replicas=None)
    (result,) = compare(trace, CALIBRATION, scenario).results
    metrics, replayed = result.metrics, result.outcome.replayed
    own_j = float((replayed.prefill_j + replayed.decode_j + replayed.switching_j).sum())
    for way in ways:
        parts = result.parts[way.label]
        assert sum(part.requests for part in parts) == 30
        assert sum(part.rejected for part in parts) == metrics.rejected
        assert sum(part.output_tokens for part in parts) == metrics.output_tokens
        assert math.fsum(part.own_j for part in parts) == pytest.approx(own_j, rel=1e-9)
        met = sum(p.slo_attainment["all"] * p.requests for p in parts if p.requests)
        assert met == pytest.approx(30 * metrics.slo_attainment["all"])
        if way.what != "task":
            energy_j = math.fsum(part.power.energy_j for part in parts)
            assert energy_j == pytest.approx(metrics.energy_j, rel=1e-9)
        if way.what == "window":
            assert sum(part.span_s for part in parts) == pytest.approx(metrics.makespan_s)
    (whole,) = result.parts["model"]
    assert whole.latencies.ttft == metrics.ttft
    assert whole.latencies.e2e == metrics.e2e
    if not isinstance(batching, Alone):
        # All gaps of all tokens are those that engines count, each told apart by its request.
        tokens = replayed.tokens
        assert tokens.request.size == metrics.output_tokens + (trace.output_tokens == 0).sum()
        gaps_s = tokens.gaps_s(np.ones(30, dtype=np.bool_))
        counted = np.repeat(replayed.batches.gap_s, replayed.batches.gap_tokens)
        assert np.sort(gaps_s) == pytest.approx(np.sort(counted), rel=1e-9, abs=1e-9)
        last = np.flatnonzero(np.diff(tokens.request, append=-1))
        finish_s = replayed.finish_s[tokens.request[last]]
        assert tokens.time_s[last] == pytest.approx(finish_s, rel=1e-9)


def test_tasks_by_hand():
    trace = tiny.trace([0.0, 100.0, 200.0], [1024, 512, 1024], [9, 9, 1])
    trace = replace(trace, task=["chat", None, "chat"])
    scenario = Scenario((), "fixed:1000", replicas=1, draws=0, by=(By("task"), By("window", 150.0)))
    (result,) = compare(trace, tiny.calibration(), scenario).results
    # At 1000 MHz a prompt of 1024 tokens takes 7 s and a decode step 0.625 s.
    none, chat = result.parts["task"]
    assert (none.part, chat.part, none.requests, chat.requests) == ("(no task)", "chat", 1, 2)
    assert chat.latencies.e2e.mean_s == pytest.approx((12 + 7) / 2)
    assert none.latencies.ttft.p50_s == pytest.approx(3.5)
    assert chat.prefill_token_j == pytest.approx(14 * tiny.prefill_w(1000) / 2048)
    assert chat.decode_token_j == pytest.approx(0.625 * tiny.decode_w(1000))
    assert chat.power is None
    early, late = result.parts["window:150s"]
    assert (early.part, late.part) == ("0 to 150 s", "150 to 207 s")
    assert (early.requests, late.requests, late.span_s) == (2, 1, pytest.approx(57.0))
    assert late.power.energy_j == pytest.approx(50 * 50 + 7 * tiny.prefill_w(1000))
    assert late.power.peak_w["1s"] == pytest.approx(tiny.prefill_w(1000))
    assert late.latencies.tpot.p50_s is None


def test_a_latency_of_a_part_is_that_of_its_requests_alone():
    trace = tiny.random_trace(np.random.default_rng(1), 40, 0.2)
    trace = replace(trace, task=["a", "b"] * 20)
    scenario = Scenario(
        (), "fixed:1500", replicas=1, batching=MODES[2], draws=0, by=(By("task"),), token_times=True
    )
    (result,) = compare(trace, CALIBRATION, scenario).results
    tokens = result.outcome.replayed.tokens
    for number, part in enumerate(result.parts["task"]):
        gaps = [
            np.diff(tokens.time_s[tokens.request == request]) for request in range(number, 40, 2)
        ]
        p50, p99 = np.percentile(np.concatenate(gaps), [50, 99])
        assert (part.latencies.itl.p50_s, part.latencies.itl.p99_s) == pytest.approx((p50, p99))


def test_what_a_way_says():
    assert parse_by("model") == By("model")
    assert parse_by("window:10m") == By("window", 600.0)
    assert By("window", 600.0).label == "window:600s"
    for text in ("models", "window", "task:1", ""):
        with pytest.raises(BadOption) as error:
            parse_by(text)
        assert str(error.value) == f"--by: found {text!r}; expected model, task or window:TIME"
    with pytest.raises(BadOption, match=r"^--by window: found 'x'; expected a time"):
        parse_by("window:x")


@pytest.fixture
def command(capsys, tmp_path):
    path = tmp_path / "structured.json"
    path.write_text(dump(CALIBRATION))
    alike = tmp_path / "alike.jsonl"
    rows = [
        {
            "arrival_s": i / 4,
            "prompt_tokens": 97 + i,
            "output_tokens": 5,
            "task": "odd" if i % 2 else "even",
            "priority": i % 3,
            "block_hashes": [1, 2, 10 + i, 100 + i],
        }
        for i in range(20)
    ]
    alike.write_text("\n".join(json.dumps(row) for row in rows))

    def run(*words, trace=alike):
        shared = ("--trace", trace, "--calibration", path, "--draws", 0, "--replicas", 1)
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in (*shared, *words)])
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run


REFILLS = ("--batching", "continuous", "--kv-blocks", 60, "--hash-tokens", 32)


def test_parts_tokens_priorities_and_prefixes_as_a_user_asks_for_them(command, tmp_path):
    words = ("--by", "task", "--by", "window:2s", "--warm-up", "1s", "--token-times")
    order = ("--priority", "trace", "--slo", "e2e=1s")
    code, out, err = command(*REFILLS, *words, *order, "-o", tmp_path / "out")
    assert code == 0
    assert "parts.parquet, tokens.parquet" in err
    plain = " ".join(out.split())
    assert "by priority: trace" in plain
    assert "warm-up (as given): the first 1.0 s and the 4 requests that arrive in them" in plain
    for words in ("by task", "by window:2s", "1 to 2 s", "4 to", "even", "odd"):
        assert words in plain
    # The first 64 tokens of all prompts are the same: all but the first find them.
    for row in ("prompt tokens found cached", "energy proportionality", "power p99, W"):
        assert row in plain
    requests = pq.read_table(tmp_path / "out" / "requests.parquet").to_pydict()
    assert requests["found_tokens"] == 2 * [0, *[64] * 19]
    assert set(requests["task"]) == {"odd", "even"}
    tokens = pq.read_table(tmp_path / "out" / "tokens.parquet").to_pydict()
    assert tokens["token"] == 2 * 20 * [0, 1, 2, 3, 4]
    assert tokens["request"][:6] == [0, 0, 0, 0, 0, 1]
    assert tokens["time_s"][4::5] == pytest.approx(requests["finish_s"])
    parts = pq.read_table(tmp_path / "out" / "parts.parquet").to_pylist()
    assert {row["by"] for row in parts} == {"task", "window:2s"}
    assert sum(row["requests"] for row in parts if row["by"] == "task") == 2 * 16
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    metrics = summary["policies"][0]["metrics"]
    assert metrics["since_s"] == 1.0
    assert metrics["found_prompt_share"] == pytest.approx(16 * 64 / (16 * 97 + sum(range(4, 20))))
    assert [part["part"] for part in summary["policies"][0]["parts"]["task"]] == ["even", "odd"]
    code, out, _ = command(*REFILLS, "--prefix-cache", "off", "--json")
    off = json.loads(out)["policies"][0]["metrics"]
    assert (off["found_prompt_share"], off["since_s"]) == (0.0, 0.0)
    assert off["prefill_token_j"] > metrics["prefill_token_j"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("--priority", "trace"),
            "--priority belongs to --batching continuous; found 'none'",
        ),
        (
            ("--prefix-cache", "on", "--batching", "static:2"),
            "--prefix-cache belongs to --batching continuous; found 'static:2'",
        ),
        (
            ("--hash-tokens", "100"),
            "--hash-tokens: found 100; expected a multiple of 16, the tokens of a block",
        ),
        (
            (*REFILLS, "--hash-tokens", "64"),
            "trace 'alike.jsonl': query 0: found 4 block hashes for 97 prompt tokens, expected at "
            "most 2 of 64 tokens each (--hash-tokens)",
        ),
        (("--by", "hour"), "--by: found 'hour'; expected model, task or window:TIME"),
        (
            ("--by", "window:1ms"),
            "--by window: arrivals over 5 s make more than 1,000 windows of 0.001 s; expected a "
            "longer window",
        ),
        (
            ("--warm-up", "1m"),
            "--warm-up: found 60 s, and the last request arrives at 4.75 s: expected less",
        ),
        (
            ("--token-times",),
            "--token-times belongs to engines that batch; found --batching none, whose decodes are "
            "an interval each: expected static:1, say, which serves one request at a time, too",
        ),
    ],
)
def test_wrong_words_end_in_one_line(command, words, line):
    code, out, err = command(*words)
    assert (code, out, err) == (2, "", f"error: {line}\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            (*REFILLS, "--priority", "trace"),
            "--priority trace: trace 'synthetic:poisson,rate=1,n=9,prompt=90,output=3' holds no "
            "priorities; expected a column 'priority'",
        ),
        (
            (*REFILLS, "--prefix-cache", "on"),
            "--prefix-cache on: trace 'synthetic:poisson,rate=1,n=9,prompt=90,output=3' holds no "
            "block hashes that would tell which prompts begin alike",
        ),
        (("--by", "task"), "--by task: the trace holds no tasks; expected a column 'task'"),
    ],
)
def test_what_a_trace_does_not_hold(command, words, line):
    trace = "synthetic:poisson,rate=1,n=9,prompt=90,output=3"
    code, out, err = command(*words, trace=trace)
    assert (code, out, err) == (2, "", f"error: {line}\n")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(MODES[2:]))
def test_tokens_of_attempts_that_broke_are_not_kept(seed, batching):
    trace = tiny.random_trace(np.random.default_rng(seed), 25, 0.1)
    scenario = Scenario(
        (),
        "fixed:1500",
        batching=batching,
        draws=0,
        faults=Faults(1.0, 0.3, 3, seed),
        token_times=True,
    )
    if not isinstance(batching, Disaggregated):
        scenario = replace(scenario, replicas=2)
    (result,) = compare(trace, CALIBRATION, scenario).results
    replayed, tokens = result.outcome.replayed, result.outcome.replayed.tokens
    made = np.bincount(tokens.request, minlength=25)
    served = result.outcome.served
    assert made[served].tolist() == np.maximum(trace.output_tokens[served], 1).tolist()
    assert not made[~served].any()
    last = np.flatnonzero(np.diff(tokens.request, append=-1))
    assert tokens.time_s[last] == pytest.approx(replayed.finish_s[tokens.request[last]], rel=1e-9)
    first = tokens.time_s[tokens.number == 0]
    assert first == pytest.approx(replayed.first_token_s[tokens.request[last]], rel=1e-9)
