"""Selections against choices worked out by hand, against bounds, and each wrong argument."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from phasewatt.errors import BadPolicy
from policies import Choice, Sight, make_selection

NAN = float("nan")
MODELS = ("small", "middle", "large")

# Ten queries: what each model answers, how sure the small one is, and what the text tells.
QUALITY = np.array(
    [
        [1, 1, 1],
        [1, 1, 1],
        [0, 1, 1],
        [0, 0, 1],
        [0, 0, 0],
        [1, 0, 1],
        [1, 1, 0],
        [0, 1, 0],
        [1, 1, 1],
        [0, 0, 1],
    ],
    dtype=float,
)
ENERGY_J = np.outer([1.0, 2, 1, 2, 1, 2, 1, 2, 1, 2], [1.0, 3.0, 10.0])
SURE = np.array([-0.1, -0.2, -2.0, -0.3, -3.0, -0.1, -0.4, -5.0, NAN, -1.0])
GAIN = np.array([0.0, 0.1, 0.6, 0.5, 0.2, 0.1, -0.1, 0.3, 0.0, 0.7])
UNLIKE = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 0], dtype=bool)
S, M, L = 0, 1, 2


@dataclass(frozen=True)
class Told:
    """Predictions by hand: the small model's chance is 0.5, every other's that plus the gain."""

    gains: np.ndarray
    unlike: np.ndarray

    @property
    def quality(self):
        half = np.full(self.gains.size, 0.5)
        return np.column_stack([half, half + 0.5 * self.gains, half + self.gains])

    def gain(self, small, large):
        assert small < large
        return self.gains


class Columns(dict):
    """Features by name."""

    def column(self, name):
        return self[name]


SIGHT = Sight(
    models=MODELS,
    energy_j=ENERGY_J,
    quality=QUALITY,
    confidence=np.column_stack([SURE, np.full(10, NAN), np.full(10, NAN)]),
    predictions=Told(GAIN, UNLIKE),
    features=Columns(
        entity_density=np.array([0.0, 0.1, 0.2, 0.3, 0.19, 0.0, 0.0, 0.5, 0.1, 0.2]),
        causal_question_score=np.array([0.0, 0.0, 0.0, 0.0, 4.9, 5.0, 0.0, 100.0, 0.0, 0.0]),
    ),
)


def figures(choice: Choice) -> tuple[float, float]:
    """Joules and mean quality of a choice on the ten queries."""
    return float(choice.cost(ENERGY_J).sum()), float(choice.of(QUALITY).mean())


@pytest.mark.parametrize(
    ("text", "final", "escalated", "energy_j", "quality"),
    [
        ("single:middle", [M] * 10, [], 45.0, 0.6),
        ("rule", [S, S, L, L, S, L, S, L, S, L], [], 96.0, 0.8),
        ("rule:entity=0.6,causal=1.5,large=middle", [S] * 10, [], 15.0, 0.5),
        # Query 8 is unlike the training data.
        ("difficulty:threshold=0.45", [S, S, L, L, S, S, S, S, L, L], [], 69.0, 0.8),
        (
            "difficulty:threshold=0.45,large=middle",
            [S, S, M, M, S, S, S, S, M, M],
            [],
            27.0,
            0.6,
        ),
        # The small model runs for all, the large one for those who are less sure than -0.5.
        (
            "cascade:threshold=0.5",
            [S, S, L, S, L, S, S, L, L, L],
            [2, 4, 7, 8, 9],
            15.0 + 70.0,
            0.7,
        ),
        # The gain, half of it or none, minus joules / 50.
        (
            "energy-per-quality:0.02",
            [S, S, L, M, M, S, S, M, S, L],
            [],
            52.0,
            0.8,
        ),
        ("oracle", [S, S, M, L, S, S, S, M, S, L], [], 57.0, 0.9),
        ("oracle:lambda=0.06", [S, S, M, S, S, S, S, M, S, S], [], 21.0, 0.7),
    ],
)
def test_ten_queries_by_hand(text, final, escalated, energy_j, quality):
    choice = make_selection(text).choose(SIGHT)
    assert choice.final.tolist() == final
    assert np.flatnonzero(choice.escalated).tolist() == escalated
    assert figures(choice) == pytest.approx((energy_j, quality))


def test_a_lot_falls_as_often_as_it_says():
    rows = 40_000
    sight = replace(
        SIGHT, energy_j=np.tile(ENERGY_J, (rows // 10, 1)), quality=None, confidence=None
    )
    for text, shares in (
        ("random:0.3", [0.7, 0, 0.3]),
        ("random:middle=0.25,small=0.75", [0.75, 0.25, 0]),
        ("random:small=0.333333,middle=0.333333,large=0.333333", [1 / 3, 1 / 3, 1 / 3]),
        ("random:0", [1, 0, 0]),
        ("random:1", [0, 0, 1]),
    ):
        choice = make_selection(text).choose(sight)
        found = np.bincount(choice.final, minlength=3) / rows
        assert found == pytest.approx(shares, abs=4 * np.sqrt(0.25 / rows))
        expected_j = float(np.mean(ENERGY_J, axis=0) @ shares)
        assert choice.cost(sight.energy_j).mean() == pytest.approx(expected_j, rel=0.05)
    again, other = (
        make_selection("random:0.3").choose(replace(sight, seed=seed)).final for seed in (0, 1)
    )
    assert again.tolist() == make_selection("random:0.3").choose(sight).final.tolist()
    assert again.tolist() != other.tolist()


def test_the_text_of_a_query_helps_where_the_small_model_is_sure_and_wrong():
    """Confidence that tells nothing leaves the predicted gain to decide, and vice versa."""
    rng = np.random.default_rng(5)
    small = rng.random(4000) < 0.5
    quality = np.column_stack([small, np.ones(4000)]).astype(float)
    told = Told(np.where(small, 0.0, 1.0), np.zeros(4000, dtype=bool))
    sight = Sight(
        ("small", "large"),
        np.tile([1.0, 10.0], (4000, 1)),
        quality,
        np.column_stack([rng.normal(size=4000), np.full(4000, NAN)]),
        told,
    )
    choice = make_selection("cascade:threshold=0.5,text").choose(sight)
    assert np.array_equal(choice.escalated, ~small)
    blind = replace(told, gains=np.zeros(4000))
    sure = np.where(small, 1.0, -1.0) + rng.normal(size=4000) * 1e-3
    clear = replace(
        sight,
        confidence=np.column_stack([sure, np.full(4000, NAN)]),
        predictions=blind,
    )
    choice = make_selection("cascade:threshold=0.5,text").choose(clear)
    assert np.mean(choice.escalated == ~small) > 0.95


@st.composite
def sights(draw):
    rows = draw(st.integers(1, 40))
    unit = st.floats(0, 1, width=16)
    quality = draw(
        arrays.arrays(float, (rows, 3), elements=st.sampled_from([0.0, 0.5, 1.0]) | unit)
    )
    energy = draw(arrays.arrays(float, (rows, 3), elements=st.floats(0.125, 100, width=16)))
    sure = draw(arrays.arrays(float, (rows, 3), elements=st.floats(-9, 0, width=16)))
    gain = draw(arrays.arrays(float, rows, elements=st.floats(-1, 1, width=16)))
    unlike = np.zeros(rows, dtype=bool)
    features = Columns(
        entity_density=draw(arrays.arrays(float, rows, elements=unit)),
        causal_question_score=100 * draw(arrays.arrays(float, rows, elements=unit)),
    )
    return Sight(
        MODELS, energy, quality, sure, Told(gain, unlike), features, draw(st.integers(0, 9))
    )


OTHERS = (
    "single:small",
    "single:large",
    "random:0.4",
    "rule",
    "difficulty:threshold=0.1",
    "difficulty:min-quality=0.9",
    "cascade:threshold=1",
    "cascade:min-quality=0.9,text",
    "energy-per-quality:0.01",
    "oracle:lambda=0.01",
)


@settings(max_examples=60, deadline=None)
@given(sight=sights(), text=st.sampled_from(OTHERS), price=st.sampled_from([0.0, 0.001, 0.05]))
def test_the_oracle_is_never_beaten(sight, text, price):
    other = make_selection(text).choose(sight)
    bound = make_selection(f"oracle:lambda={price}").choose(sight)

    def worth(choice):
        return choice.of(sight.quality).sum() - price * choice.cost(sight.energy_j).sum()

    assert worth(bound) >= worth(other) - 1e-9
    if price == 0 and other.of(sight.quality).sum() >= bound.of(sight.quality).sum():
        assert bound.cost(sight.energy_j).sum() <= other.cost(sight.energy_j).sum() + 1e-9


NO_TEXT = "needs the queries' text and a predictor that knows the models: expected a column text in"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("single:huge", "unknown model 'huge'; expected one of small, middle, large"),
        ("difficulty:threshold=0,large=huge", "unknown model 'huge'; expected one of"),
        ("random:small=0.5,huge=0.5", "unknown model 'huge'; expected one of"),
        ("cascade:threshold=0,small=small,large=huge", "unknown model 'huge'; expected one of"),
    ],
)
def test_a_model_that_is_not_there(text, line):
    with pytest.raises(BadPolicy, match=line):
        make_selection(text).models(MODELS)


def test_two_models_are_needed():
    with pytest.raises(BadPolicy, match="found one model, small; expected two to choose from"):
        make_selection("rule").models(("small",))
    with pytest.raises(BadPolicy, match="large is both the small and the large model"):
        make_selection("cascade:threshold=0,small=large").choose(SIGHT)


def test_a_selection_says_which_models_it_may_choose():
    for text, models in (
        ("single:middle", ("middle",)),
        ("random:0.5", MODELS),
        ("random:large=0.5,small=0.5", ("small", "large")),
        ("difficulty:threshold=0,small=small,large=middle", ("small", "middle")),
        ("oracle", MODELS),
    ):
        assert make_selection(text).models(MODELS) == models


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("double:a", "unknown selection 'double'; expected one of single, random, rule"),
        ("single", "policy single: found no model; expected single:MODEL"),
        ("random:1.5", "policy random:1.5: found p='1.5'; expected a number from 0 to 1"),
        ("random", "policy random: found p=''; expected a number from 0 to 1"),
        ("random:a=0.5,b=0.4", "found shares that add up to 0.9; expected 1"),
        ("difficulty", "found neither of threshold= and min-quality=; expected one"),
        ("difficulty:threshold=1,min-quality=1", "found both of threshold= and min-quality="),
        ("difficulty:min-quality=2", "found min-quality='2'; expected a number from 0 to 1"),
        ("cascade:min-quality=1,confidence=1", "expected a number from 0.5 to 0.9999"),
        ("cascade:min-quality=1,split=1", "found split='1'; expected a number from 0.01 to 0.99"),
        ("difficulty:threshold=x", "found threshold='x'; expected a number"),
        ("difficulty:threshold=1,treshold=2", "found 'treshold'; expected threshold, min-quality"),
        ("cascade:threshold=1,threshold=2", "found threshold= twice; expected it once"),
        ("cascade:threshold=1,text=2", "found text=2; expected text alone"),
        ("energy-per-quality", "found lambda=''; expected a number of 0 or more"),
        ("oracle:price=1", "found 'price'; expected lambda"),
    ],
)
def test_wrong_arguments(text, line):
    with pytest.raises(BadPolicy) as error:
        make_selection(text)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "gone", "line"),
    [
        ("rule", "features", "policy rule: needs the queries' text: the trace has none"),
        ("difficulty:threshold=0", "predictions", NO_TEXT),
        ("energy-per-quality:0", "predictions", NO_TEXT),
        ("cascade:threshold=0,text", "predictions", NO_TEXT),
        ("cascade:threshold=0", "confidence", "expected a column confidence.small"),
        ("oracle", "quality", "found no outcomes; expected columns quality.small and so on"),
        ("difficulty:min-quality=0.9", "quality", "found no outcomes"),
    ],
)
def test_what_a_selection_needs_and_does_not_find(text, gone, line):
    with pytest.raises(BadPolicy) as error:
        make_selection(text).choose(replace(SIGHT, **{gone: None}))
    assert line in str(error.value)


def test_an_oracle_that_does_not_know_everything_says_so():
    quality = QUALITY.copy()
    quality[3, 1] = NAN
    with pytest.raises(BadPolicy, match="quality of middle is unknown for 1 of 10 queries"):
        make_selection("oracle").choose(replace(SIGHT, quality=quality))
