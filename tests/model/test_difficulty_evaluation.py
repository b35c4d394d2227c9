"""The evaluation cannot leak, and says what a method that knows nothing deserves."""

from dataclasses import replace

import numpy as np
import pytest

from model.difficulty.baselines import task_identity
from model.difficulty.boosting import Trees
from model.difficulty.evaluation import (
    OURS,
    OURS_TASK,
    add_confidence,
    default_folds,
    few_labels,
    held_out,
    task_groups,
    unseen_tasks,
)
from model.difficulty.features import Features
from model.difficulty.folds import folds_of, groups_of, require_apart
from model.difficulty.scores import auc
from model.difficulty.study import Plan, parse_results, study
from model.difficulty.verdict import cost_of, within
from phasewatt.errors import BadPredictor
from tests.questions import QUICK, TASKS, slim_table

PAIR = ("small", "large")
STUMP = Trees(2, 1, 0.5)


def with_features(base, names, values):
    features = base.features
    told = Features(
        features.extractor,
        (*features.names, *names),
        np.column_stack([features.values, values]),
        features.words,
    )
    return replace(base, features=told)


def judged(base):
    """Ours from text alone, on folds that spread the tasks."""
    fold = default_folds(base, 0)
    blind = replace(base, tasks=None)
    return next(each for each in held_out(blind, QUICK, [PAIR], fold) if each.method == OURS)


def noise_within_tasks(n=600, seed=0):
    """Right depends on the task alone: there is nothing to find inside a task."""
    base = slim_table(n, seed)
    rng = np.random.default_rng(seed)
    chance = np.where(base.tasks == "sums", 0.25, 0.75)[:, None]
    outcomes = (rng.random((n, 3)) < chance).astype(float)
    return replace(base, outcomes=outcomes)


def test_a_feature_that_names_the_task_helps_pooled_and_not_within():
    base = noise_within_tasks()
    planted = with_features(base, ("planted",), (base.tasks == "sums").astype(float) * 7)
    label = base.outcomes[:, 0] >= 0.5
    for each in (base, planted):
        chance = judged(each).chances[:, 0]
        assert auc(chance, label) > 0.7
        assert abs(within(each, chance, label) - 0.5) < 0.07


def test_planting_the_task_does_not_move_scores_within_tasks():
    base = slim_table(600)
    planted = with_features(base, ("planted",), (base.tasks == "sums").astype(float) * 7)
    label = base.outcomes[:, 0] >= 0.5
    before, after = (within(each, judged(each).chances[:, 0], label) for each in (base, planted))
    assert abs(before - after) < 0.03


def test_duplicates_stay_in_one_fold_and_a_split_one_is_caught():
    base = slim_table(100)
    twice = base.rows(np.concatenate([np.arange(100), np.arange(50)]))
    fold = folds_of(twice, 5, seed=0)
    assert (fold[:50] == fold[100:]).all()
    require_apart(twice, fold)
    fold[100] = (fold[0] + 1) % 5
    with pytest.raises(BadPredictor, match=r"query 'q0' has a duplicate in another fold"):
        require_apart(twice, fold)
    with pytest.raises(BadPredictor, match="duplicate in another fold"):
        held_out(twice, QUICK, [PAIR], fold)


def test_duplicated_queries_teach_nothing_about_themselves():
    """Each query four times, outcomes pure noise: split over folds this scores far above chance."""
    base = noise_within_tasks(150)
    rng = np.random.default_rng(5)
    base = replace(base, outcomes=rng.integers(0, 2, base.outcomes.shape).astype(float))
    many = base.rows(np.tile(np.arange(150), 4))
    label = many.outcomes[:, 0] >= 0.5
    assert auc(judged(many).chances[:, 0], label) < 0.6


def test_folds_spread_tasks_evenly():
    base = slim_table(500)
    fold = folds_of(base, 5, seed=3)
    for task in TASKS:
        counts = np.bincount(fold[base.tasks == task], minlength=5)
        assert np.ptp(counts) <= 1


def test_an_unseen_task_is_judged_by_a_fit_that_never_saw_it(monkeypatch):
    from model.difficulty import evaluation

    base = slim_table(200)
    seen = []
    real = evaluation.train

    def spy(known, *rest, **named):
        seen.append(set(known.tasks))
        return real(known, *rest, **named)

    monkeypatch.setattr(evaluation, "train", spy)
    unseen_tasks(base, QUICK, [PAIR])
    assert sorted(map(sorted, seen)) == [["sums"], ["trivia"]]


def test_twins_in_two_tasks_are_left_out_of_the_unseen_view():
    base = slim_table(150)
    tasks = base.tasks.copy()
    twice = base.rows(np.concatenate([np.arange(150), [0]]))
    tasks = np.append(tasks, "trivia" if tasks[0] == "sums" else "sums")
    rest, _ = unseen_tasks(replace(twice, tasks=tasks), QUICK, [PAIR])
    assert len(rest) == 149
    assert "q0" not in rest.ids


def test_many_tasks_are_left_out_in_groups():
    base = slim_table(120)
    tasks = np.array([f"t{index % 20}" for index in range(120)])
    group = task_groups(replace(base, tasks=tasks))
    assert set(group) == set(range(6))
    assert all(len(set(group[tasks == task])) == 1 for task in set(tasks))


def test_the_task_baseline_says_the_mean_of_the_task():
    base = slim_table(100)
    known, new = base.rows(np.arange(60)), base.rows(np.arange(60, 100))
    found = task_identity(known, new)
    for task in TASKS:
        expected = known.outcomes[known.tasks == task].mean(axis=0)
        assert np.allclose(found[new.tasks == task], expected)


def test_doubt_is_a_feature_of_the_escalating_kind_only():
    base = slim_table(60)
    sure = replace(base, confidences=-np.ones((60, 3)))
    told = add_confidence(sure, "small")
    assert told.features.names[-1] == "doubt of small"
    assert told.features.extractor.endswith("+doubt of small")
    assert np.allclose(told.features.values[:, -1], 0.0, atol=1e-6)


def test_a_whole_study_has_every_view():
    base = slim_table(300)
    plan = Plan("questions", recipe=QUICK, pairs=(PAIR,), labels=100)
    document = study(base, plan)
    assert {row["view"] for row in document["right"]} == {"pooled", "unseen"}
    assert {OURS, OURS_TASK, "task identity"} <= {row["method"] for row in document["right"]}
    assert len(document["few_labels"]["apgr"]) == 5
    of = {row["method"]: row for row in document["gain"] if row["view"] == "pooled"}
    assert of["oracle"]["apgr"] >= max(row["apgr"] for row in of.values())
    assert of[OURS]["apgr"] > of["length, linear"]["apgr"] - 0.1
    pooled = [row for row in document["right"] if row["view"] == "pooled"]
    right = {row["method"]: row for row in pooled if row["model"] == "small"}
    assert right[OURS]["auc"] > 0.7
    assert right[OURS]["calibration_error"] < 0.15


def test_a_study_twice_gives_the_same_numbers():
    base = slim_table(110).of_models(["small", "large"])
    plan = Plan("questions", recipe=replace(QUICK, own=STUMP, pool=STUMP, gain=STUMP))
    assert study(base, plan) == study(base, plan)


def test_too_few_rows_for_so_many_labels():
    with pytest.raises(BadPredictor, match="60 rows are too few to train on 60"):
        few_labels(slim_table(60), QUICK, PAIR, 60, 1, 0)


def test_groups_are_queries():
    base = slim_table(30)
    assert len(set(groups_of(base))) == 30


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not JSON"),
        ("{}", 'expected "phasewatt-difficulty-results"'),
        ('{"schema": "phasewatt-difficulty-results", "schema_version": 9}', "schema_version is 9"),
    ],
)
def test_results_that_are_not_ours_are_refused(content, complaint):
    with pytest.raises(BadPredictor, match=complaint):
        parse_results(content, "x.json")


def test_costs_are_read_from_names():
    assert cost_of("llama-3.2-1b") == 1
    assert cost_of("qwen2.5-0.5b-instruct") == 0.5
    assert cost_of("gpt-4-1106-preview") is None
    assert cost_of("mixtral-8x7b-instruct") is None
