"""A promise about quality holds as often as it says, and a proof is a proof."""

from dataclasses import replace

import numpy as np
import pytest

from policies import Sight, make_selection
from policies.promise import exceeds_zero, learned_threshold, split


def test_a_proof_is_wrong_no_more_often_than_it_says():
    rng = np.random.default_rng(0)
    for low, values in (
        (-0.95, (1.0, -0.95)),
        (-1.0, (1.0, -1.0)),
        (-0.5, (0.05, -0.5)),
    ):
        chance = -values[1] / (values[0] - values[1])  # the mean is 0
        wrong = 0
        for _ in range(400):
            drawn = np.where(rng.random(500) < chance, *values)
            wrong += exceeds_zero(drawn, low, 1.0, 0.1)
        assert wrong <= 0.1 * 400 + 3 * np.sqrt(400 * 0.1 * 0.9)


def test_a_clear_case_is_proven_and_its_opposite_is_not():
    rng = np.random.default_rng(1)
    noise = rng.uniform(-0.5, 0.5, 1000)
    assert exceeds_zero(noise + 0.1, -1, 1, 0.05)
    assert not exceeds_zero(noise - 0.1, -1, 1, 0.05)
    assert not exceeds_zero(np.empty(0), -1, 1, 0.05)


def test_what_is_as_good_everywhere_needs_no_large_model():
    ones = np.ones(500)
    assert learned_threshold(np.arange(500.0), ones, ones, 0.95, 0.95) == 499.0
    assert learned_threshold(np.arange(500.0), 0 * ones, ones, 0.95, 0.95) < 25
    assert learned_threshold(np.empty(0), ones[:0], ones[:0], 0.95, 0.95) == -np.inf


def test_a_score_beyond_all_others_is_always_the_large_models():
    score = np.where(np.arange(500) < 20, np.inf, np.arange(500.0))
    assert learned_threshold(score, np.ones(500), np.ones(500), 0.95, 0.95) == 499.0
    # To promise nothing is to keep it.
    assert learned_threshold(score, np.zeros(500), np.ones(500), 0.0, 0.95) == 499.0


def test_a_split_deals_every_query_once():
    learned, held = split(101, 0.3, 4)
    assert learned.size == 30
    assert sorted([*learned, *held]) == list(range(101))
    assert split(101, 0.3, 4)[0].tolist() == learned.tolist()
    assert split(101, 0.3, 5)[0].tolist() != learned.tolist()


class Told:
    """A predictor that is right about chances, which it tells without their noise."""

    def __init__(self, chances):
        self.quality = chances
        self.unlike = np.zeros(len(chances), dtype=bool)

    def gain(self, small, large):
        return self.quality[:, large] - self.quality[:, small]


@pytest.fixture(scope="module")
def population():
    """3,000 queries of which a small model answers 60% well and a large one 85%."""
    rng = np.random.default_rng(2)
    hard = rng.beta(1.2, 1.2, 3000)
    chances = np.column_stack([np.clip(1.1 - hard, 0, 1), 1 - 0.3 * hard])
    quality = (rng.random(chances.shape) < chances).astype(float)
    return Sight(
        ("small", "large"),
        np.tile([1.0, 10.0], (3000, 1)),
        quality,
        np.column_stack([-hard + 0.2 * rng.normal(size=3000), np.full(3000, np.nan)]),
        Told(chances),
    )


@pytest.mark.parametrize("text", ["difficulty:min-quality=0.95", "cascade:min-quality=0.95,text"])
def test_the_promise_is_kept_on_held_out_queries_in_nine_of_ten_splits(population, text):
    selection = make_selection(text)
    kept = 0
    for seed in range(50):
        choice = selection.choose(replace(population, seed=seed))
        promise = choice.promise
        learned, held = split(3000, 0.5, seed)
        assert (promise.calibrated, promise.held_out) == (learned.size, held.size)
        reached = choice.of(population.quality)[held].mean() / population.quality[held, 1].mean()
        assert promise.held_out_share == pytest.approx(reached)
        kept += promise.kept
        # It is worth something too: a good part of the queries stays with the small model.
        small = ~choice.escalated & (choice.final == 0)
        assert small.mean() > 0.2
    assert kept >= 45
