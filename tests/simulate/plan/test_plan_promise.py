"""Prediction bounds keep their word: on draws of their own model, and exactly where they must."""

import math

import numpy as np
import pytest
from scipy import stats

from simulate.plan.promise import each_of, upper_bound


@pytest.mark.parametrize(("runs", "confidence"), [(2, 0.9), (5, 0.95), (12, 0.8)])
def test_one_more_run_stays_below_as_often_as_said(runs, confidence):
    drawn = np.exp(np.random.default_rng(runs).normal(-1.0, 0.3, (4000, runs + 1)))
    kept = np.mean([row[-1] <= upper_bound(row[:-1].tolist(), confidence) for row in drawn])
    reach = 3 * math.sqrt(confidence * (1 - confidence) / 4000)
    assert kept == pytest.approx(confidence, abs=reach)


def test_the_bound_by_hand():
    values = [1.0, math.e]
    spread = math.sqrt(0.5)
    by_hand = 0.5 + stats.t.ppf(0.95, 1) * spread * math.sqrt(1.5)
    assert upper_bound(values, 0.95) == pytest.approx(math.exp(by_hand))


def test_runs_that_agree_promise_what_they_say():
    assert upper_bound([0.25] * 4, 0.99) == pytest.approx(0.25)
    assert upper_bound([0.0, 0.0], 0.99) == 0.0


def test_one_run_promises_nothing_nor_do_runs_without_end():
    assert upper_bound([0.25], 0.95) == math.inf
    assert upper_bound([0.25, math.inf, 0.3], 0.95) == math.inf


def test_goals_that_hold_together_must_each_hold_more_surely():
    assert each_of(1, 0.95) == pytest.approx(0.95)
    assert each_of(4, 0.96) == pytest.approx(0.99)
