"""The matrices that learners see: features, which task, and both together.

In: features and tasks of queries. Out: a matrix for trees and one for linear models, with the scale
learned from the training rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.difficulty.features import Features
from model.difficulty.vocabulary import Sparse, Vocabulary, vocabulary_of
from phasewatt.errors import BadPredictor

FURTHEST = 4.0
"""Standard deviations at which a scaled feature is cut off."""

MOST_TASKS_WITH_OWN_SLOPES = 8
"""With more tasks than this, a linear model has an intercept for each task but no slopes."""

MOST_SLOPES = 100
"""Features beyond the first so many have no slope of each task's own (embeddings have 384)."""

_TASK_WEIGHT = 2.0
"""One-hot tasks count double, so that the ridge spares them."""


@dataclass(frozen=True)
class Design:
    """Names, tasks (empty: the task is not a feature), and the scale of asinh(feature).

    ``vocabulary`` is None where the features have no words.
    """

    extractor: str
    names: tuple[str, ...]
    tasks: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    vocabulary: Vocabulary | None = None

    def weighed_words(self, features: Features) -> Sparse:
        """Return the rows of the vocabulary, or None where it has none.

        Raises:
            BadPredictor: features of another extractor.
        """
        self._require(features)
        return None if self.vocabulary is None else self.vocabulary.weigh(features.words)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of :meth:`for_trees`."""
        return (*self.names, *(f"task is {task}" for task in self.tasks))

    def for_trees(
        self, features: Features, tasks: Sequence[str] | NDArray[np.str_] | None
    ) -> NDArray[np.float64]:
        """Return features as they are, then one column a task: (n, len(columns)).

        Raises:
            BadPredictor: features of another extractor, or tasks missing where they are needed.
        """
        return np.column_stack([self._values(features), self.one_hot(len(features), tasks)])

    def for_lines(
        self, features: Features, tasks: Sequence[str] | NDArray[np.str_] | None
    ) -> NDArray[np.float64]:
        """Return scaled features, tasks, and the features of each task in columns of their own.

        Raises:
            BadPredictor: as in :meth:`for_trees`.
        """
        scaled = self.scaled(features)
        one_hot = self.one_hot(len(features), tasks)
        parts = [scaled, _TASK_WEIGHT * one_hot]
        if 1 < len(self.tasks) <= MOST_TASKS_WITH_OWN_SLOPES:
            own = scaled[:, :MOST_SLOPES]
            parts += [own * one_hot[:, [task]] for task in range(len(self.tasks))]
        return np.column_stack(parts)

    def column_of_line(self) -> NDArray[np.int_]:
        """Return which column of ``columns`` each column of :meth:`for_lines` tells of."""
        k, t = len(self.names), len(self.tasks)
        own = t if 1 < t <= MOST_TASKS_WITH_OWN_SLOPES else 0
        return np.concatenate(
            [np.arange(k), k + np.arange(t), np.tile(np.arange(min(k, MOST_SLOPES)), own)]
        )

    def scaled(self, features: Features) -> NDArray[np.float64]:
        """Return the scaled features alone, cut off at :data:`FURTHEST`: (n, len(names))."""
        values = np.arcsinh(self._values(features))
        z = (values - np.array(self.centre)) / np.array(self.scale)
        found: NDArray[np.float64] = np.clip(z, -FURTHEST, FURTHEST)
        return found

    def knows(self, tasks: Sequence[str] | NDArray[np.str_]) -> NDArray[np.bool_]:
        """Return which of ``tasks`` the training rows had, shape (n,)."""
        return np.isin(np.asarray(tasks, dtype=np.str_), np.array(self.tasks, dtype=np.str_))

    def _values(self, features: Features) -> NDArray[np.float64]:
        self._require(features)
        return features.columns(self.names)

    def _require(self, features: Features) -> None:
        if features.extractor != self.extractor:
            raise BadPredictor(
                f"wrong feature set: this predictor was trained on {self.extractor}, found "
                f"{features.extractor}"
            )

    def one_hot(
        self, n: int, tasks: Sequence[str] | NDArray[np.str_] | None
    ) -> NDArray[np.float64]:
        """Return which of ``self.tasks`` each query has: (n, len(self.tasks)), all 0 if unknown.

        Raises:
            BadPredictor: tasks missing where they are needed.
        """
        if not self.tasks:
            return np.empty((n, 0))
        if tasks is None:
            raise BadPredictor(
                f"this predictor wants the task of each query (one of {', '.join(self.tasks)}); "
                "found none"
            )
        given = np.asarray(tasks, dtype=np.str_)
        same: NDArray[np.bool_] = given[:, None] == np.array(self.tasks, dtype=np.str_)
        return same.astype(float)


def design_of(features: Features, tasks: Sequence[str] | NDArray[np.str_] | None) -> Design:
    """Learn the scale of ``features`` and the names of ``tasks``; None leaves the task out."""
    values = np.arcsinh(features.values)
    spread = values.std(axis=0)
    return Design(
        extractor=features.extractor,
        names=features.names,
        tasks=() if tasks is None else tuple(str(each) for each in np.unique(np.asarray(tasks))),
        centre=tuple(values.mean(axis=0).tolist()),
        scale=tuple(np.where(spread > 1e-9, spread, 1.0).tolist()),
        vocabulary=None if features.words is None else vocabulary_of(features.words),
    )
