"""The paper's five features and its rule (arXiv 2501.08219, sections V-B and V-F).

In: a reading, and how many of its words lie in named entities. Out: one number per name in
:data:`NAMES`. What the paper leaves open is chosen so:

- tokens are lower-case words and numbers; entity density counts the words inside entities, which
  comes nearer to its Table III than counting entities does;
- the complexity score is the plain mean of four parts: token entropy over 8 bits, the ratio of
  unique tokens, entity density, and words per sentence over 40, each at most 1;
- the question count of the causal score is the number of question marks, at least 1.
"""

import math
from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.difficulty import lexicon
from model.difficulty.reading import Reading

NAMES: Final = (
    "complexity_score",
    "reasoning_complexity",
    "entity_density",
    "token_entropy",
    "causal_question_score",
)

ENTROPY_CEILING_BITS: Final = 8.0
SENTENCE_CEILING_WORDS: Final = 40.0

RULE_ENTITY_DENSITY: Final = 0.20
RULE_CAUSAL_SCORE: Final = 5.0
"""Easy below both: 0.20, and 0.05 of 1 (here in %), section V-F."""


def five(reading: Reading, entity_words: float) -> list[float]:
    """Return the five features in the order of :data:`NAMES`.

    Scores and densities lie in 0..1, the entropy is in bits, the causal score in %.
    """
    words = reading.words
    total = max(len(words), 1)
    counts = Counter(words)
    entropy = -sum(n / total * math.log2(n / total) for n in counts.values())
    density = min(entity_words / total, 1.0)
    parts = (
        min(entropy / ENTROPY_CEILING_BITS, 1.0),
        len(counts) / total,
        density,
        min(len(reading.stem_words) / reading.sentences / SENTENCE_CEILING_WORDS, 1.0),
    )
    causal = sum(counts[word] for word in lexicon.CAUSAL_QUESTION)
    return [
        sum(parts) / len(parts),
        sum(counts[word] for word in lexicon.REASONING) / total,
        density,
        entropy + 0.0,
        100.0 * min(causal / max(reading.stem.count("?"), 1), 1.0),
    ]


def easy(
    entity_density: NDArray[np.float64], causal_question_score: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which queries the paper's rule calls easy; the causal score is in %."""
    return (entity_density < RULE_ENTITY_DENSITY) & (causal_question_score < RULE_CAUSAL_SCORE)
