"""Scores and routing curves: hand-computed cases, and slow obvious versions to compare with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.difficulty.routing import curve
from model.difficulty.scores import (
    auc,
    average_precision,
    brier_skill,
    calibration_error,
    interval,
)

scored = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.7, 1.0]), st.booleans()), min_size=2, max_size=25
)


def slow_auc(score, label):
    wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p in score[label] for n in score[~label]]
    return sum(wins) / len(wins)


@given(scored)
def test_auc_is_the_share_of_pairs_in_order(rows):
    score, label = np.array([s for s, _ in rows]), np.array([right for _, right in rows])
    if label.all() or not label.any():
        assert np.isnan(auc(score, label))
    else:
        assert auc(score, label) == pytest.approx(slow_auc(score, label))
        assert auc(-score, label) == pytest.approx(1 - slow_auc(score, label))


def test_average_precision_by_hand():
    score = np.array([0.9, 0.8, 0.8, 0.1])
    label = np.array([True, False, True, True])
    # thresholds .9: 1/1 at recall 1/3; .8: 2/3 at 2/3; .1: 3/4 at 1
    assert average_precision(score, label) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert np.isnan(average_precision(score, np.zeros(4, bool)))


def test_brier_skill_and_calibration_error_by_hand():
    outcome = np.array([0.0, 1.0, 1.0, 1.0])
    assert brier_skill(np.full(4, 0.75), outcome) == 0
    assert brier_skill(outcome, outcome) == 1
    assert calibration_error(np.full(20, 0.5), np.repeat([0.0, 1.0], 10)) == pytest.approx(0.5)
    assert calibration_error(np.array([0.25, 0.75]), np.array([0.0, 1.0])) == pytest.approx(0.25)


def test_a_routing_curve_by_hand():
    small = np.array([1.0, 0.0, 0.0, 1.0])
    large = np.array([1.0, 1.0, 1.0, 0.0])
    routed = curve(np.array([0.2, 0.9, 0.8, 0.1]), small, large)
    assert routed.calls.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert routed.quality.tolist() == [0.5, 0.75, 1.0, 1.0, 0.75]
    # recovered: 0, 1, 2, 2, 1 -> trapezoids .5, 1.5, 2, 1.5 of width a quarter
    assert routed.apgr() == pytest.approx(5.5 / 4)
    assert routed.cpt(0.5) == 0.25
    assert routed.cpt(1.0) == 0.25
    # .75 is kept with a quarter of calls: .75 x 1 + .25 x 10 = 3.25 of 10
    assert routed.saved(0.0, 1.0, 10.0, both=False) == pytest.approx(1 - 3.25 / 10)
    assert routed.saved(0.0, 1.0, 10.0, both=True) == pytest.approx(1 - 3.5 / 10)


def test_queries_of_one_score_route_as_at_random():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 2, 50).astype(float)
    large = np.maximum(small, rng.integers(0, 2, 50))
    assert curve(np.zeros(50), small, large).apgr() == pytest.approx(0.5)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 1)), min_size=3, max_size=30))
def test_no_score_routes_better_than_the_gain_itself(rows):
    small, large, score = (np.array(each, float) for each in zip(*rows, strict=True))
    best = curve(large - small, small, large)
    assert (curve(score, small, large).quality <= best.quality + 1e-9).all()


def test_the_paired_interval_holds_a_known_difference():
    rng = np.random.default_rng(1)
    label = rng.random(2000) < 0.5
    good, bad = label + rng.normal(0, 1, 2000), rng.normal(0, 1, 2000)
    low, high = interval(
        2000, lambda rows: auc(good[rows], label[rows]) - auc(bad[rows], label[rows]), rng, draws=60
    )
    assert 0 < low < 0.26 < high < 0.4
