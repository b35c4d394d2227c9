"""The predictor of difficulty: which model answers which query well, and what a larger one gains.

In: features of queries, and their tasks where the predictor was trained with them. Out: calibrated
probabilities, calibrated gains, intervals, attributions, and a flag for queries that are unlike the
training data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from model.difficulty.boosting import attributions, margin
from model.difficulty.conformal import Conformal
from model.difficulty.design import Design
from model.difficulty.features import Features
from model.difficulty.novelty import Novelty
from model.difficulty.vocabulary import say
from phasewatt.errors import BadPredictor

Tasks = Sequence[str] | NDArray[np.str_] | None

WORDS = "which words"
"""What :meth:`DifficultyPredictor.attributions` calls the words member."""


@dataclass(frozen=True)
class RightHead:
    """P(one model answers well): the mean log-odds of trees of its own, the pool's trees, a line
    over scaled features, and, where features have words, a line over those; calibrated.

    ``line`` holds an intercept and the coefficients of :meth:`Design.for_lines`; ``words`` those of
    intercept, tasks and vocabulary, or nothing; ``platt`` the intercept and slope that calibrate
    the mean on held-out folds.
    """

    model: str
    booster: Any = field(repr=False)
    line: tuple[float, ...] = field(repr=False)
    words: tuple[float, ...] = field(repr=False)
    platt: tuple[float, float]
    conformal: Conformal = field(repr=False)


@dataclass(frozen=True)
class GainHead:
    """Outcome of ``large`` minus outcome of ``small``: trees on the gain itself, half and half
    with the difference of the two probabilities, put on the true scale by ``line``.
    """

    small: str
    large: str
    booster: Any = field(repr=False)
    line: tuple[float, float]
    conformal: Conformal = field(repr=False)


@dataclass(frozen=True)
class DifficultyPredictor:
    """Heads for models and pairs of models, over one design and one pool of trees."""

    name: str
    design: Design = field(repr=False)
    pool: Any = field(repr=False)
    heads: tuple[RightHead, ...]
    gains: tuple[GainHead, ...]
    novelty: Novelty = field(repr=False)
    rows: int
    source: str = ""

    @property
    def models(self) -> tuple[str, ...]:
        """The models, in the order of the columns of :meth:`probabilities`."""
        return tuple(head.model for head in self.heads)

    @property
    def extractor(self) -> str:
        """Who has to make the features; see :func:`model.difficulty.features.features_of`."""
        return self.design.extractor

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that it knows; empty where it does not ask for the task."""
        return self.design.tasks

    def probabilities(self, features: Features, tasks: Tasks = None) -> NDArray[np.float64]:
        """Return P(model answers well), or the expected outcome in 0..1: (n, len(models)).

        Raises:
            BadPredictor: features of another extractor, or no tasks where they are needed.
        """
        return np.asarray(scipy.special.expit(self._log_odds(features, tasks)))

    def gain(
        self, features: Features, small: str, large: str, tasks: Tasks = None
    ) -> NDArray[np.float64]:
        """Return the expected outcome of ``large`` minus that of ``small``, shape (n,), in -1..1.

        Raises:
            BadPredictor: an unknown model, one that was not paired, or as in :meth:`probabilities`.
        """
        head, sign = self._pair(small, large)
        chances = self.probabilities(features, tasks)
        low, high = self.column(head.small), self.column(head.large)
        direct = margin(head.booster, self.design.for_trees(features, tasks))
        raw = gain_score(direct, chances[:, low], chances[:, high])
        return sign * np.clip(head.line[0] + head.line[1] * raw, -1.0, 1.0)

    def intervals(
        self, features: Features, tasks: Tasks = None, coverage: float = 0.9
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return bounds that hold the outcome of each query and model: two arrays (n, models).

        Where outcomes are 0 or 1, an interval that holds both says that either may come. The
        coverage is that of held-out folds, query by query, within bands of predictions.

        Raises:
            BadPredictor: a coverage that was not calibrated, or as in :meth:`probabilities`.
        """
        chances = self.probabilities(features, tasks)
        width = np.column_stack(
            [
                head.conformal.half_width(chances[:, column], coverage)
                for column, head in enumerate(self.heads)
            ]
        )
        return np.clip(chances - width, 0.0, 1.0), np.clip(chances + width, 0.0, 1.0)

    def mean_interval(
        self, predicted: NDArray[np.float64], coverage: float = 0.95
    ) -> tuple[float, float]:
        """Return bounds of the mean outcome over queries with these predictions, shape (n,).

        Outcomes scatter by p (1 - p), and the calibration itself is as sure as the training rows
        are many: z sqrt(mean p (1 - p) (1 / n + 1 / rows)). It holds for queries like those of the
        training data; nothing holds for others.
        """
        mean = float(predicted.mean())
        spread = float((predicted * (1 - predicted)).mean())
        half = float(scipy.stats.norm.ppf(0.5 + coverage / 2)) * np.sqrt(
            spread * (1 / len(predicted) + 1 / self.rows)
        )
        return max(mean - half, 0.0), min(mean + half, 1.0)

    def unlike(self, features: Features, tasks: Tasks = None) -> NDArray[np.bool_]:
        """Return which queries are unlike the training data, shape (n,): do not trust those.

        A task that it does not know makes a query unlike, where it asks for the task.

        Raises:
            BadPredictor: features of another extractor.
        """
        far = self.novelty.unlike(self.design.scaled(features))
        if self.tasks and tasks is not None:
            far = far | ~self.design.knows(tasks)
        return far

    def attributions(
        self, features: Features, model: str, tasks: Tasks = None
    ) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """Return column names and what each adds to the log-odds of ``model``: (n, columns + 1).

        The last number is the bias; a row adds up to the log-odds of :meth:`probabilities`. Trees
        are attributed by TreeSHAP, lines by coefficient times scaled value, words in one sum.

        Raises:
            BadPredictor: an unknown model, or as in :meth:`probabilities`.
        """
        head = self.heads[self.column(model)]
        trees, lines = (
            self.design.for_trees(features, tasks),
            self.design.for_lines(features, tasks),
        )
        total = attributions(head.booster, trees) + attributions(self.pool, trees)
        by_line = lines * np.array(head.line[1:])
        for column, target in enumerate(self.design.column_of_line()):
            total[:, target] += by_line[:, column]
        total[:, -1] += head.line[0]
        columns = self.design.columns
        members = 3
        if head.words:
            said = self._words(head, features, tasks)
            total = np.column_stack([total[:, :-1], said, total[:, -1]])
            columns = (*columns, WORDS)
            members = 4
        total *= head.platt[1] / members
        total[:, -1] += head.platt[0]
        return columns, total

    def column(self, model: str) -> int:
        """Return the column of ``model`` in :meth:`probabilities`.

        Raises:
            BadPredictor: the predictor does not have it.
        """
        if model not in self.models:
            raise BadPredictor(
                f"unknown model {model!r}; predictor {self.name} has {', '.join(self.models)}"
            )
        return self.models.index(model)

    def _pair(self, small: str, large: str) -> tuple[GainHead, float]:
        self.column(small), self.column(large)
        for head in self.gains:
            if (head.small, head.large) == (small, large):
                return head, 1.0
            if (head.small, head.large) == (large, small):
                return head, -1.0
        raise BadPredictor(f"predictor {self.name} was not trained for {large} over {small}")

    def _log_odds(self, features: Features, tasks: Tasks) -> NDArray[np.float64]:
        trees, lines = (
            self.design.for_trees(features, tasks),
            self.design.for_lines(features, tasks),
        )
        pool = margin(self.pool, trees)
        columns = []
        for head in self.heads:
            line = head.line[0] + lines @ np.array(head.line[1:])
            members = [margin(head.booster, trees), pool, line]
            if head.words:
                members.append(self._words(head, features, tasks))
            columns.append(head.platt[0] + head.platt[1] * np.mean(members, axis=0))
        return np.column_stack(columns)

    def _words(self, head: RightHead, features: Features, tasks: Tasks) -> NDArray[np.float64]:
        rows = self.design.weighed_words(features)
        return say(np.array(head.words), rows, self.design.one_hot(len(features), tasks))


def gain_score(
    direct: NDArray[np.float64], small: NDArray[np.float64], large: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean of the directly trained gain and of the difference of probabilities."""
    return (direct + (large - small)) / 2
