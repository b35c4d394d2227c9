"""Predictions that nobody trained on: of each method, for every query of a table.

In: a table and a recipe. Out: a :class:`Judged` for each method. Every prediction comes from a fit
that has not seen the query, its duplicates, or, in the unseen view, anything of its task.
Calibration is learned within the training rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.difficulty.baselines import TASK, TEXT, plain_logistic
from model.difficulty.features import Features
from model.difficulty.folds import folds_of, groups_of, require_apart
from model.difficulty.routing import curve
from model.difficulty.table import OutcomeTable
from model.difficulty.training import Recipe, train
from phasewatt.errors import BadPredictor

OURS, OURS_TASK = "ours", "ours + task"
CONFIDENCE = "small's confidence"
OURS_CONFIDENCE = "ours + confidence"
OURS_TASK_CONFIDENCE = "ours + task + confidence"

FOLDS = 5
MOST_UNSEEN_GROUPS = 6
"""More tasks than this are dealt into so many groups that are left out together."""

Pair = tuple[str, str]
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Judged:
    """What one method says of each query: ``chances`` (n, models), None where it only routes;
    ``gains`` holds a score (n,) for each pair, in order; ``unlike`` (n,) what it abstains from.
    """

    method: str
    chances: NDArray[np.float64] | None = field(repr=False)
    gains: tuple[NDArray[np.float64], ...] = field(repr=False)
    unlike: NDArray[np.bool_] | None = field(repr=False, default=None)


def held_out(
    table: OutcomeTable,
    recipe: Recipe,
    pairs: Sequence[Pair],
    fold: NDArray[np.int_],
    advance: Advance = lambda _n: None,
) -> list[Judged]:
    """Return predictions of every method, each query predicted from the other folds.

    Raises:
        BadPredictor: a query has a duplicate in another fold, or as in
            :func:`model.difficulty.training.train`.
    """
    require_apart(table, fold)
    found = [_ours(table, recipe, pairs, fold, OURS, advance)]
    if table.tasks is not None:
        found.append(_ours(table, _with_task(recipe), pairs, fold, OURS_TASK, advance))
    baselines = {**TEXT, **(TASK if table.tasks is not None else {})}
    for name, baseline in baselines.items():
        chances = np.empty(table.outcomes.shape)
        for out in _each(fold):
            chances[out] = baseline(table.rows(~out), table.rows(out))
        found.append(Judged(name, chances, _differences(table, chances, pairs)))
        advance(1)
    return found


def unseen_tasks(
    table: OutcomeTable,
    recipe: Recipe,
    pairs: Sequence[Pair],
    advance: Advance = lambda _n: None,
) -> tuple[OutcomeTable, list[Judged]]:
    """Return predictions of text-only methods, each query predicted from other tasks alone.

    The table comes back without the queries that have a duplicate in another group of tasks.
    """
    table = _without_twins(table)
    fold = task_groups(table)
    require_apart(table, fold)
    found = [_ours(table, recipe, pairs, fold, OURS, advance)]
    chances = np.empty(table.outcomes.shape)
    for out in _each(fold):
        chances[out] = plain_logistic(table.rows(~out), table.rows(out))
    found.append(Judged("plain regression", chances, _differences(table, chances, pairs)))
    return table, found


def with_confidence(
    table: OutcomeTable,
    recipe: Recipe,
    pairs: Sequence[Pair],
    fold: NDArray[np.int_],
    advance: Advance = lambda _n: None,
) -> list[Judged]:
    """Return routing by the small model's own confidence, alone and as one more feature.

    The scores are as they would be after the small model has run: both runs cost energy.
    """
    require_apart(table, fold)
    alone = tuple(doubt(table, small) for small, _ in pairs)
    found = [Judged(CONFIDENCE, None, alone)]
    recipes = {OURS_CONFIDENCE: recipe}
    if table.tasks is not None:
        recipes[OURS_TASK_CONFIDENCE] = _with_task(recipe)
    for method, each in recipes.items():
        gains = []
        for small, large in pairs:
            told = add_confidence(table, small)
            gain = np.empty(len(table))
            for out in _each(fold):
                learned = train(told.rows(~out), each, [(small, large)], (small, large))
                new = told.rows(out)
                tasks = new.tasks if each.with_task else None
                gain[out] = learned.gain(new.features, small, large, tasks)
                advance(1)
            gains.append(gain)
        found.append(Judged(method, None, tuple(gains)))
    return found


def add_confidence(table: OutcomeTable, model: str) -> OutcomeTable:
    """Return the table with one more feature: how much ``model`` doubts its own answer."""
    name = f"doubt of {model}"
    features = table.features
    values = np.column_stack([features.values, doubt(table, model)])
    told = Features(f"{features.extractor}+{name}", (*features.names, name), values, features.words)
    return OutcomeTable(
        table.ids, table.tasks, told, table.models, table.outcomes, table.confidences
    )


def doubt(table: OutcomeTable, model: str) -> NDArray[np.float64]:
    """Return log10 of minus the log-probability that ``model`` gives its own answer, (n,)."""
    assert table.confidences is not None
    return np.log10(1e-8 - table.confidences[:, table.column(model)])


def task_groups(table: OutcomeTable) -> NDArray[np.int_]:
    """Return for each row the group of tasks that is left out with it, shape (n,)."""
    assert table.tasks is not None
    names, task = np.unique(table.tasks, return_inverse=True)
    groups = min(len(names), MOST_UNSEEN_GROUPS)
    found: NDArray[np.int_] = np.arange(len(names))[task.reshape(-1)] % groups
    return found


def few_labels(
    table: OutcomeTable, recipe: Recipe, pair: Pair, labels: int, repeats: int, seed: int
) -> list[float]:
    """Return APGR on all other queries after training on ``labels`` of them, for each repeat.

    Duplicates of the queries trained on are left out of those judged.

    Raises:
        BadPredictor: the table has no more rows than ``labels``.
    """
    if labels >= len(table):
        raise BadPredictor(f"{len(table)} rows are too few to train on {labels} and judge others")
    small, large = pair
    group = groups_of(table)
    found = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        known = np.zeros(len(table), bool)
        known[rng.choice(len(table), labels, replace=False)] = True
        learned = train(table.rows(known), recipe, [pair], pair)
        new = table.rows(~known & ~np.isin(group, group[known]))
        tasks = new.tasks if recipe.with_task else None
        gain = learned.gain(new.features, small, large, tasks)
        low, high = (new.outcomes[:, new.column(model)] for model in pair)
        found.append(curve(gain, low, high).apgr())
    return found


def default_folds(table: OutcomeTable, seed: int) -> NDArray[np.int_]:
    """Return the five folds of the pooled view."""
    return folds_of(table, FOLDS, seed)


def _ours(
    table: OutcomeTable,
    recipe: Recipe,
    pairs: Sequence[Pair],
    fold: NDArray[np.int_],
    method: str,
    advance: Advance,
) -> Judged:
    chances = np.empty(table.outcomes.shape)
    gains = [np.empty(len(table)) for _ in pairs]
    unlike = np.empty(len(table), bool)
    for out in _each(fold):
        learned = train(table.rows(~out), recipe, pairs)
        new = table.rows(out)
        tasks = new.tasks if recipe.with_task else None
        chances[out] = learned.probabilities(new.features, tasks)
        unlike[out] = learned.unlike(new.features, tasks)
        for gain, (small, large) in zip(gains, pairs, strict=True):
            gain[out] = learned.gain(new.features, small, large, tasks)
        advance(1)
    return Judged(method, chances, tuple(gains), unlike)


def _without_twins(table: OutcomeTable) -> OutcomeTable:
    group, fold = groups_of(table), task_groups(table)
    pairs = np.unique(np.column_stack([group, fold]), axis=0)
    places = np.bincount(pairs[:, 0])
    return table.rows(places[group] == 1)


def _differences(
    table: OutcomeTable, chances: NDArray[np.float64], pairs: Sequence[Pair]
) -> tuple[NDArray[np.float64], ...]:
    return tuple(
        chances[:, table.column(large)] - chances[:, table.column(small)] for small, large in pairs
    )


def _each(fold: NDArray[np.int_]) -> list[Any]:
    return [fold == number for number in np.unique(fold)]


def _with_task(recipe: Recipe) -> Recipe:
    return replace(recipe, with_task=True)
