"""Which prices suit a pair of curves: fast ones, or those of the curves themselves.

In: the curves of both phases. Out: what prices their steps.
"""

from model import affine
from model.curves import Curves
from model.gpu import Gpu
from model.mixed import mixed_curves
from model.pricing import CurvePrices, StepPrices


def prices_of(
    prefill: Curves, decode: Curves, gpu: Gpu, cap_w: float | None, mixes: bool
) -> StepPrices:
    """Return prices of these curves; with ``mixes``, of mixed steps too.

    Below the measured clocks a time is no sum of parts that are affine in what a step counts, so
    curves that reach there are asked step by step.

    Raises:
        BadCalibration: the curves cannot price mixed steps, and steps may mix.
    """
    if prefill.below is None and decode.below is None:
        return affine.prices_of(prefill, decode, gpu, cap_w, mixes)
    mixed = mixed_curves(prefill, decode) if mixes else None
    return CurvePrices(prefill, decode, gpu, cap_w, mixed)
