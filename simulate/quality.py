"""The quality of what a fleet answered: measured, assumed, predicted, or unknown.

In: which model's answer each query got, what is known of answers. Out: :class:`Quality`, and the
quality of every query.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from model.work import Array
from simulate.answers import Answers


class How(StrEnum):
    """How a quality is known."""

    MEASURED = "measured"
    ASSUMED = "assumed"
    PREDICTED = "predicted"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Quality:
    """Mean quality of the answers that a run gave.

    Attributes:
        how: measured where the trace holds outcomes; assumed where they were joined from a table,
            or are another model's; predicted from the text.
        mean: over the queries served whose quality is known, in [0, 1]; None where none is.
        low: lower end of the 95% interval of a predicted mean; None otherwise.
        high: upper end.
        known: share of the queries served whose quality is known.
        answered_twice: share of all queries that a second model answered after the first.
    """

    how: How
    mean: float | None
    low: float | None
    high: float | None
    known: float
    answered_twice: float


def quality_of_queries(model_of: NDArray[np.str_], answers: Answers) -> tuple[How, Array]:
    """Return how the quality of each query is known, and it, shape (n,), NaN where unknown.

    ``model_of`` is the model whose answer each query got, shape (n,).
    """
    models = tuple(dict.fromkeys(model_of.tolist()))
    outcomes = answers.table(answers.quality, models)
    column = np.array([models.index(model) for model in model_of])[:, None]
    if outcomes is not None:
        how = How.ASSUMED if answers.assumed else How.MEASURED
        return how, np.take_along_axis(outcomes, column, axis=1)[:, 0]
    predicted = answers.predicted(models)
    if predicted is None:
        return How.UNKNOWN, np.full(model_of.size, np.nan)
    return How.PREDICTED, np.take_along_axis(predicted.quality, column, axis=1)[:, 0]


def quality_of(
    how: How, quality: Array, served: NDArray[np.bool_], twice: float, answers: Answers
) -> Quality:
    """Return the mean of ``quality`` over the queries that were ``served``, both of shape (n,)."""
    known = served & ~np.isnan(quality)
    share = float(known.sum() / max(served.sum(), 1))
    if not known.any():
        return Quality(How.UNKNOWN, None, None, None, 0.0, twice)
    if how is How.PREDICTED:
        assert answers.predictor is not None
        low, high = answers.predictor.mean_interval(quality[known])
        return Quality(how, float(quality[known].mean()), low, high, share, twice)
    return Quality(how, float(quality[known].mean()), None, None, share, twice)
