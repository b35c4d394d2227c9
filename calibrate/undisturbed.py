"""What a step takes and draws while nothing disturbs the host that launches it.

In: times of steps, or of windows of them, and what the board draws with nothing to do. Out: which
of them nothing disturbed, and powers without the waiting of the others. Where the host launches
every kernel, whatever shares its core makes the GPU wait: that is neither the step's nor the GPU's.
"""

import numpy as np
from numpy.typing import NDArray

from model.work import Array

QUICK = 0.1
"""Share of the steps that are quicker than the time from which disturbance is told.

On virtual machines with an H100 or H200 (November 2026) eager steps came in two kinds, one half as
long again as the other, in spells of tenths of a second to seconds. The thread's CPU time was its
wall time: it was never put aside, its core was slow, as where something else runs on the sibling.
Undisturbed times move little from window to window where means do (`calibrate check --readings`).
"""

BAND = 0.1
"""Steps that take longer than the quick ones by more than this share were disturbed.

Clocks that a power limit moves scatter steps by less."""

WAITING_ERROR_W = 15.0
"""Standard error of what a board draws while it waits for its host, told by its idle power.

Three boards drew 122 to 140 W while they waited and 120 to 128 W idle (docs/accuracy.md)."""


def undisturbed(time_s: Array) -> NDArray[np.bool_]:
    """Return which of the steps or windows of ``time_s``, shape (n,), nothing disturbed."""
    return np.asarray(time_s <= (1 + BAND) * np.quantile(time_s, QUICK))


def without_waiting(
    time_s: Array, undisturbed_s: Array, power_w: Array, idle_w: float
) -> tuple[Array, Array]:
    """Return the power of undisturbed steps and its error by ``idle_w``, each (n,), in W.

    ``power_w`` was drawn while steps took ``time_s`` on average, ``undisturbed_s`` of it their own:
    the rest of the time the board waited as if it had nothing to do.
    """
    longer = time_s / undisturbed_s
    waited = np.maximum(longer - 1, 0.0)
    return longer * power_w - (longer - 1) * idle_w, waited * WAITING_ERROR_W
