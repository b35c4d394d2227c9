"""Conformal intervals: how far the outcome of one query may lie from its prediction.

In: predictions on held-out folds and what came true. Out: for any prediction a half-width that
holds the stated share of outcomes, within each band of predictions (Mondrian), whatever the model
is, as long as queries are exchangeable with those it was calibrated on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phasewatt.errors import BadPredictor

COVERAGES = (0.8, 0.9, 0.95)
_BANDS = 8
_LEAST_IN_BAND = 40


@dataclass(frozen=True)
class Conformal:
    """``edges`` part bands of predictions; ``widths[c][b]``: half-width at coverage c, band b."""

    edges: tuple[float, ...]
    widths: tuple[tuple[float, ...], ...]

    def half_width(self, predicted: NDArray[np.float64], coverage: float) -> NDArray[np.float64]:
        """Return the half-width of the interval around each prediction, shape (n,).

        Raises:
            BadPredictor: a coverage other than :data:`COVERAGES`.
        """
        if coverage not in COVERAGES:
            raise BadPredictor(
                f"intervals are calibrated for coverages "
                f"{', '.join(map(str, COVERAGES))}; found {coverage}"
            )
        band = np.searchsorted(np.array(self.edges), predicted, side="right")
        return np.array(self.widths[COVERAGES.index(coverage)])[band]


def conformal_of(predicted: NDArray[np.float64], outcome: NDArray[np.float64]) -> Conformal:
    """Calibrate half-widths on held-out predictions and their outcomes, both of shape (n,)."""
    bands = int(np.clip(len(predicted) // _LEAST_IN_BAND, 1, _BANDS))
    edges = np.unique(np.quantile(predicted, np.arange(1, bands) / bands))
    band = np.searchsorted(edges, predicted, side="right")
    error = np.abs(outcome - predicted)
    widths = [
        tuple(_quantile(error[band == b], coverage) for b in range(len(edges) + 1))
        for coverage in COVERAGES
    ]
    return Conformal(tuple(edges.tolist()), tuple(widths))


def _quantile(errors: NDArray[np.float64], coverage: float) -> float:
    """Return the ceil((n + 1) coverage)-th smallest error; beyond any where n is small."""
    rank = int(np.ceil((len(errors) + 1) * coverage))
    return float(np.sort(errors)[rank - 1]) if rank <= len(errors) else 2.0
