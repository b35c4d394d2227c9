"""Unlike the training data: how far a query lies from what the predictor has seen.

In: scaled features. Out: squared Mahalanobis distances and a flag. A query is unlike the training
data where it lies farther out than all but :data:`SHARE` of the training rows, with the conformal
correction of one row; then predictions are abstained from, and the large model or a cascade serves.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHARE = 0.01
_SHRINK = 0.1


@dataclass(frozen=True)
class Novelty:
    """``whitening`` (k, k) turns a scaled row into one of unit covariance; ``limit`` is squared."""

    centre: tuple[float, ...]
    whitening: tuple[tuple[float, ...], ...]
    limit: float

    def distance(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the squared distance of each row from the training rows' centre, shape (n,)."""
        white = (scaled - np.array(self.centre)) @ np.array(self.whitening)
        return np.asarray((white**2).sum(axis=1))

    def unlike(self, scaled: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which rows lie beyond the limit, shape (n,)."""
        return self.distance(scaled) > self.limit


def novelty_of(scaled: NDArray[np.float64], held_out: NDArray[np.bool_]) -> Novelty:
    """Learn centre and covariance on the other rows and the limit on the rows ``held_out``.

    Rows like those held out are flagged in at most :data:`SHARE` of cases (split conformal), or, of
    fewer than 99 held out, as rarely as their number tells.
    """
    learned = scaled[~held_out]
    centre = learned.mean(axis=0)
    covariance = np.cov(learned, rowvar=False) if len(learned) > 1 else np.eye(scaled.shape[1])
    shrunk = (1 - _SHRINK) * covariance + _SHRINK * np.eye(len(centre))
    values, vectors = np.linalg.eigh(shrunk)
    whitening = vectors / np.sqrt(values)
    found = Novelty(tuple(centre.tolist()), tuple(map(tuple, whitening.tolist())), np.inf)
    distances = np.sort(found.distance(scaled[held_out]))
    rank = int(np.ceil((len(distances) + 1) * (1 - SHARE)))
    limit = float(distances[min(rank, len(distances)) - 1])
    return Novelty(found.centre, found.whitening, limit)
