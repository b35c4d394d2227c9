"""Percentiles of latencies.

In: seconds, one a request or one a run of equal gaps. Out: mean, p50, p95 and p99.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.work import Array


@dataclass(frozen=True)
class Percentiles:
    """Mean and percentiles of a latency in seconds; None where no query has it."""

    mean_s: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None


NONE = Percentiles(None, None, None, None)


def percentiles(values_s: Array) -> Percentiles:
    """Return mean, p50, p95 and p99 of the values that are not NaN."""
    known = values_s[~np.isnan(values_s)]
    if known.size == 0:
        return NONE
    p50, p95, p99 = np.percentile(known, [50, 95, 99]).tolist()
    return Percentiles(float(known.mean()), p50, p95, p99)


def weighted_percentiles(values_s: Array, weights: NDArray[np.int64]) -> Percentiles:
    """Return what :func:`percentiles` gives for each value repeated ``weights`` times.

    Both of shape (k,); weights are 1 or more.
    """
    if values_s.size == 0:
        return NONE
    order = np.argsort(values_s)
    values_s, last = values_s[order], np.cumsum(weights[order])
    places = np.array([0.5, 0.95, 0.99]) * (last[-1] - 1)
    below = np.floor(places)
    low, high = (
        values_s[np.minimum(np.searchsorted(last, at, "right"), last.size - 1)]
        for at in (below, below + 1)
    )
    p50, p95, p99 = (low + (places - below) * (high - low)).tolist()
    return Percentiles(float(np.average(values_s, weights=weights[order])), p50, p95, p99)
