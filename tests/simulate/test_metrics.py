"""The figures of a run, and the objectives that they are held to."""

import dataclasses
import itertools

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from phasewatt.errors import BadOption
from simulate.compare import compare
from simulate.meter import Intervals
from simulate.metrics import Slo, attainment, measure, parse_seconds, parse_slo
from simulate.percentiles import percentiles, weighted_percentiles
from simulate.power import peaks_w
from simulate.scenario import Scenario


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1.5", 1.5),
        ("1.5s", 1.5),
        ("50ms", 0.05),
        ("2m", 120.0),
        ("1e-3", 0.001),
        (" 3 s", 3.0),
        (".5ms", 0.0005),
    ],
)
def test_times(text, seconds):
    assert parse_seconds("--slo ttft", text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["", "s", "ms", "0", "-1s", "0ms", "inf", "nan", "1w", "1 minute", "1sm", "1mms", "1,5"]
)
def test_wrong_times(text):
    with pytest.raises(BadOption) as error:
        parse_seconds("--slo ttft", text)
    assert str(error.value) == (
        f"--slo ttft: found {text!r}; expected a time such as 0.2, 200ms or 2m"
    )


def test_objectives():
    assert parse_slo("ttft=1s,tpot=50ms,e2e=30") == Slo(1.0, 0.05, 30.0)
    assert parse_slo(" e2e=2m , ttft=0.5 ") == Slo(0.5, None, 120.0)


@pytest.mark.parametrize("text", ["", "ttft=1,", "ttft=1,ttft=2", "TTFT=1", "latency=1", "=1"])
def test_wrong_objectives(text):
    with pytest.raises(BadOption, match=r"^--slo: found .*; expected ttft=, tpot= and e2e=, each"):
        parse_slo(text)


@pytest.mark.parametrize("text", ["ttft", "ttft=", "ttft=fast", "tpot=-1ms"])
def test_objectives_with_wrong_times(text):
    with pytest.raises(BadOption, match=r"^--slo t[tp][fo]t: found .*; expected a time such as"):
        parse_slo(text)


@given(
    npst.arrays(
        np.float64, st.integers(0, 50), elements=st.one_of(st.floats(0, 1e6), st.just(np.nan))
    )
)
def test_percentiles_are_those_of_numpy_without_what_is_unknown(values_s):
    found = percentiles(values_s)
    known = values_s[~np.isnan(values_s)]
    if known.size == 0:
        assert dataclasses.astuple(found) == (None, None, None, None)
    else:
        assert found.mean_s == pytest.approx(np.nanmean(values_s))
        assert found.p50_s == pytest.approx(np.median(known))
        assert [found.p95_s, found.p99_s] == np.nanpercentile(values_s, [95, 99]).tolist()


def outcome_of(arrivals, prompts, outputs, policy="fixed:1000", **options):
    scenario = Scenario((), policy, replicas=1, draws=0, **options)
    return compare(tiny.trace(arrivals, prompts, outputs), tiny.calibration(), scenario).results[0]


def test_attainment_counts_requests():
    # At 1000 MHz a prompt of 1024 tokens takes 7 s and a decode step 0.625 s.
    outcome = outcome_of([0, 0, 100, 200], [1024, 1024, 512, 1024], [9, 1, 9, 0]).outcome
    assert outcome.ttft_s.tolist() == pytest.approx([7.0, 7 + 5 + 7, 3.5, 7.0])
    assert attainment(outcome, Slo(ttft_s=7.0)) == {"ttft": 0.75, "all": 0.75}
    assert attainment(outcome, Slo(ttft_s=3.4)) == {"ttft": 0.0, "all": 0.0}
    # Requests of fewer than two tokens have no time per token to miss.
    assert attainment(outcome, Slo(tpot_s=0.6)) == {"tpot": 0.5, "all": 0.5}
    assert attainment(outcome, Slo(tpot_s=0.626)) == {"tpot": 1.0, "all": 1.0}
    assert attainment(outcome, Slo(ttft_s=3.5, tpot_s=0.6, e2e_s=12.0)) == {
        "ttft": 0.25,
        "tpot": 0.5,
        "e2e": 0.75,
        "all": 0.0,
    }
    assert measure(outcome).slo_attainment is None
    assert measure(outcome, Slo(e2e_s=1e9)).slo_attainment == {"e2e": 1.0, "all": 1.0}


def test_a_trace_that_generates_nothing_has_no_energy_per_token_and_no_tpot():
    metrics = outcome_of([0, 1], [64, 64], [0, 0]).metrics
    assert metrics.output_token_j is None
    assert metrics.output_tokens == metrics.output_tokens_per_s == 0
    assert dataclasses.astuple(metrics.tpot) == (None, None, None, None)
    assert metrics.energy_by_state_j["decode"] == 0


def test_rates_are_over_the_makespan():
    metrics = outcome_of([0, 50], [1024, 1024], [9, 9]).metrics
    assert metrics.makespan_s == pytest.approx(50 + 7 + 5)
    assert metrics.requests_per_s == pytest.approx(2 / 62)
    assert metrics.output_tokens_per_s == pytest.approx(18 / 62)
    assert metrics.utilisation == pytest.approx(24 / 62)
    assert metrics.mean_power_w == pytest.approx(metrics.energy_j / 62)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5)), min_size=1, max_size=30))
def test_weighted_percentiles_are_those_of_every_value_written_out(pairs):
    values, weights = (np.array(column) for column in zip(*pairs, strict=True))
    found = weighted_percentiles(values / 8, weights)
    written_out = percentiles(np.repeat(values / 8, weights))
    assert vars(found) == pytest.approx(vars(written_out))
    assert weighted_percentiles(np.array([]), weights[:0]).p50_s is None


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_peaks_are_the_highest_that_any_window_sees(seed, replicas):
    rng = np.random.default_rng(seed)
    rows, end_s = [], 30.0
    for replica in range(replicas):
        cuts = np.sort(np.append(rng.uniform(0, end_s, rng.integers(0, 12)), [0, end_s]))
        for start, stop in itertools.pairwise(cuts.tolist()):
            rows.append((replica, start, stop - start, float(rng.uniform(0, 700))))
    replica, start_s, duration_s, power_w = (np.array(c) for c in zip(*rows, strict=True))
    order = np.argsort(start_s + duration_s, kind="stable")
    intervals = Intervals(
        replica[order].astype(np.int32),
        np.zeros(order.size, dtype=np.int8),
        start_s[order],
        duration_s[order],
        np.zeros(order.size),
        power_w[order],
    )
    peaks = peaks_w(intervals)
    assert peaks["60s"] is None
    for label, window_s in (("100ms", 0.1), ("1s", 1.0), ("10s", 10.0)):
        begins = np.linspace(0, end_s - window_s, 4000)
        inside_s = np.minimum(start_s + duration_s, begins[:, None] + window_s)
        inside_s = np.maximum(inside_s - np.maximum(start_s, begins[:, None]), 0)
        tried_w = (inside_s @ power_w) / window_s
        assert tried_w.max() <= peaks[label] * (1 + 1e-9)
        # The grid of windows misses the best start by 4 ms at most.
        assert peaks[label] <= tried_w.max() + 700 * replicas * 0.008 / window_s


def test_peaks_do_not_depend_on_the_pieces_in_which_they_are_found(monkeypatch):
    rng = np.random.default_rng(5)
    starts_s = np.cumsum(rng.uniform(0.05, 2.0, 400))
    intervals = Intervals(
        np.zeros(400, dtype=np.int32),
        np.zeros(400, dtype=np.int8),
        starts_s,
        rng.uniform(0.05, 3.0, 400),
        np.full(400, 1000.0),
        rng.uniform(100.0, 700.0, 400),
    )
    whole = peaks_w(intervals)
    monkeypatch.setattr("simulate.power._MOMENTS_AT_ONCE", 7)
    assert peaks_w(intervals) == whole
