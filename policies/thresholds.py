"""Selections between a small and a large model: by rule, by predicted gain, by confidence.

In: a :class:`policies.sight.Sight`. Out: a :class:`policies.sight.Choice`, with its promise where
a threshold was learned.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.work import Array
from phasewatt.errors import BadPolicy
from policies.arguments import Arguments
from policies.promise import learned_threshold, split
from policies.sight import NOBODY, Choice, Promise, Sight

CONFIDENCE = 0.95
"""With which a promise holds, unless said otherwise."""

SPLIT = 0.5
"""Share of the queries with known outcomes on which a threshold is learned."""


@dataclass(frozen=True)
class Pair:
    """The small and the large model of a route; None takes the cheapest and the dearest."""

    policy: str
    small: str | None
    large: str | None

    @staticmethod
    def of(given: Arguments) -> "Pair":
        """Read ``small=MODEL`` and ``large=MODEL``."""
        return Pair(given.policy, given.text("small"), given.text("large"))

    def models(self, at_hand: tuple[str, ...]) -> tuple[str, ...]:
        """Return the two models, or all at hand where one is left to be found.

        Raises:
            BadPolicy: one is not at hand, or fewer than two are.
        """
        for model in (self.small, self.large):
            if model is not None and model not in at_hand:
                raise BadPolicy(
                    f"policy {self.policy}: unknown model {model!r}; expected one of "
                    f"{', '.join(at_hand)}"
                )
        if len(at_hand) < 2:
            raise BadPolicy(
                f"policy {self.policy}: found one model, {at_hand[0]}; expected two to choose from"
            )
        if self.small is None or self.large is None:
            return at_hand
        return tuple(m for m in at_hand if m in (self.small, self.large))

    def columns(self, sight: Sight) -> tuple[int, int]:
        """Return the columns of the small and the large model."""
        small = 0 if self.small is None else sight.index(self.policy, self.small)
        large = len(sight.models) - 1
        if self.large is not None:
            large = sight.index(self.policy, self.large)
        if small == large:
            raise BadPolicy(
                f"policy {self.policy}: {sight.models[small]} is both the small and the large "
                "model; expected two to choose from"
            )
        return small, large


@dataclass(frozen=True)
class Cut:
    """Where a score is cut: at ``threshold``, or where ``min_quality`` is promised.

    ``min_quality`` is a share of the large model's mean quality; ``confidence`` and ``share`` say
    how sure the promise is and on which share of the queries it is learned.
    """

    policy: str
    threshold: float | None
    min_quality: float | None
    confidence: float
    share: float

    WORDS = ("threshold", "min-quality", "confidence", "split")

    @staticmethod
    def of(given: Arguments) -> "Cut":
        """Read ``threshold=T`` or ``min-quality=Q,confidence=C,split=S``.

        Raises:
            BadPolicy: both are given, or neither.
        """
        if given.has("threshold") == given.has("min-quality"):
            found = "both" if given.has("threshold") else "neither"
            raise BadPolicy(
                f"policy {given.policy}: found {found} of threshold= and min-quality=; expected one"
            )
        learned = given.has("min-quality")
        return Cut(
            given.policy,
            None if learned else given.number("threshold"),
            given.number("min-quality", 0, 1) if learned else None,
            given.number("confidence", 0.5, 0.9999, CONFIDENCE),
            given.number("split", 0.01, 0.99, SPLIT),
        )

    def apply(self, score: Array, sight: Sight, small: int, large: int) -> "Answered":
        """Return which queries the large model is to answer, and the promise if there is one."""
        if self.threshold is not None:
            return Answered(score > self.threshold, None)
        assert self.min_quality is not None
        quality = sight.outcomes(self.policy)
        learned, held = split(sight.queries, self.share, sight.seed)
        threshold = learned_threshold(
            score[learned],
            quality[learned, small],
            quality[learned, large],
            self.min_quality,
            self.confidence,
        )
        to_large = score > threshold
        mixture = np.where(to_large, quality[:, large], quality[:, small])[held]
        best = quality[held, large]
        share = float(mixture.sum() / best.sum()) if best.sum() > 0 else float("nan")
        promise = Promise(
            self.min_quality, self.confidence, threshold, learned.size, held.size, share
        )
        return Answered(to_large, promise)


@dataclass(frozen=True)
class Answered:
    """Which queries go to the large model, shape (n,), and what that promises."""

    large: NDArray[np.bool_]
    promise: Promise | None


@dataclass(frozen=True)
class Rule:
    """The paper's rule: easy where entity density and causal score are low; hard goes large.

    "Queries are classified as easy if entity density < 0.20 and causal question score < 0.05, and
    hard otherwise" (arXiv 2501.08219, Section V-D).
    """

    name: str
    pair: Pair
    entity: float
    causal: float

    @classmethod
    def of(cls, given: Arguments) -> Self:
        """Read ``entity=0.20,causal=0.05,small=,large=``."""
        given.only("entity", "causal", "small", "large")
        return cls(
            given.policy,
            Pair.of(given),
            given.number("entity", 0, default=0.20),
            given.number("causal", 0, default=0.05),
        )

    def models(self, at_hand: tuple[str, ...]) -> tuple[str, ...]:
        """Return the two models."""
        return self.pair.models(at_hand)

    def choose(self, sight: Sight) -> Choice:
        """Return the small model for easy queries and the large one for hard ones."""
        if sight.features is None:
            raise BadPolicy(f"policy {self.name}: needs the queries' text: the trace has none")
        small, large = self.pair.columns(sight)
        easy = (sight.features.column("entity_density") < self.entity) & (
            sight.features.column("causal_question_score") < 100 * self.causal
        )
        return Choice.once(np.where(easy, small, large))


@dataclass(frozen=True)
class Difficulty:
    """By predicted gain: large where it is expected to answer better by more than a threshold.

    A query unlike all that the predictor was trained on goes to the large model.
    """

    name: str
    pair: Pair
    cut: Cut

    @classmethod
    def of(cls, given: Arguments) -> Self:
        """Read ``threshold=T`` or ``min-quality=Q,...``, ``small=``, ``large=``."""
        given.only(*Cut.WORDS, "small", "large")
        return cls(given.policy, Pair.of(given), Cut.of(given))

    def models(self, at_hand: tuple[str, ...]) -> tuple[str, ...]:
        """Return the two models."""
        return self.pair.models(at_hand)

    def choose(self, sight: Sight) -> Choice:
        """Return the large model where its gain is worth it, and the small one elsewhere."""
        predictions = sight.text(self.name)
        small, large = self.pair.columns(sight)
        gain = np.where(predictions.unlike, np.inf, predictions.gain(small, large))
        answered = self.cut.apply(gain, sight, small, large)
        models = np.where(answered.large, large, small)
        unlike = int(predictions.unlike.sum())
        note = f"{unlike:,} queries unlike the predictor's training data went to the large model"
        return Choice(
            models,
            np.full(models.shape, NOBODY),
            answered.promise,
            (note,) if unlike else (),
        )


@dataclass(frozen=True)
class Cascade:
    """The small model answers; where it is not sure of its answer, the large one answers again.

    The score that is cut is how unsure the small model is: minus its logged confidence. With
    ``text``, it is the gain that a linear regression on confidence and the predictor's figures
    expects, fitted to the outcomes of the calibration split.
    """

    name: str
    pair: Pair
    cut: Cut
    text: bool

    @classmethod
    def of(cls, given: Arguments) -> Self:
        """Read ``threshold=T`` or ``min-quality=Q,...``, ``text``, ``small=``, ``large=``."""
        given.only(*Cut.WORDS, "text", "small", "large")
        return cls(given.policy, Pair.of(given), Cut.of(given), given.flag("text"))

    def models(self, at_hand: tuple[str, ...]) -> tuple[str, ...]:
        """Return the two models."""
        return self.pair.models(at_hand)

    def choose(self, sight: Sight) -> Choice:
        """Return the small model first for every query, and the large one where it is unsure."""
        small, large = self.pair.columns(sight)
        sure = self._confidence(sight, small)
        score = self._with_text(sure, sight, small, large) if self.text else -sure
        answered = self.cut.apply(score, sight, small, large)
        first = np.full(sight.queries, small)
        return Choice(first, np.where(answered.large, large, NOBODY), answered.promise)

    def _confidence(self, sight: Sight, small: int) -> Array:
        model = sight.models[small]
        sure = None if sight.confidence is None else sight.confidence[:, small]
        if sure is None or np.all(np.isnan(sure)):
            raise BadPolicy(
                f"policy {self.name}: needs how sure {model} is of each answer: expected a column "
                f"confidence.{model}"
            )
        # Whoever does not say how sure it is is asked again by the large model.
        return np.where(np.isnan(sure), -np.inf, sure)

    def _with_text(self, sure: Array, sight: Sight, small: int, large: int) -> Array:
        predictions = sight.text(self.name)
        quality = sight.outcomes(self.name)
        learned, _ = split(sight.queries, self.cut.share, sight.seed)
        known = np.isfinite(sure)
        rank = np.zeros(sure.size)
        # Ranks, since log-probabilities crowd at 0 and have no bound below.
        rank[known] = np.searchsorted(np.sort(sure[known]), sure[known]) / max(known.sum(), 1)
        columns = (rank, predictions.gain(small, large), predictions.quality[:, small])
        table = np.column_stack([np.ones(sure.size), *columns])
        gain = quality[:, large] - quality[:, small]
        fit, *_ = np.linalg.lstsq(table[learned], gain[learned], rcond=None)
        return np.where(known, table @ fit, np.inf)
