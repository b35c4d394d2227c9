"""How much more a board draws for being warm, so that every figure can be told at one temperature.

In: the windows of measured points. Out: leakage in W per kelvin with its error, and powers as they
would be at the campaign's mean temperature. Otherwise what heat does would be read as the clock's
doing, since loads at high clocks are also the warm ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibrate.measure import Measurement
from model.work import Array

LEAKAGE_SHARE = (3e-4, 3e-4)
"""Leakage per kelvin over the power limit before anything is measured: mean and standard deviation.

0.2 W/K of 700 W (assumed); what the windows tell outweighs it."""

CAPPED_SHARE = 0.02
"""Share of its windows under the power limit from which on a point tells nothing of leakage: there
the clock gives way, and power does not."""


@dataclass(frozen=True)
class Leakage:
    """Power that a kelvin adds in W/K, its standard error, and the temperature to tell power at."""

    w_per_k: float
    error_w_per_k: float
    reference_c: float

    def at_reference(
        self, power_w: Array, error_w: Array, temperature_c: Array
    ) -> tuple[Array, Array]:
        """Return powers as they would be at ``reference_c``, and their errors; all (n,), in W."""
        warmer_k = temperature_c - self.reference_c
        cooled_w = power_w - self.w_per_k * warmer_k
        return cooled_w, np.hypot(error_w, self.error_w_per_k * warmer_k)


def leakage(found: Sequence[Measurement], power_limit_w: float) -> Leakage:
    """Return the leakage that the windows of each point tell, which differ in temperature alone."""
    mean, sd = (share * power_limit_w for share in LEAKAGE_SHARE)
    precision, pull = sd**-2, mean * sd**-2
    for each in found:
        if each.throttle_shares.get("power cap", 0.0) > CAPPED_SHARE or len(each.windows) < 2:
            continue
        power_w = np.array([window.power_w for window in each.windows])
        error_w = np.array([window.power_error_w for window in each.windows])
        # Steps that the host scatters draw more where they come faster, and warm the board by it.
        paces = np.array([window.time_s for window in each.windows])
        error_w = np.hypot(error_w, power_w * float(np.std(paces) / np.mean(paces)))
        warmth_k = np.array([window.temperature_c for window in each.windows])
        weight = error_w**-2
        warmth_k = warmth_k - np.average(warmth_k, weights=weight)
        precision += float(np.sum(weight * warmth_k**2))
        pull += float(np.sum(weight * warmth_k * power_w))
    reference_c = float(np.mean([each.temperature_c for each in found]))
    return Leakage(pull / precision, precision**-0.5, reference_c)
