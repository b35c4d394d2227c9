"""Predictors: what they say, that they are the same after a file, and what they refuse."""

import gzip
import json

import numpy as np
import pytest
from scipy import special

from model.difficulty.boosting import fit_trees, to_document
from model.difficulty.features import Features, features_of
from model.difficulty.predictor_file import dump_predictor, load_predictor, parse_predictor
from model.difficulty.training import all_pairs, train
from phasewatt.errors import BadPredictor
from tests.questions import MODELS, QUICK, table, texts_and_chances


@pytest.fixture(scope="module")
def predictor():
    return train(table(), QUICK, name="questions")


def test_it_finds_what_makes_questions_hard(predictor):
    texts, _, chances = texts_and_chances(400, np.random.default_rng(7))
    found = predictor.probabilities(features_of(texts))
    for column in range(len(MODELS)):
        assert np.corrcoef(found[:, column], chances[:, column])[0, 1] > 0.6 - 0.2 * (column == 2)
    gain = predictor.gain(features_of(texts), "small", "large")
    assert np.corrcoef(gain, chances[:, 2] - chances[:, 0])[0, 1] > 0.8
    assert abs(gain.mean() - (chances[:, 2] - chances[:, 0]).mean()) < 0.1


def test_a_gain_is_minus_the_gain_the_other_way_round(predictor):
    few = table(60, seed=3).features
    assert np.array_equal(
        predictor.gain(few, "large", "small"), -predictor.gain(few, "small", "large")
    )


def test_every_pair_is_trained_from_the_weaker_to_the_stronger():
    assert all_pairs(table()) == (("small", "middle"), ("small", "large"), ("middle", "large"))


def test_intervals_hold_the_stated_share_of_new_outcomes(predictor):
    new = table(1500, seed=11)
    for coverage in (0.8, 0.9, 0.95):
        low, high = predictor.intervals(new.features, coverage=coverage)
        inside = (low - 1e-9 <= new.outcomes) & (new.outcomes <= high + 1e-9)
        assert inside.mean() >= coverage - 0.02
    narrow = np.subtract(*reversed(predictor.intervals(new.features, coverage=0.8)))
    assert narrow.mean() < 0.95


def test_the_mean_interval_holds_the_mean_of_new_outcomes(predictor):
    held = []
    for seed in range(20, 40):
        new = table(200, seed=seed)
        chosen = predictor.probabilities(new.features)[:, 1]
        low, high = predictor.mean_interval(chosen)
        held.append(low <= new.outcomes[:, 1].mean() <= high)
    assert np.mean(held) >= 0.85


def test_attributions_add_up_to_the_log_odds(predictor):
    few = table(50, seed=5).features
    for column, model in enumerate(MODELS):
        names, parts = predictor.attributions(few, model)
        assert parts.shape == (50, len(names) + 1)
        expected = special.logit(predictor.probabilities(few)[:, column])
        np.testing.assert_allclose(parts.sum(axis=1), expected, atol=1e-4)


def test_a_query_unlike_the_training_data_is_flagged(predictor):
    usual = table(400, seed=9).features
    assert predictor.unlike(usual).mean() < 0.05
    code = "```def f(x): return [[{x}]]``` " * 30
    assert predictor.unlike(features_of([code])).all()


def test_with_the_task_it_wants_the_task_and_flags_an_unknown_one():
    from dataclasses import replace

    learned = train(table(200), replace(QUICK, with_task=True), [])
    few = table(4, seed=2)
    assert learned.tasks == ("sums", "trivia")
    assert learned.probabilities(few.features, few.tasks).shape == (4, 3)
    with pytest.raises(BadPredictor, match=r"wants the task of each query"):
        learned.probabilities(few.features)
    assert learned.unlike(few.features, ["cooking"] * 4).all()


def test_a_file_gives_the_same_predictor_back(predictor, tmp_path):
    written = dump_predictor(predictor)
    again = parse_predictor(gzip.compress(written), "again")
    assert dump_predictor(again) == written
    few = table(30, seed=4).features
    assert np.array_equal(again.probabilities(few), predictor.probabilities(few))
    assert np.array_equal(again.gain(few, "small", "large"), predictor.gain(few, "small", "large"))
    path = tmp_path / "p.json"
    path.write_bytes(written)
    assert load_predictor(path).models == MODELS


def test_training_twice_gives_the_same_bytes():
    first, again = (dump_predictor(train(table(120), QUICK, [])) for _ in range(2))
    assert first == again


def test_features_of_another_maker_are_refused(predictor):
    few = table(3).features
    other = Features("light-1+en_core_web_sm-3.8+words", few.names, few.values, few.words)
    with pytest.raises(
        BadPredictor,
        match=r"wrong feature set: .* trained on light-1\+capitals\+words, found light-1\+en_core",
    ):
        predictor.probabilities(other)


@pytest.mark.parametrize("ask", ["gain", "attributions"])
def test_an_unknown_model_is_refused(predictor, ask):
    few = table(3).features
    words = ("small", "huge") if ask == "gain" else ("huge",)
    with pytest.raises(BadPredictor, match=r"unknown model 'huge'.*small, middle, large"):
        getattr(predictor, ask)(few, *words)


def test_a_pair_that_was_not_trained_is_refused():
    learned = train(table(120), QUICK, [("small", "large")])
    with pytest.raises(BadPredictor, match=r"not trained for middle over small"):
        learned.gain(table(3).features, "small", "middle")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\x80\x04\x95pickle", r"not JSON"),
        (b"[1, 2]", r'expected a "schema" of "phasewatt-difficulty"'),
        (
            b'{"schema": "phasewatt-calibration", "schema_version": 1}',
            r"not a difficulty predictor",
        ),
        (b'{"schema": "phasewatt-difficulty", "schema_version": 99}', r"newer than this phasewatt"),
        (b'{"schema": "phasewatt-difficulty", "schema_version": "1"}', r"schema_version is '1'"),
        (b'{"schema": "phasewatt-difficulty", "schema_version": 1}', r"field \w+: "),
        (b"\x1f\x8bnot gzip", r"broken gzip"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_in_one_line(content, complaint):
    with pytest.raises(BadPredictor, match=complaint) as caught:
        parse_predictor(content, "x.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "cut"),
    [
        ("design.scale", lambda d: d["design"]["scale"].pop()),
        ("novelty.whitening", lambda d: d["novelty"]["whitening"].pop()),
        ("heads.1.line", lambda d: d["heads"][1]["line"].pop()),
        ("heads.0.words", lambda d: d["heads"][0]["words"].pop()),
        ("trees 0", lambda d: d.update(pool=d["other"])),
    ],
)
def test_parts_of_the_wrong_size_are_refused(predictor, field, cut):
    document = json.loads(dump_predictor(predictor))
    other = fit_trees(np.ones((9, 2)), np.arange(9) / 9, QUICK.pool, logistic=True)
    document["other"] = to_document(other)
    cut(document)
    del document["other"]
    with pytest.raises(BadPredictor, match=f"field {field}: .* numbers; expected"):
        parse_predictor(json.dumps(document).encode(), "x.json")


def test_broken_trees_are_refused(predictor):
    document = json.loads(dump_predictor(predictor))
    document["pool"] = {"learner": {}}
    with pytest.raises(BadPredictor, match="not XGBoost's JSON"):
        parse_predictor(json.dumps(document).encode(), "x.json")


def test_a_missing_file_names_the_shipped_ones(tmp_path):
    with pytest.raises(BadPredictor, match="no such predictor"):
        load_predictor(tmp_path / "none.json")
