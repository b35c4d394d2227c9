"""Training a predictor: an ensemble for every model and pair, calibrated on held-out folds.

In: a table of outcomes and a recipe. Out: a predictor (:mod:`model.difficulty.predictor`).
Labels are denoised by the pool: one member learns the mean outcome over all models of the table,
which scatters less than any one model's 0 or 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from model.difficulty.boosting import Trees, fit_trees, margin
from model.difficulty.conformal import conformal_of
from model.difficulty.design import Design, design_of
from model.difficulty.folds import folds_of, require_apart
from model.difficulty.logistic import fit_logistic
from model.difficulty.novelty import novelty_of
from model.difficulty.predictor import DifficultyPredictor, GainHead, RightHead, gain_score
from model.difficulty.table import OutcomeTable
from model.difficulty.vocabulary import fit_words, say
from phasewatt.errors import BadPredictor

LEAST_ROWS = 50

_OWN = Trees(count=120, depth=3, rate=0.08)
_POOL = Trees(count=120, depth=4, rate=0.08)
_GAIN = Trees(count=100, depth=3, rate=0.05)


@dataclass(frozen=True)
class Recipe:
    """How to train; ``with_task`` makes the task a feature, ``folds`` calibrate."""

    with_task: bool = False
    own: Trees = _OWN
    pool: Trees = _POOL
    gain: Trees = _GAIN
    penalty: float = 80.0
    words_penalty: float = 2.0
    folds: int = 5
    seed: int = 0


Pairs = Sequence[tuple[str, str]]


def all_pairs(table: OutcomeTable) -> tuple[tuple[str, str], ...]:
    """Return every pair of models of ``table``, the one that is right less often first."""
    order = np.argsort(table.outcomes.mean(axis=0), kind="stable")
    return tuple(combinations((table.models[column] for column in order), 2))


def train(
    table: OutcomeTable,
    recipe: Recipe,
    pairs: Pairs | None = None,
    models: Sequence[str] | None = None,
    name: str = "",
    source: str = "",
    advance: Callable[[int], None] = lambda _n: None,
) -> DifficultyPredictor:
    """Train on ``table``; ``pairs`` (small, large) get a gain each, None takes every pair.

    ``models`` are those to predict, None takes all; the pool is always that of the whole table.
    ``advance`` is told of each of the ``recipe.folds + 1`` rounds of fitting.

    Raises:
        BadPredictor: too few rows, a model that is always or never right, tasks wanted but absent,
            an unknown model in ``pairs``.
    """
    _require_learnable(table, recipe)
    models = table.models if models is None else tuple(models)
    table = table.of_models([*models, *(m for m in table.models if m not in models)])
    pairs = all_pairs(table.of_models(models)) if pairs is None else tuple(pairs)
    columns = [(table.column(small), table.column(large)) for small, large in pairs]
    fold = folds_of(table, recipe.folds, recipe.seed)
    require_apart(table, fold)
    scores = np.empty((len(table), len(models)))
    direct = np.empty((len(table), len(pairs)))
    for held in range(recipe.folds):
        out = fold == held
        members = _fit(table.rows(~out), recipe, len(models), columns)
        scores[out], direct[out] = members.scores(table.rows(out))
        advance(1)
    members = _fit(table, recipe, len(models), columns)
    advance(1)
    platts = [_platt(scores[:, m], table.outcomes[:, m]) for m in range(len(models))]
    chances = np.column_stack(
        [scipy.special.expit(a + b * scores[:, m]) for m, (a, b) in enumerate(platts)]
    )
    return DifficultyPredictor(
        name=name,
        design=members.design,
        pool=members.pool,
        heads=tuple(
            RightHead(
                model=model,
                booster=members.own[m],
                line=tuple(members.lines[m].tolist()),
                words=tuple(members.words[m].tolist()),
                platt=platts[m],
                conformal=conformal_of(chances[:, m], table.outcomes[:, m]),
            )
            for m, model in enumerate(models)
        ),
        gains=tuple(
            _gain_head(table, chances, pair, columns[p], direct[:, p], members.gains[p])
            for p, pair in enumerate(pairs)
        ),
        novelty=novelty_of(members.design.scaled(table.features), fold == 0),
        rows=len(table),
        source=source,
    )


@dataclass(frozen=True)
class _Members:
    """The fitted members of the ensemble, before calibration."""

    design: Design
    pool: Any = field(repr=False)
    own: list[Any] = field(repr=False)
    lines: list[NDArray[np.float64]] = field(repr=False)
    words: list[NDArray[np.float64]] = field(repr=False)
    gains: list[Any] = field(repr=False)

    def scores(self, table: OutcomeTable) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean log-odds (n, models) and directly trained gains (n, pairs)."""
        tasks = table.tasks if self.design.tasks else None
        trees = self.design.for_trees(table.features, tasks)
        lines = self.design.for_lines(table.features, tasks)
        pool = margin(self.pool, trees)
        rows = self.design.weighed_words(table.features)
        one_hot = self.design.one_hot(len(table), tasks)
        scores = []
        for own, line, words in zip(self.own, self.lines, self.words, strict=True):
            parts = [margin(own, trees), pool, line[0] + lines @ line[1:]]
            if len(words):
                parts.append(say(words, rows, one_hot))
            scores.append(np.mean(parts, axis=0))
        direct = [margin(booster, trees) for booster in self.gains]
        return np.column_stack(scores), np.array(direct).reshape(len(direct), len(table)).T


def _fit(
    table: OutcomeTable, recipe: Recipe, models: int, pairs: list[tuple[int, int]]
) -> _Members:
    """Fit the first ``models`` models of ``table``, the pool of all, and the gains of ``pairs``."""
    tasks = table.tasks if recipe.with_task else None
    design = design_of(table.features, tasks)
    trees, lines = design.for_trees(table.features, tasks), design.for_lines(table.features, tasks)
    rows = design.weighed_words(table.features)
    one_hot = design.one_hot(len(table), tasks)
    y = table.outcomes
    return _Members(
        design=design,
        pool=fit_trees(trees, y.mean(axis=1), recipe.pool, logistic=True),
        own=[fit_trees(trees, label, recipe.own, logistic=True) for label in y.T[:models]],
        lines=[fit_logistic(lines, label, recipe.penalty) for label in y.T[:models]],
        words=[
            np.empty(0) if rows is None else fit_words(rows, one_hot, label, recipe.words_penalty)
            for label in y.T[:models]
        ],
        gains=[
            fit_trees(trees, y[:, large] - y[:, small], recipe.gain, logistic=False)
            for small, large in pairs
        ],
    )


def _gain_head(
    table: OutcomeTable,
    chances: NDArray[np.float64],
    pair: tuple[str, str],
    columns: tuple[int, int],
    direct: NDArray[np.float64],
    booster: Any,
) -> GainHead:
    small, large = columns
    gain = table.outcomes[:, large] - table.outcomes[:, small]
    raw = gain_score(direct, chances[:, small], chances[:, large])
    spread = float(raw.var())
    slope = float(np.cov(raw, gain, ddof=0)[0, 1] / spread) if spread > 0 else 0.0
    line = (float(gain.mean() - slope * raw.mean()), slope)
    return GainHead(*pair, booster, line, conformal_of(line[0] + slope * raw, gain))


def _platt(score: NDArray[np.float64], label: NDArray[np.float64]) -> tuple[float, float]:
    intercept, slope = fit_logistic(score[:, None], label, 1e-6)
    return float(intercept), float(slope)


def _require_learnable(table: OutcomeTable, recipe: Recipe) -> None:
    if len(table) < LEAST_ROWS:
        raise BadPredictor(f"{len(table)} rows are too few; expected at least {LEAST_ROWS}")
    if recipe.with_task and table.tasks is None:
        raise BadPredictor("the task is to be a feature, but the table has no column 'task'")
    for model, outcome in zip(table.models, table.outcomes.T, strict=True):
        if np.ptp(outcome) == 0:
            raise BadPredictor(
                f"model {model} has the same outcome in every row; nothing can be learned of it"
            )
