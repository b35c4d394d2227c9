"""Features of queries, with the name of what made them.

In: texts. Out: a :class:`Features` value: one row a text, one column a feature, and the extractor's
name, which a predictor compares with the one that it was trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.difficulty import light, paper
from model.difficulty.entities import CAPITALS, recogniser
from model.difficulty.reading import read
from model.difficulty.vocabulary import Sparse, bags
from phasewatt.errors import BadPredictor

VERSION: Final = "light-1"
"""Changes whenever any feature of the same name comes out otherwise."""

WORDS: Final = "words"

NAMES: Final = (*light.NAMES, *paper.NAMES, "entities")


DEFAULT: Final = f"{VERSION}+{CAPITALS}+{WORDS}"


@dataclass(frozen=True)
class Features:
    """``values`` has shape (n, len(names)); ``extractor`` says who made them.

    ``words`` says which hashed words each text has (:func:`model.difficulty.vocabulary.bags`), or
    is None where the extractor leaves them out.
    """

    extractor: str
    names: tuple[str, ...]
    values: NDArray[np.float64] = field(repr=False)
    words: Sparse = field(repr=False, default=None)

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.names)}

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one feature of all queries, shape (n,).

        Raises:
            BadPredictor: there is no such feature.
        """
        return self.columns((name,))[:, 0]

    def columns(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Return the features called ``names``, in that order, shape (n, len(names)).

        Raises:
            BadPredictor: one of them is missing.
        """
        missing = [name for name in names if name not in self._index]
        if missing:
            raise BadPredictor(
                f"no feature {missing[0]!r} here; found {len(self.names)} features of "
                f"{self.extractor}"
            )
        return self.values[:, [self._index[name] for name in names]]

    def rows(self, chosen: NDArray[np.int_] | NDArray[np.bool_]) -> "Features":
        """Return the rows ``chosen``."""
        index = np.arange(len(self))[chosen]
        words = None if self.words is None else self.words[index]
        return Features(self.extractor, self.names, self.values[index], words)


def extractor_name(entities: str = CAPITALS) -> str:
    """Return the name of the light features, with entities found by ``entities``, and words."""
    return f"{VERSION}+{entities}+{WORDS}"


def features_of(texts: Sequence[str], extractor: str = DEFAULT) -> Features:
    """Return the light and the paper's features of ``texts``, made by ``extractor``.

    An extractor is named ``light-1+ENTITIES``, with ``+words`` where it keeps hashed words.

    Raises:
        BadPredictor: an extractor that this phasewatt does not have, or that needs a package which
            is not installed.
    """
    version, _, rest = extractor.partition("+")
    entities, _, words = rest.partition("+")
    if version != VERSION or words not in ("", WORDS):
        raise BadPredictor(
            f"features {extractor!r} are not known here; expected {DEFAULT} or another set of "
            f"{VERSION}"
        )
    readings = [read(text) for text in texts]
    found = recogniser(entities).find([reading.text for reading in readings])
    values = np.empty((len(texts), len(NAMES)))
    for row, reading in enumerate(readings):
        values[row] = [
            *light.light(reading),
            *paper.five(reading, found.words[row]),
            found.count[row],
        ]
    return Features(extractor, NAMES, values, bags(readings) if words else None)
