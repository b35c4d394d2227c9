"""Goals as they are written, and percentiles as they are counted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasewatt.errors import BadOption
from simulate.metrics import Slo
from simulate.plan.goals import Figure, Goals, LatencyGoal, exempt, latency_goals, percentile_s

SLO = Slo(ttft_s=1.0, tpot_s=0.05)


def test_one_percentile_for_all_or_one_for_each():
    both = latency_goals(SLO, "95")
    assert [(g.figure.name, g.limit_s) for g in both] == [("ttft_p95", 1.0), ("tpot_p95", 0.05)]
    apart = latency_goals(SLO, "tpot=50,ttft=99.9")
    assert [g.figure.name for g in apart] == ["ttft_p99.9", "tpot_p50"]
    assert [g.figure.name for g in latency_goals(SLO, "tpot=50")] == ["ttft_p99", "tpot_p50"]


@pytest.mark.parametrize(
    "percentile", ["", "100", "0", "-1", "nan", "e2e=99", "ttft=99,ttft=95", "99,95", "ttft="]
)
def test_percentiles_that_are_none(percentile):
    with pytest.raises(BadOption, match="--percentile: found"):
        latency_goals(SLO, percentile)


def test_goals_need_limits_that_make_sense():
    with pytest.raises(BadOption, match="--slo is missing"):
        latency_goals(None, "99")
    goals = (LatencyGoal(Figure("ttft", 99.0), 1.0),)
    for wrong in (
        {"confidence": 1.0},
        {"confidence": 0.2},
        {"window": "5s"},
        {"rack_power_w": 0.0},
        {"site_power_w": math.nan},
        {"max_gpus": 0},
        {"min_quality": 1.5},
    ):
        with pytest.raises(BadOption, match="found"):
            Goals(goals, **wrong)


def test_tighter_goals_are_the_same_but_for_their_limits():
    goals = Goals(latency_goals(SLO, "99"), max_gpus=7)
    tighter = goals.tightened(0.8)
    assert [g.limit_s for g in tighter.latencies] == pytest.approx([0.8, 0.04])
    assert (tighter.figures, tighter.max_gpus) == (goals.figures, 7)


VALUES = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=60)


@given(VALUES, st.floats(0.5, 99.5))
def test_percentiles_are_numpys(values, percentile):
    expected = float(np.percentile(values, percentile))
    assert percentile_s(np.array([*values, np.nan]), percentile) == pytest.approx(expected)


@given(VALUES, st.floats(0.5, 99.5), st.integers(0, 5))
def test_no_more_than_the_exempt_miss_a_limit_that_the_percentile_keeps(values, percentile, limit):
    if percentile_s(np.array(values), percentile) <= limit:
        assert sum(value > limit for value in values) <= exempt(len(values), percentile)


def test_who_waits_for_ever_counts():
    values = np.array([1.0] * 98 + [np.inf] * 2)
    assert percentile_s(values, 90) == 1.0
    assert percentile_s(values, 99) == np.inf
    assert percentile_s(np.array([np.nan]), 99) == 0.0
