"""The quality of what a fleet answered: measured, assumed, predicted, or unknown.

In: which model's answer each query got, what is known of answers. Out: :class:`Quality`, and the
quality of every query.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from model.work import Array
from simulate.answers import Answers
from simulate.outcome import Outcome
from simulate.selecting import Selected


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


def quality_of_queries(
    models: Sequence[str], column: NDArray[np.int64], answers: Answers
) -> tuple[How, Array | None]:
    """Return how the quality of each query is known, and it, shape (n,), NaN where unknown.

    ``column`` is the index into ``models`` of the model whose answer each query got, shape (n,).
    """
    outcomes = answers.table(answers.quality, models)
    if outcomes is not None:
        how = How.ASSUMED if answers.assumed else How.MEASURED
        return how, np.take_along_axis(outcomes, column[:, None], axis=1)[:, 0]
    predicted = answers.predicted(models)
    if predicted is None:
        return How.UNKNOWN, None
    return How.PREDICTED, np.take_along_axis(predicted.quality, column[:, None], axis=1)[:, 0]


def quality_of(
    outcome: Outcome, selected: Selected | None, answers: Answers
) -> tuple[Quality, Array | None]:
    """Return the mean quality of the answers of ``outcome``, and that of each, shape (n,)."""
    models = tuple(dict.fromkeys(group.model for group in outcome.groups))
    of_group = np.array([models.index(group.model) for group in outcome.groups])
    how, quality = quality_of_queries(models, of_group[outcome.group_of], answers)
    twice = 0.0 if selected is None else float(selected.choice.escalated.mean())
    known = outcome.served if quality is None else outcome.served & ~np.isnan(quality)
    if quality is None or not known.any():
        return Quality(How.UNKNOWN, None, None, None, 0.0, twice), None
    share = float(known.sum() / outcome.served.sum())
    mean = float(quality[known].mean())
    if how is not How.PREDICTED:
        return Quality(how, mean, None, None, share, twice), quality
    assert answers.predictor is not None
    interval = answers.predictor.mean_interval(quality[known])
    return Quality(how, mean, *interval, share, twice), quality


def quality_warnings(
    answers: Answers, selections: Sequence[Selected | None], qualities: Sequence[Quality]
) -> Iterator[str]:
    """Yield what a reader must know of qualities, and how promises fared, one sentence each."""
    chosen = [selected for selected in selections if selected is not None]
    if not chosen and not answers.assumed and answers.predictor is None:
        return
    yield from answers.assumed
    known = {quality.how for quality in qualities}
    if How.UNKNOWN in known:
        yield (
            "quality is unknown: the trace holds no outcomes (quality.MODEL) of models that "
            "answered, and no --quality-from or --predictor tells them"
        )
    if How.PREDICTED in known and answers.predictor is not None:
        yield (
            f"quality is predicted from the text by {answers.predictor.name}: its interval holds "
            "for queries like those that it was trained on"
        )
    part = min((q.known for q in qualities if q.how is not How.UNKNOWN), default=1.0)
    if part < 1:
        yield f"quality is the mean over as few as {part:.0%} of a policy's answers: those known"
    for selected in chosen:
        yield from _of_choice(selected)


def _of_choice(selected: Selected) -> Iterator[str]:
    choice = selected.choice
    yield from (f"{selected.name}: {note}" for note in choice.notes)
    promise = choice.promise
    if promise is None:
        return
    kept = "kept" if promise.kept else "not kept"
    yield (
        f"{selected.name}: promises {promise.min_quality:.1%} of the large model's quality at "
        f"{promise.confidence:.0%} confidence, learned on {promise.calibrated:,} of the queries: "
        f"threshold {promise.threshold:.4g}; {promise.held_out_share:.1%} on the other "
        f"{promise.held_out:,}: {kept}"
    )
