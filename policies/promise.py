"""A threshold that keeps a promise about quality, chosen on a calibration split.

In: outcomes of a small and a large model and a score for each calibration query. Out: the lowest
share sent to the large model for which the promise is proven at the stated confidence.

Learn then test (Angelopoulos et al., arXiv 2110.01052) with fixed-sequence testing, from everything
to the large model downwards; each hypothesis "the promise is broken here" is tested by a betting
martingale (Waudby-Smith and Ramdas, arXiv 2010.09686, section 4), which is valid for any bounded
outcomes at any number of queries.
"""

import numpy as np
from numpy.typing import NDArray

from model.work import Array

LEVELS = 101
"""Shares sent to the large model that are tried: 0%, 1% ... 100%, as quantiles of the score."""

_BOLDNESS = 0.75
"""Largest part of what the wealth can bear that is bet; Waudby-Smith and Ramdas take 1/2 or 3/4."""


def learned_threshold(
    score: Array, small: Array, large: Array, min_quality: float, confidence: float
) -> float:
    """Return the highest score up to which the small model's answer may stand.

    The promise is that the mean quality of the mixture (large where score > threshold) is at least
    ``min_quality`` times the large model's mean. With probability ``confidence`` over calibration
    queries drawn from the same population, in random order, it holds there. -inf, everything to
    the large model, needs no proof; a score of inf is always the large model's.

    Args:
        score: what the threshold cuts, higher for the large model, shape (n,).
        small: quality of the small model in [0, 1], shape (n,).
        large: quality of the large model in [0, 1], shape (n,).
        min_quality: share of the large model's mean quality that is promised, in (0, 1].
        confidence: with which the promise holds, in (0, 1).
    """
    chosen = -np.inf
    if score.size == 0:
        return chosen
    shares = np.linspace(0, 1, LEVELS)
    levels = np.unique(np.quantile(score, shares, method="lower"))
    for threshold in levels[np.isfinite(levels)]:
        kept = np.where(score > threshold, large, small)
        if not exceeds_zero(kept - min_quality * large, -min_quality, 1.0, 1 - confidence):
            break
        chosen = float(threshold)
    return chosen


def exceeds_zero(values: Array, low: float, high: float, alpha: float) -> bool:
    """Return whether the mean of the population of ``values`` is proven above 0 at level ``alpha``.

    A gambler bets that each value, in [low, high] with low <= 0 <= high, exceeds 0, staking a part
    of the wealth that depends on earlier values only. Were the mean 0 or less, wealth would exceed
    1 / alpha ever with probability at most alpha (Ville's inequality).

    Args:
        values: in the order in which they are bet on, shape (n,).
        low: the least possible value; where that is 0 or more there is nothing to prove.
        high: the greatest possible value.
        alpha: probability of a wrong yes.
    """
    if values.size == 0 or low >= 0:
        return values.size > 0
    x = (values - low) / (high - low)
    mean_at_most = -low / (high - low)
    stake = _stakes(x, alpha)
    stake = np.minimum(stake, _BOLDNESS / mean_at_most)
    log_wealth = np.cumsum(np.log1p(stake * (x - mean_at_most)))
    return bool(log_wealth.max() >= np.log(1 / alpha))


def split(queries: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a random ``share`` of the query numbers, in random order, and the rest."""
    order = np.random.default_rng([seed, queries]).permutation(queries)
    cut = round(share * queries)
    return order[:cut], order[cut:]


def _stakes(x: Array, alpha: float) -> Array:
    """Return the predictable plug-in stakes: each depends on the values before it alone, (n,)."""
    n = x.size
    count = np.arange(1, n + 1)
    means = (0.5 + np.cumsum(x)) / (count + 1)
    spread = (0.25 + np.cumsum((x - means) ** 2)) / (count + 1)
    before = np.concatenate([[0.25], spread[:-1]])
    return np.asarray(np.sqrt(2 * np.log(1 / alpha) / (n * before)))
