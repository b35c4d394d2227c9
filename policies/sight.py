"""What a selection looks at and what it answers: columns over queries, one column a model.

In: expected joules, and as far as they are known outcomes, predictions, confidences and features.
Out: :class:`Sight`, which every selection reads, and :class:`Choice`, which it returns.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.work import Array
from phasewatt.errors import BadPolicy

NOBODY = -1
"""In :attr:`Choice.then`: the first answer stands."""


class Predictions(Protocol):
    """What a predictor makes of the queries' text, for the models of a :class:`Sight`."""

    @property
    def quality(self) -> Array:
        """Probability that each model answers well, shape (n, models)."""
        ...

    @property
    def unlike(self) -> NDArray[np.bool_]:
        """Which queries are unlike all that the predictor was trained on, shape (n,)."""
        ...

    def gain(self, small: int, large: int) -> Array:
        """Return the expected quality of model ``large`` minus that of ``small``, shape (n,)."""
        ...


class TextFeatures(Protocol):
    """The paper's features of the queries' text."""

    def column(self, name: str) -> Array:
        """Return one feature of all queries, shape (n,)."""
        ...


@dataclass(frozen=True)
class Sight:
    """Queries as a selection sees them, before any is served.

    Attributes:
        models: the models at hand, the one of least mean ``energy_j`` first.
        energy_j: expected joules of each query on each model, alone at batch 1 and at the clocks
            that its governor asks for, shape (n, models).
        quality: outcomes in [0, 1], shape (n, models), NaN where unknown; None where none is
            known. Only a bound may look at the outcome of a query that it is to place; other
            selections may learn from those of a calibration split.
        confidence: what each model says of its own answer, shape (n, models), NaN where unknown.
            A cascade may look at the small model's once that has answered.
        predictions: what the text tells; None without text or predictor.
        features: the paper's features, among them entity_density in 0..1 and
            causal_question_score in %; None without text.
        seed: of every draw.
    """

    models: tuple[str, ...]
    energy_j: Array
    quality: Array | None = None
    confidence: Array | None = None
    predictions: Predictions | None = None
    features: TextFeatures | None = None
    seed: int = 0

    @property
    def queries(self) -> int:
        """How many queries there are."""
        return int(self.energy_j.shape[0])

    def index(self, policy: str, model: str) -> int:
        """Return the column of ``model``.

        Raises:
            BadPolicy: it is not at hand.
        """
        if model not in self.models:
            raise BadPolicy(
                f"policy {policy}: unknown model {model!r}; expected one of "
                f"{', '.join(self.models)}"
            )
        return self.models.index(model)

    def text(self, policy: str) -> Predictions:
        """Return what the queries' text tells.

        Raises:
            BadPolicy: there is no text, or no predictor that knows the models.
        """
        if self.predictions is None:
            raise BadPolicy(
                f"policy {policy}: needs the queries' text and a predictor that knows the models: "
                "expected a column text in the trace, and --predictor"
            )
        return self.predictions

    def outcomes(self, policy: str) -> Array:
        """Return the quality of every model on every query, shape (n, models).

        Raises:
            BadPolicy: that of some model is not known for every query.
        """
        if self.quality is None:
            raise BadPolicy(
                f"policy {policy}: needs what each model would answer: found no outcomes; expected "
                f"columns quality.{self.models[0]} and so on in the trace, or --quality-from TABLE"
            )
        for column, name in enumerate(self.models):
            unknown = int(np.isnan(self.quality[:, column]).sum())
            if unknown:
                raise BadPolicy(
                    f"policy {policy}: the quality of {name} is unknown for {unknown:,} of "
                    f"{self.queries:,} queries; expected it for all"
                )
        return self.quality


@dataclass(frozen=True)
class Promise:
    """What a threshold that was learned promises, and how that fared on queries it never saw.

    Attributes:
        min_quality: mean quality that is promised, as a share of the large model's.
        confidence: with what probability over calibration splits the promise holds.
        threshold: what was chosen; -inf sends everything to the large model.
        calibrated: queries that it was chosen on.
        held_out: queries that it was checked on.
        held_out_share: mean quality there as a share of the large model's; NaN if there is none.
    """

    min_quality: float
    confidence: float
    threshold: float
    calibrated: int
    held_out: int
    held_out_share: float

    @property
    def kept(self) -> bool:
        """Whether the held-out queries reach what was promised."""
        return self.held_out_share >= self.min_quality


@dataclass(frozen=True)
class Choice:
    """Which models answer each query, as columns of shape (n,) into :attr:`Sight.models`.

    ``first`` answers; where ``then`` is not :data:`NOBODY` its answer is thrown away when it is
    there, and ``then`` answers after it: both cost energy and time.
    """

    first: NDArray[np.int64]
    then: NDArray[np.int64]
    promise: Promise | None = None
    notes: tuple[str, ...] = field(default=())

    @staticmethod
    def once(models: NDArray[np.int64], *notes: str) -> "Choice":
        """Return the choice of one model for each query."""
        return Choice(models, np.full(models.shape, NOBODY), notes=notes)

    @property
    def escalated(self) -> NDArray[np.bool_]:
        """Which queries are answered twice, shape (n,)."""
        return np.asarray(self.then != NOBODY)

    @property
    def final(self) -> NDArray[np.int64]:
        """The model whose answer each query gets, shape (n,)."""
        return np.where(self.escalated, self.then, self.first)

    def of(self, table: Array) -> Array:
        """Return the entry of ``table`` (n, models) for the model that answers, shape (n,)."""
        return np.asarray(np.take_along_axis(table, self.final[:, None], axis=1)[:, 0])

    def cost(self, table: Array) -> Array:
        """Return the entries of ``table`` (n, models) of all models that ran, added up, (n,)."""
        first = np.take_along_axis(table, self.first[:, None], axis=1)[:, 0]
        then = np.take_along_axis(table, np.maximum(self.then, 0)[:, None], axis=1)[:, 0]
        return np.asarray(first + np.where(self.escalated, then, 0.0))
