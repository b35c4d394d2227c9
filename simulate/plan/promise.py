"""With which probability a new run keeps its limits: prediction bounds from a few runs.

In: a figure of each of a few independent runs. Out: what the figure of one more run stays below.
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy


def upper_bound(values: Sequence[float], confidence: float) -> float:
    """Return what one more run stays at or below with probability ``confidence``.

    The logarithms of ``values`` are taken for normal: their mean plus
    ``t(n - 1) x s x sqrt(1 + 1/n)``, the one-sided prediction bound (Hahn and Meeker, Statistical
    Intervals, 1991, section 4.8). inf of fewer than two runs, or where one of them is.
    """
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return math.inf
    if max(values) <= 0:
        return 0.0
    logs = np.log(np.maximum(values, np.finfo(float).tiny))
    spread = float(np.std(logs, ddof=1))
    reach = float(scipy.special.stdtrit(logs.size - 1, confidence))
    return math.exp(float(logs.mean()) + reach * spread * math.sqrt(1 + 1 / logs.size))


def each_of(goals: int, confidence: float) -> float:
    """Return the confidence that each of ``goals`` goals needs for all of them at once.

    By Bonferroni's inequality, whatever they have to do with each other.
    """
    return 1 - (1 - confidence) / goals
