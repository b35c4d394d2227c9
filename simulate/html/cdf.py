"""Distributions of a million values, drawn through a few hundred of them.

In: values. Out: some of them in order, and the share of all that is no larger; and by how much the
line through them can be off.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.work import Array


@dataclass(frozen=True)
class Cdf:
    """Points of a cumulative distribution: ``share`` of all values is at most ``value``.

    A line through the points is at no value further than ``off`` from the share of all ``count``.
    """

    value: Array
    share: Array
    count: int
    off: float


def thinned(values: Array, most: int) -> Cdf:
    """Return the distribution of ``values``, NaN left out, at ``most`` of them or fewer.

    Those at both ends are kept closer together than those between, as percentiles near 100% are
    what people read off.
    """
    ordered = np.sort(values[~np.isnan(values)])
    count = ordered.size
    if count == 0:
        return Cdf(ordered, ordered, 0, 0.0)
    rank = _ranks(count, most)
    share = (rank + 1) / count
    gaps = np.diff(np.append(0, rank + 1))
    return Cdf(ordered[rank], share, count, float(gaps.max() / count))


def _ranks(count: int, most: int) -> NDArray[np.int64]:
    """Return ranks from 0 to ``count`` - 1, each once, ascending, the first and last included."""
    if count <= most:
        return np.arange(count)
    even = np.linspace(0, count - 1, most // 2)
    from_end = np.geomspace(1, count, most // 4) - 1
    ranks = np.concatenate([even, from_end, count - 1 - from_end])
    return np.unique(np.rint(ranks).astype(np.int64))
