"""Calibrations that reach below their measured clocks, by the shapes that public GPUs show.

In: a calibration. Out: the same with wider clock ranges, whose curves say how they go on.
"""

from dataclasses import replace

from model.calibration import Calibration
from model.clock_shape import ShapePrior, shipped_prior
from model.curves import Curves
from model.extension import Extension

LOWEST_SHARE = 0.35
"""How far down clocks may be chosen, as a share of the highest: to where the public tables of five
kinds of GPU reach, but for one that ends at 0.36."""


def beyond_measured(calibration: Calibration, prior: ShapePrior | None = None) -> Calibration:
    """Return ``calibration`` with curves that reach down to :data:`LOWEST_SHARE`."""
    known = shipped_prior() if prior is None else prior
    curves = tuple(_down(c, LOWEST_SHARE * c.time.reference_mhz, known) for c in calibration.curves)
    return replace(calibration, curves=curves)


def reaching(curves: Curves, sm_mhz: float, prior: ShapePrior | None = None) -> Curves:
    """Return ``curves`` with a clock range that holds ``sm_mhz``, as high or low as it may be.

    Above the measured clocks the forms themselves go on.
    """
    known = shipped_prior() if prior is None else prior
    low, high = curves.domain.sm_mhz
    wide = replace(curves, domain=replace(curves.domain, sm_mhz=(low, max(high, sm_mhz))))
    return _down(wide, sm_mhz, known)


def is_transferred(curves: Curves, sm_mhz: float) -> bool:
    """Return whether a clock lies below the measured ones of ``curves``, but for rounding."""
    return sm_mhz < curves.measured_mhz[0] * (1 - _ROUNDING)


_ROUNDING = 1e-9


def _down(curves: Curves, to_mhz: float, prior: ShapePrior) -> Curves:
    low, high = curves.domain.sm_mhz
    if to_mhz >= low:
        return curves
    below = curves.below or Extension.of(low, prior)
    return replace(curves, domain=replace(curves.domain, sm_mhz=(to_mhz, high)), below=below)
