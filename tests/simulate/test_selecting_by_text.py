"""Selections that read the text, with a predictor as users have one: a file beside the trace."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny
import two_models

from model.difficulty.features import features_of
from model.difficulty.predictor_file import dump_predictor
from model.difficulty.training import train
from phasewatt.errors import BadPolicy
from policies import Sight, make_selection
from simulate.answers import answers_of
from simulate.cli import main
from simulate.compare import compare
from simulate.quality import How
from simulate.scenario import Scenario
from tests.questions import QUICK, table, texts_and_chances
from traces import Trace

ALIKE = ("tiny=small", "huge=large")
MODELS = ("tiny", "huge")
N = 60


@pytest.fixture(scope="module")
def predictor():
    return train(table(), QUICK, name="questions")


@pytest.fixture(scope="module")
def predictor_file(predictor, tmp_path_factory):
    path = tmp_path_factory.mktemp("predictor") / "questions.json"
    path.write_bytes(dump_predictor(predictor))
    return str(path)


@pytest.fixture(scope="module")
def trace():
    texts, tasks, _ = texts_and_chances(N, np.random.default_rng(4))
    base = tiny.trace(20.0 * np.arange(N), np.full(N, 64), np.full(N, 2))
    columns = {"text": texts, "task": tasks.tolist()}
    return Trace("asked", base.arrival_s, base.prompt_tokens, base.output_tokens, **columns)


def last(trace, policy, predictor_file, **more):
    given = {
        "baseline": "single:huge",
        "groups": two_models.GROUPS,
        "draws": 0,
        "quality_of": ALIKE,
    }
    scenario = Scenario((policy,), predictor=predictor_file, **(given | more))
    return compare(trace, two_models.calibration(), scenario)


def models_of(result):
    return [result.outcome.groups[group].model for group in result.outcome.group_of]


def test_a_gain_above_the_threshold_goes_to_the_large_model(trace, predictor, predictor_file):
    comparison = last(trace, "difficulty:threshold=0.3", predictor_file)
    result = comparison.results[-1]
    features = features_of(trace.text.to_pylist())
    large = (predictor.gain(features, "small", "large") > 0.3) | predictor.unlike(features)
    assert 0 < large.sum() < N
    assert models_of(result) == [MODELS[int(each)] for each in large]
    chance = predictor.probabilities(features)
    chosen = np.where(large, chance[:, 2], chance[:, 0])
    assert result.quality.how is How.PREDICTED
    assert result.quality.mean == pytest.approx(chosen.mean())
    assert (result.quality.low, result.quality.high) == predictor.mean_interval(chosen)
    said = " ".join(comparison.warnings)
    assert "quality is predicted from the text by questions" in said
    assert "assumed: tiny answers as well as small" in said


def test_expected_quality_is_weighed_against_the_joules_of_the_calibration(
    trace, predictor, predictor_file
):
    per_j = 5e-4
    result = last(trace, f"energy-per-quality:{per_j}", predictor_file).results[-1]
    chance = predictor.probabilities(features_of(trace.text.to_pylist()))
    of_model = {}
    for model in MODELS:
        (single,) = last(
            trace, f"single:{model}", predictor_file, baseline=f"single:{model}"
        ).results
        of_model[model] = single.outcome.replayed.prefill_j + single.outcome.replayed.decode_j
    better = chance[:, 2] - per_j * of_model["huge"] > chance[:, 0] - per_j * of_model["tiny"]
    assert 0 < better.sum() < N
    assert models_of(result) == [MODELS[int(each)] for each in better]


def test_the_rule_reads_the_papers_features(trace):
    result = last(trace, "rule:entity=0.3", None, quality_of=()).results[-1]
    features = features_of(trace.text.to_pylist())
    hard = ~(
        (features.column("entity_density") < 0.3) & (features.column("causal_question_score") < 5)
    )
    assert 0 < hard.sum() < N
    assert models_of(result) == [MODELS[int(each)] for each in hard]


def test_a_predictor_keeps_its_promise_on_questions_that_it_never_saw(predictor, predictor_file):
    new = table(700, seed=21)
    base = tiny.trace(np.arange(700.0), np.full(700, 64), np.full(700, 1))
    asked = Trace("new", base.arrival_s, base.prompt_tokens, base.output_tokens)
    scenario = Scenario((), predictor=predictor_file)
    answers = replace(answers_of(asked, scenario, ("small", "large")), joined=new)
    sight = Sight(
        ("small", "large"),
        np.tile([1.0, 10.0], (700, 1)),
        new.of_models(("small", "large")).outcomes,
        predictions=answers.predicted(("small", "large")),
    )
    selection = make_selection("difficulty:min-quality=0.95")
    choices = [selection.choose(replace(sight, seed=seed)) for seed in range(50)]
    assert sum(choice.promise.kept for choice in choices) >= 45
    assert np.mean([np.mean(choice.final == 0) for choice in choices]) > 0.1


def test_a_predictor_that_does_not_know_the_models(trace, predictor_file):
    with pytest.raises(BadPolicy, match="a predictor that knows the models"):
        last(trace, "difficulty:threshold=0", predictor_file, quality_of=())


@pytest.fixture
def refusal(capsys, tmp_path, monkeypatch):
    """Run the command on a trace of one query with text; return the one line that it says."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "asked.csv").write_text(
        "arrival_s,prompt_tokens,output_tokens,text\n0,10,5,Why?\n1,10,5,Who?\n"
    )
    (tmp_path / "bare.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,10,5\n")
    (tmp_path / "wrong.csv").write_text(
        "arrival_s,prompt_tokens,output_tokens,quality.a\n0,1,1,2\n"
    )
    (tmp_path / "newer.json").write_text(
        json.dumps({"schema": "phasewatt-difficulty", "schema_version": 99})
    )
    (tmp_path / "other.json").write_text('{"schema": "phasewatt-calibration"}')
    (tmp_path / "table.csv").write_text("id,text,right:a\n1,Why?,1.5\n")
    shared = ("--calibration", "rtx3090-club3090", "--draws", "0")
    models = ("qwen3.6-35b-a3b-q4_k_xl", "qwen3.6-27b-q3_k_xl")
    groups = [word for model in models for word in ("--group", f"{model[8:11]}={model}:1")]

    def run(trace, policy, *words):
        with pytest.raises(SystemExit) as end:
            main([*shared, *groups, "--trace", trace, "--policy", policy, *words])
        printed = capsys.readouterr()
        assert end.value.code == 2
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        return printed.err

    return run


@pytest.mark.parametrize(
    ("trace", "words", "line"),
    [
        ("bare.csv", ("rule",), "policy rule: needs the queries' text"),
        ("bare.csv", ("single:a",), "policy single:a: unknown model 'a'; expected one of qwen3.6"),
        ("bare.csv", ("oracle+min-edp",), "found no outcomes; expected columns quality.qwen"),
        ("asked.csv", ("difficulty:threshold=0",), "a predictor that knows the models"),
        ("asked.csv", ("rule", "--predictor", "newer.json"), "schema_version 99 is newer than"),
        ("asked.csv", ("rule", "--predictor", "other.json"), "not a difficulty predictor"),
        ("asked.csv", ("rule", "--predictor", "none"), "none: no such predictor"),
        ("asked.csv", ("rule", "--quality-from", "table.csv"), "right:a is '1.5'; expected 0..1"),
        ("asked.csv", ("rule", "--quality-of", "a"), "found 'a'; expected MODEL=NAME"),
        ("wrong.csv", ("rule",), "column 'quality.a': found '2', expected a number in [0, 1]"),
    ],
)
def test_each_wrong_input_is_one_line(refusal, trace, words, line):
    assert line in refusal(trace, *words)
