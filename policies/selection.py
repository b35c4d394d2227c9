"""Selections: which model serves a query.

In: the number of queries and the models at hand. Out: one model index per query.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from phasewatt.errors import BadPolicy


class Selection(Protocol):
    """Chooses a model for every query."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def models(self) -> tuple[str, ...]:
        """The models that it may choose, in the order of the indices that it returns."""
        ...

    def choose(self, queries: int) -> NDArray[np.int64]:
        """Return the index into :attr:`models` of the model that serves each query."""
        ...


@dataclass(frozen=True)
class Single:
    """Every query goes to one model."""

    model: str

    @property
    def name(self) -> str:
        """``single:MODEL``."""
        return f"single:{self.model}"

    @property
    def models(self) -> tuple[str, ...]:
        """The one model."""
        return (self.model,)

    def choose(self, queries: int) -> NDArray[np.int64]:
        """Return zeros: there is one model."""
        return np.zeros(queries, dtype=np.int64)


def make_selection(text: str, models: Sequence[str]) -> Selection:
    """Return the selection that ``text`` (``single:MODEL``) names.

    Raises:
        BadPolicy: ``text`` names no selection, or a model that is not in ``models``.
    """
    name, _, argument = text.partition(":")
    if name != "single":
        raise BadPolicy(f"unknown selection {name!r}; expected single:MODEL")
    if argument not in models:
        raise BadPolicy(f"selection {text}: unknown model; expected one of {', '.join(models)}")
    return Single(argument)
