"""A mean and how sure it is, from steps that are not independent and from repeats.

In: figures of consecutive steps, means and errors of windows. Out: standard errors, and an
:class:`Estimate` in the unit of the figure.
"""

import math
from dataclasses import dataclass

import numpy as np

from model.work import Array

BATCHES = 10
"""Batches of consecutive steps whose means give the error of a mean of correlated steps."""


@dataclass(frozen=True)
class Estimate:
    """A mean over repeats and its standard error, in the unit of the figure."""

    value: float
    error: float


def batch_errors(columns: Array) -> Array:
    """Return the standard error of the mean of each column of (n, m), from batch means."""
    batches = np.array(
        [b.mean(axis=0) for b in np.array_split(columns, min(BATCHES, len(columns)))]
    )
    return np.asarray(batches.std(axis=0, ddof=1) / np.sqrt(len(batches)))


def pooled(values: list[float], errors: list[float]) -> Estimate:
    """Return mean and error over repeats: the larger of scatter between and error within them."""
    count = len(values)
    between = float(np.std(values, ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    within = math.sqrt(sum(error**2 for error in errors)) / count
    return Estimate(float(np.mean(values)), max(between, within))
