"""Which words a query has, by number: the one set of features that knows what it is about.

In: readings of texts. Out: sparse rows of hashed words, and a linear model of them. A word is
kept as CRC-32 modulo :data:`BUCKETS`; no text is kept.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import scipy
from numpy.typing import NDArray

from model.difficulty.reading import Reading

BUCKETS: Final = 2**16
LEAST_ROWS: Final = 3
"""Words of fewer training rows than this are left out."""

_WEIGHT: Final = 2.0
"""Length of each row, so that a ridge of 2 suits rows of few words and of many."""

_TASK_WEIGHT: Final = 2.0
_DIGITS: Final = 5

Sparse = Any
"""A :class:`scipy.sparse.csr_array`."""


def bags(readings: Sequence[Reading]) -> Sparse:
    """Return which hashed words of two letters or more each text has: 0 or 1, (n, BUCKETS)."""
    columns: list[int] = []
    ends = [0]
    for reading in readings:
        found = {
            zlib.crc32(word.encode()) % BUCKETS for word in set(reading.words) if len(word) > 1
        }
        columns += sorted(found)
        ends.append(len(columns))
    return scipy.sparse.csr_array(
        (np.ones(len(columns)), np.array(columns, dtype=np.int32), np.array(ends)),
        shape=(len(readings), BUCKETS),
    )


@dataclass(frozen=True)
class Vocabulary:
    """The hashed words that training knew, and how rare each was (inverse document frequency)."""

    buckets: tuple[int, ...]
    rarity: tuple[float, ...]

    def weigh(self, words: Sparse) -> Sparse:
        """Return rows of equal length over ``buckets``, rare words weighing more: (n, len)."""
        known = words[:, list(self.buckets)] * np.array(self.rarity)[None, :]
        known = scipy.sparse.csr_array(known)
        length = np.sqrt(np.asarray(known.multiply(known).sum(axis=1)).reshape(-1))
        return scipy.sparse.csr_array(
            scipy.sparse.diags_array(_WEIGHT / np.maximum(length, 1e-9)) @ known
        )


def vocabulary_of(words: Sparse) -> Vocabulary:
    """Learn which words are there often enough, and how rare each is."""
    rows = np.asarray(words.sum(axis=0)).reshape(-1)
    kept = np.flatnonzero(rows >= LEAST_ROWS)
    rarity = np.log((1 + words.shape[0]) / (1 + rows[kept])) + 1
    return Vocabulary(tuple(kept.tolist()), tuple(rarity.tolist()))


def say(beta: NDArray[np.float64], rows: Sparse, tasks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the log-odds of coefficients from :func:`fit_words`, shape (n,)."""
    first = 1 + tasks.shape[1]
    found: NDArray[np.float64] = (
        beta[0] + _TASK_WEIGHT * tasks @ beta[1:first] + rows @ beta[first:]
    )
    return found


def fit_words(
    rows: Sparse, tasks: NDArray[np.float64], label: NDArray[np.float64], penalty: float
) -> NDArray[np.float64]:
    """Return intercept, task coefficients and word coefficients of a ridge logistic regression.

    ``rows`` (n, k) comes from :meth:`Vocabulary.weigh`, ``tasks`` (n, t) is one-hot or empty,
    ``label`` (n,) lies in 0..1. Coefficients are rounded, so that files stay short.
    """
    dense = np.column_stack([np.ones(len(label)), _TASK_WEIGHT * tasks])
    first = dense.shape[1]
    ridge = np.full(first + rows.shape[1], penalty)
    ridge[0] = 1e-6

    def loss(beta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = dense @ beta[:first] + rows @ beta[first:]
        miss = scipy.special.expit(logit) - label
        value = np.logaddexp(0.0, logit).sum() - label @ logit + 0.5 * ridge @ beta**2
        slope = np.concatenate([dense.T @ miss, rows.T @ miss]) + ridge * beta
        return float(value), slope

    found = scipy.optimize.minimize(
        loss, np.zeros(len(ridge)), jac=True, method="L-BFGS-B", options={"maxiter": 200}
    )
    return np.round(found.x, _DIGITS)
