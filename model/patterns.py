"""Scaling patterns: how the quality of a query's answer moves from small models to large ones.

In: outcomes of models from small to large, and the quality that counts as good. Out: one of four
patterns a query, after Table IX of arXiv 2501.08219, which names them and gives no thresholds.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Pattern(StrEnum):
    """How a query fares as models grow."""

    EASY = "Always Easy"
    HELPS = "Scaling Helps"
    HARD = "Always Hard"
    INCONSISTENT = "Inconsistent"


def patterns(quality: ArrayLike, threshold: float) -> NDArray[np.str_]:
    """Return the pattern of each query, shape (n,), as the values of :class:`Pattern`.

    With "good" for a quality of at least ``threshold``: easy is good from every model, hard from
    none; scaling helps where one model is the first that is good and every larger one is too; the
    rest is inconsistent: some model is good and a larger one is not.

    Args:
        quality: outcomes in [0, 1], one column a model, the smallest first, shape (n, models).
        threshold: the least quality that is good.
    """
    good = np.asarray(quality, dtype=np.float64) >= threshold
    rises = np.all(good[:, :-1] <= good[:, 1:], axis=1)
    return np.select(
        [good.all(axis=1), ~good.any(axis=1), rises],
        [Pattern.EASY.value, Pattern.HARD.value, Pattern.HELPS.value],
        Pattern.INCONSISTENT.value,
    )
