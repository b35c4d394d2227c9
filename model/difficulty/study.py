"""A whole evaluation of one table, as a document that is printed, kept and compared.

In: a table of outcomes and a plan. Out: plain numbers under the keys that
:mod:`calibrate.difficulty.report` prints.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from model.difficulty.evaluation import (
    CONFIDENCE,
    FOLDS,
    OURS_CONFIDENCE,
    OURS_TASK_CONFIDENCE,
    Pair,
    default_folds,
    few_labels,
    held_out,
    task_groups,
    unseen_tasks,
    with_confidence,
)
from model.difficulty.table import OutcomeTable
from model.difficulty.training import LEAST_ROWS, Recipe
from model.difficulty.verdict import (
    ORACLE,
    RANDOM,
    by_task,
    cost_of,
    gain_scores,
    over_length,
    right_scores,
)
from phasewatt.errors import BadPredictor

SCHEMA = "phasewatt-difficulty-results"
SCHEMA_VERSION = 1

ESCALATING = (CONFIDENCE, OURS_CONFIDENCE, OURS_TASK_CONFIDENCE)
"""Methods that run the small model first."""

REPEATS = 5
MOST_TASKS_ONE_BY_ONE = 8

_RECIPE = Recipe(folds=3)


@dataclass(frozen=True)
class Plan:
    """What to evaluate; ``pairs`` None takes neighbours by share right, ``labels`` 0 none."""

    name: str
    source: str = ""
    pairs: tuple[Pair, ...] | None = None
    recipe: Recipe = _RECIPE
    labels: int = 0
    seed: int = 0


def study(
    table: OutcomeTable, plan: Plan, advance: Callable[[int], None] = lambda _n: None
) -> dict[str, Any]:
    """Evaluate every method on ``table`` and return the document.

    Raises:
        BadPredictor: as :func:`model.difficulty.training.train`, or an unknown model in a pair.
    """
    pairs = neighbours(table) if plan.pairs is None else plan.pairs
    for pair in pairs:
        for model in pair:
            table.column(model)
    rng = np.random.default_rng(plan.seed)
    known = {model: cost_of(model) for model in table.models}
    costs = {model: cost for model, cost in known.items() if cost is not None}
    fold = default_folds(table, plan.seed)
    judged = held_out(table, plan.recipe, pairs, fold, advance)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "name": plan.name,
        "source": plan.source,
        "extractor": table.features.extractor,
        "features": len(table.features.names),
        "rows": len(table),
        "folds": FOLDS,
        "seed": plan.seed,
        "tasks": _tasks(table),
        "models": {
            model: {"right": float(table.outcomes[:, m].mean()), "cost": known[model]}
            for m, model in enumerate(table.models)
        },
        "right": right_scores(table, judged, "pooled", rng),
        "gain": gain_scores(table, judged, pairs, "pooled", rng, costs),
        "over_length": over_length(table, judged, rng),
        "abstained": {
            each.method: float(each.unlike.mean()) for each in judged if each.unlike is not None
        },
    }
    if table.confidences is not None:
        doubting = with_confidence(table, plan.recipe, pairs, fold, advance)
        scores = gain_scores(table, doubting, pairs, "pooled", rng, costs, both=ESCALATING)
        bounds = (RANDOM, ORACLE)
        document["gain"] += [score for score in scores if score["method"] not in bounds]
    if _can_leave_tasks_out(table):
        rest, unseen = unseen_tasks(table, plan.recipe, pairs, advance)
        document["right"] += right_scores(rest, unseen, "unseen", rng)
        document["gain"] += gain_scores(rest, unseen, pairs, "unseen", rng, costs)
        if len(document["tasks"]) <= MOST_TASKS_ONE_BY_ONE:
            document["by_task"] = by_task(table, judged[:2], pairs, "pooled") + by_task(
                rest, unseen, pairs, "unseen"
            )
    if plan.labels:
        document["few_labels"] = {
            "labels": plan.labels,
            "pair": list(pairs[0]),
            "apgr": few_labels(table, plan.recipe, pairs[0], plan.labels, REPEATS, plan.seed),
        }
    return document


def neighbours(table: OutcomeTable) -> tuple[Pair, ...]:
    """Return each model with the next that is right more often."""
    order = [table.models[m] for m in np.argsort(table.outcomes.mean(axis=0), kind="stable")]
    return tuple(pairwise(order))


def rounds(table: OutcomeTable, pairs: Sequence[Pair]) -> int:
    """Return about how often :func:`study` tells ``advance``."""
    tasks = table.tasks is not None
    confident = (1 + tasks) * FOLDS * len(pairs) if table.confidences is not None else 0
    return (1 + tasks) * FOLDS + 7 + confident + FOLDS * tasks


def parse_results(content: str, source: str) -> dict[str, Any]:
    """Read a document that :func:`study` made.

    Raises:
        BadPredictor: not JSON, not such a document, a newer schema.
    """
    try:
        document = json.loads(content)
    except ValueError:
        raise BadPredictor(f"{source}: not results of an evaluation: not JSON") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise BadPredictor(f'{source}: not results of an evaluation: expected "{SCHEMA}"')
    if document.get("schema_version") != SCHEMA_VERSION:
        raise BadPredictor(
            f"{source}: schema_version is {document.get('schema_version')!r}; expected "
            f"{SCHEMA_VERSION}"
        )
    return document


def _can_leave_tasks_out(table: OutcomeTable) -> bool:
    if table.tasks is None or len(np.unique(table.tasks)) < 2:
        return False
    return len(table) - int(np.bincount(task_groups(table)).max()) >= LEAST_ROWS


def _tasks(table: OutcomeTable) -> dict[str, int]:
    if table.tasks is None:
        return {}
    names, counts = np.unique(table.tasks, return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}
