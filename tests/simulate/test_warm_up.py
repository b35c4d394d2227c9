"""What is left out of the begin of a run: by hand, by the rule as written, as a user says."""

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from phasewatt.errors import BadOption
from simulate.compare import compare
from simulate.metrics import measure
from simulate.power import clipped
from simulate.scenario import Scenario
from simulate.warmup import BATCH, WarmUp, mser5, parse_warm_up


@given(npst.arrays(np.float64, st.integers(0, 150), elements=st.integers(0, 50).map(float)))
def test_mser5_is_the_rule_as_it_is_written(values):
    means = [
        float(np.mean(values[i : i + BATCH])) for i in range(0, values.size - BATCH + 1, BATCH)
    ]
    errors = [
        sum((m - np.mean(means[d:])) ** 2 for m in means[d:]) / (len(means) - d) ** 2
        for d in range(max(len(means) - BATCH, 1) if means else 0)
    ]
    found = mser5(values)
    if len(means) < 2:
        assert found is None
    elif found is None:
        assert min(errors[: len(means) // 2 + 1], default=np.inf) >= min(errors) - 1e-9
    else:
        assert found <= values.size / 2
        assert errors[found // BATCH] == pytest.approx(min(errors), abs=1e-9)


def test_mser5_leaves_out_what_differs_at_the_begin():
    steady = np.tile([1.0, 2.0, 3.0, 2.0, 2.0, 1.0, 1.0], 100)
    assert mser5(steady) < 50
    assert mser5(np.concatenate([np.linspace(40, 2, 60), steady])) in range(50, 80)
    assert mser5(np.arange(500.0)) is None


def run(**options):
    trace = tiny.trace([0.0, 5.0, 60.0, 100.0], [1024, 512, 1024, 512], [9, 1, 9, 17])
    scenario = Scenario((), "fixed:1000", replicas=1, draws=0, **options)
    return compare(trace, tiny.calibration(), scenario)


def test_figures_are_of_what_arrives_later_and_of_the_fleet_from_then_on():
    comparison = run(warm_up=WarmUp(50.0))
    (result,) = comparison.results
    metrics, outcome = result.metrics, result.outcome
    # At 1000 MHz a prompt of 1024 tokens takes 7 s, a decode step 0.625 s.
    assert (metrics.since_s, metrics.requests, metrics.output_tokens) == (50.0, 2, 26)
    assert metrics.ttft.mean_s == pytest.approx((7 + 3.5) / 2)
    assert metrics.e2e.p50_s == pytest.approx((12 + 13.5) / 2)
    assert metrics.makespan_s == pytest.approx(113.5)
    assert metrics.requests_per_s == pytest.approx(2 / 63.5)
    assert metrics.utilisation == pytest.approx(25.5 / 63.5)
    later = clipped(outcome.replayed.intervals, 50.0, 113.5)
    assert metrics.energy_j == pytest.approx(later.energy_j.sum())
    assert result.energy_j.value == metrics.energy_j
    idle_w = tiny.calibration().gpu.idle_power_w
    prefill_j, decode_j = 10.5 * tiny.prefill_w(1000), 24 * 0.625 * tiny.decode_w(1000)
    assert metrics.energy_j == pytest.approx(38 * idle_w + prefill_j + decode_j)
    assert metrics.prefill_token_j == pytest.approx(prefill_j / 1536)
    assert metrics.decode_token_j == pytest.approx(decode_j / 24)
    assert any(
        line.startswith("warm-up (as given): the first 50.0 s and the 2 requests")
        for line in comparison.warnings
    )


def test_nothing_is_left_out_unless_asked():
    (result,) = run().results
    assert result.metrics == measure(result.outcome)
    assert result.metrics.since_s == 0


def test_auto_says_what_it_finds():
    assert any("MSER-5 finds no end of it" in line for line in run(warm_up=WarmUp(None)).warnings)
    rng = np.random.default_rng(3)
    n = 300
    # The first forty arrive at once.
    arrivals = np.concatenate([np.zeros(40), 2000 + np.cumsum(rng.uniform(20, 40, n))])
    trace = tiny.trace(arrivals, np.full(n + 40, 512), np.full(n + 40, 4))
    scenario = Scenario((), "fixed:1000", replicas=1, draws=0, warm_up=WarmUp(None))
    comparison = compare(trace, tiny.calibration(), scenario)
    assert comparison.results[0].metrics.requests == n
    assert any("found by MSER-5 in TTFT" in line for line in comparison.warnings)


def test_what_a_warm_up_says():
    assert parse_warm_up("auto") == WarmUp(None)
    assert parse_warm_up("0") == WarmUp(0.0)
    assert parse_warm_up("2m") == WarmUp(120.0)
    with pytest.raises(BadOption, match=r"^--warm-up: found 'soon'; expected a time such as"):
        parse_warm_up("soon")
    with pytest.raises(BadOption) as error:
        run(warm_up=WarmUp(101.0))
    assert str(error.value) == (
        "--warm-up: found 101 s, and the last request arrives at 100 s: expected less"
    )
