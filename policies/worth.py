"""Selections that weigh quality against joules: by what is expected, or by what will be.

In: a :class:`policies.sight.Sight`. Out: a :class:`policies.sight.Choice` among all models.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.work import Array
from policies.arguments import Arguments
from policies.sight import Choice, Sight


@dataclass(frozen=True)
class EnergyPerQuality:
    """Each query goes where expected quality minus lambda x joules is greatest."""

    name: str
    quality_per_j: float

    @classmethod
    def of(cls, given: Arguments) -> Self:
        """Read ``lambda=L``, quality a joule, or ``L`` alone."""
        given.only("lambda")
        return cls(given.policy, given.number("lambda", 0))

    def models(self, at_hand: tuple[str, ...]) -> tuple[str, ...]:
        """Return all models."""
        return at_hand

    def choose(self, sight: Sight) -> Choice:
        """Return the model of the greatest expected worth; of equals, the cheaper one."""
        predictions = sight.text(self.name)
        return Choice.once(_best(predictions.quality, sight.energy_j, self.quality_per_j))


@dataclass(frozen=True)
class Oracle:
    """The upper bound: it knows every outcome and every cost beforehand.

    Each query goes where quality minus lambda x joules is greatest. With lambda 0, no selection
    has a higher mean quality, and none of that quality takes fewer joules; with any other, none
    has a greater mean of quality minus lambda x joules. Joules are those of queries served alone.
    """

    name: str
    quality_per_j: float

    @classmethod
    def of(cls, given: Arguments) -> Self:
        """Read ``lambda=L``, quality a joule; 0 where nothing is said."""
        given.only("lambda")
        return cls(given.policy, given.number("lambda", 0, default=0.0))

    def models(self, at_hand: tuple[str, ...]) -> tuple[str, ...]:
        """Return all models."""
        return at_hand

    def choose(self, sight: Sight) -> Choice:
        """Return the model of the greatest worth; of equals, the one of fewer joules."""
        return Choice.once(_best(sight.outcomes(self.name), sight.energy_j, self.quality_per_j))


def _best(quality: Array, energy_j: Array, quality_per_j: float) -> NDArray[np.int64]:
    worth = quality - quality_per_j * energy_j
    best = worth.max(axis=1, keepdims=True)
    return np.asarray(np.argmin(np.where(worth == best, energy_j, np.inf), axis=1))
