"""Residual diagnostics of a fit: do the residuals look like noise?

In: relative residuals in order of the clock. Out: :class:`model.curves.Diagnostics`.
"""

import numpy as np

from model.fitted import Diagnostics
from model.work import Array

_FEWEST_POINTS = 8


def diagnose(residuals: Array, clock: Array) -> Diagnostics:
    """Return tests for serial correlation, normality and constant variance of ``residuals``.

    Args:
        residuals: log of predicted over measured, shape (n,).
        clock: relative clock of each point, shape (n,).

    Residuals that are all zero, or fewer than eight, leave the tests undefined (None).
    """
    # A second that what ends before it fits anything need not wait for.
    from statsmodels.stats.diagnostic import het_breuschpagan
    from statsmodels.stats.stattools import durbin_watson, jarque_bera

    order = np.argsort(clock, kind="stable")
    ordered = residuals[order]
    if ordered.size < _FEWEST_POINTS or not np.any(np.abs(ordered) > 1e-12):
        return Diagnostics(None, None, None)
    design = np.column_stack([np.ones(ordered.size), clock[order]])
    return Diagnostics(
        durbin_watson=_rounded(float(durbin_watson(ordered))),
        normality_p=_rounded(float(jarque_bera(ordered)[1])),
        constant_variance_p=_rounded(float(het_breuschpagan(ordered, design)[1])),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
