"""Folds that cannot leak: a query and its duplicates stay on one side.

In: a table. Out: for each row the number of its fold. Rows with the same features are taken for the
same query; tasks are spread evenly over the folds.
"""

import numpy as np
from numpy.typing import NDArray

from model.difficulty.table import OutcomeTable
from phasewatt.errors import BadPredictor


def folds_of(table: OutcomeTable, count: int, seed: int) -> NDArray[np.int_]:
    """Return the fold (0..count-1) of each row, shape (n,).

    Raises:
        BadPredictor: fewer different queries than folds.
    """
    group = groups_of(table)
    first = np.unique(group, return_index=True)[1]
    if len(first) < count:
        raise BadPredictor(f"{len(first)} different queries are too few for {count} folds")
    rng = np.random.default_rng(seed)
    task = np.zeros(len(table), int)
    if table.tasks is not None:
        task = np.unique(table.tasks, return_inverse=True)[1]
    shuffled = rng.permutation(len(first))
    by_task = shuffled[np.argsort(task[first[shuffled]], kind="stable")]
    fold_of_group = np.empty(len(first), int)
    fold_of_group[by_task] = np.arange(len(first)) % count
    fold: NDArray[np.int_] = fold_of_group[group]
    return fold


def groups_of(table: OutcomeTable) -> NDArray[np.int_]:
    """Return a number for each row, the same for rows that are the same query, shape (n,)."""
    return np.unique(table.features.values, axis=0, return_inverse=True)[1].reshape(-1)


def require_apart(table: OutcomeTable, fold: NDArray[np.int_]) -> None:
    """Check that no query has duplicates in two folds.

    Raises:
        BadPredictor: one has; its identifier is named.
    """
    group = groups_of(table)
    lowest = np.full(group.max() + 1, fold.max() + 1)
    highest = np.full(group.max() + 1, -1)
    np.minimum.at(lowest, group, fold)
    np.maximum.at(highest, group, fold)
    split = np.flatnonzero(lowest[group] != highest[group])
    if len(split):
        raise BadPredictor(
            f"query {str(table.ids[split[0]])!r} has a duplicate in another fold; its score would "
            "be known beforehand"
        )
