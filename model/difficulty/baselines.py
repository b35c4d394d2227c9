"""What a predictor has to beat: length, the task's name, the paper's rule, a plain regression.

In: a table to learn from and one to score. Out: P(right) of every model, (n, models). Each baseline
sees the training rows only.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import scipy
from numpy.typing import NDArray

from model.difficulty import paper
from model.difficulty.boosting import Trees, fit_trees, margin
from model.difficulty.design import design_of
from model.difficulty.logistic import fit_logistic
from model.difficulty.table import OutcomeTable

Baseline = Callable[[OutcomeTable, OutcomeTable], NDArray[np.float64]]

_LENGTH = ("words", "chars")
_PAPER_PENALTY = 1.0
"""The paper's C = 1.0 (Table VI)."""

_LINE_PENALTY = 80.0


def length_linear(known: OutcomeTable, new: OutcomeTable) -> NDArray[np.float64]:
    """Logistic regression on the logarithm of the number of words."""
    return _logistic(
        np.log1p(known.features.columns(("words",))),
        np.log1p(new.features.columns(("words",))),
        known,
        1.0,
    )


def length_tree(known: OutcomeTable, new: OutcomeTable) -> NDArray[np.float64]:
    """Boosted trees on words and characters."""
    trees = Trees(60, 2, 0.1, columns=1.0)
    design = known.features.columns(_LENGTH), new.features.columns(_LENGTH)
    return np.column_stack(
        [
            scipy.special.expit(
                margin(fit_trees(design[0], label, trees, logistic=True), design[1])
            )
            for label in known.outcomes.T
        ]
    )


def task_identity(known: OutcomeTable, new: OutcomeTable) -> NDArray[np.float64]:
    """The mean outcome of the query's task; of all rows, where the task was not seen."""
    found = np.tile(known.outcomes.mean(axis=0), (len(new), 1))
    if known.tasks is not None and new.tasks is not None:
        for task in np.unique(known.tasks):
            found[new.tasks == task] = known.outcomes[known.tasks == task].mean(axis=0)
    return found


def paper_rule(known: OutcomeTable, new: OutcomeTable) -> NDArray[np.float64]:
    """The paper's rule (easy below 0.20 and 5%): the mean outcome of its two sides."""
    found = np.tile(known.outcomes.mean(axis=0), (len(new), 1))
    easy_known, easy_new = _easy(known), _easy(new)
    for side in (True, False):
        if (easy_known == side).any():
            found[easy_new == side] = known.outcomes[easy_known == side].mean(axis=0)
    return found


def paper_logistic(known: OutcomeTable, new: OutcomeTable) -> NDArray[np.float64]:
    """The paper's logistic regression (L2, C = 1) on its five features, standardised."""
    old, fresh = (table.features.columns(paper.NAMES) for table in (known, new))
    centre, spread = old.mean(axis=0), np.maximum(old.std(axis=0), 1e-9)
    return _logistic((old - centre) / spread, (fresh - centre) / spread, known, _PAPER_PENALTY)


def plain_logistic(known: OutcomeTable, new: OutcomeTable) -> NDArray[np.float64]:
    """Ridge logistic regression on the light features, without the task."""
    return _plain(known, new, with_task=False)


def plain_logistic_with_task(known: OutcomeTable, new: OutcomeTable) -> NDArray[np.float64]:
    """Ridge logistic regression on the light features and the task."""
    return _plain(known, new, with_task=True)


TEXT: Final[dict[str, Baseline]] = {
    "length, linear": length_linear,
    "length, tree": length_tree,
    "paper's rule": paper_rule,
    "paper's regression": paper_logistic,
    "plain regression": plain_logistic,
}
"""Baselines that see text alone."""

TASK: Final[dict[str, Baseline]] = {
    "task identity": task_identity,
    "plain regression + task": plain_logistic_with_task,
}
"""Baselines that see the task as well."""


def _plain(known: OutcomeTable, new: OutcomeTable, *, with_task: bool) -> NDArray[np.float64]:
    design = design_of(known.features, known.tasks if with_task else None)
    old, fresh = (
        np.column_stack(
            [
                design.scaled(table.features),
                design.one_hot(len(table), table.tasks if with_task else None),
            ]
        )
        for table in (known, new)
    )
    return _logistic(old, fresh, known, _LINE_PENALTY)


def _logistic(
    old: NDArray[np.float64], fresh: NDArray[np.float64], known: OutcomeTable, penalty: float
) -> NDArray[np.float64]:
    columns = []
    for label in known.outcomes.T:
        beta = fit_logistic(old, label, penalty)
        columns.append(scipy.special.expit(beta[0] + fresh @ beta[1:]))
    return np.column_stack(columns)


def _easy(table: OutcomeTable) -> NDArray[np.bool_]:
    return paper.easy(
        table.features.column("entity_density"), table.features.column("causal_question_score")
    )
