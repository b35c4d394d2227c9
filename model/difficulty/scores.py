"""How good a ranking or a probability is: AUC, average precision, Brier skill, calibration error.

In: scores and outcomes of queries. Out: numbers, and bootstrap intervals over queries. Ties count
half; all are weighted by how often a query was drawn.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

BINS = 10
DRAWS = 400


def auc(score: NDArray[np.float64], label: NDArray[np.bool_]) -> float:
    """Return P(score of a positive > score of a negative), ties half; NaN without both kinds."""
    positives = int(label.sum())
    negatives = len(label) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2
    total = float(rank[inverse.reshape(-1)][label].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)


def average_precision(score: NDArray[np.float64], label: NDArray[np.bool_]) -> float:
    """Return the mean precision over recall, by distinct scores; NaN without positives."""
    if not label.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    sorted_score, hits = score[order], np.cumsum(label[order])
    last = np.append(np.flatnonzero(np.diff(sorted_score)), len(score) - 1)
    precision = hits[last] / (last + 1)
    recall = np.diff(hits[last], prepend=0) / hits[-1]
    return float(precision @ recall)


def brier_skill(chance: NDArray[np.float64], outcome: NDArray[np.float64]) -> float:
    """Return 1 - squared error / squared error of always saying the mean outcome."""
    return float(1 - np.mean((chance - outcome) ** 2) / np.mean((outcome.mean() - outcome) ** 2))


def calibration_error(chance: NDArray[np.float64], outcome: NDArray[np.float64]) -> float:
    """Return the mean gap between chance and outcome over ten bins of equally many queries."""
    order = np.argsort(chance, kind="stable")
    gaps = [
        len(part) / len(chance) * abs(chance[part].mean() - outcome[part].mean())
        for part in np.array_split(order, BINS)
        if len(part)
    ]
    return float(sum(gaps))


def interval(
    n: int,
    statistic: Callable[[NDArray[np.int_]], float],
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> tuple[float, float]:
    """Return the 95% percentile bootstrap interval of ``statistic``, which is given drawn rows.

    To compare two methods, let ``statistic`` return their difference on the same rows: that is the
    paired interval.
    """
    found = [statistic(rng.integers(0, n, n)) for _ in range(draws)]
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)
