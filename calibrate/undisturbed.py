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

On virtual machines with an H100 (November 2026) eager steps came in two kinds, 1.6 to 1.8 times as
long as each other, while their thread's CPU time was their wall time: something else ran on the
sibling of their core. Spells lasted 0.05 to 2 s; the quick tenth moved by 2% from window to window
where means moved by 40%."""

BAND = 0.1
"""Steps that take longer than the quick ones by more than this share were disturbed.

Clocks that a power limit moves scatter steps by less."""

WAITING_ERROR_W = 10.0
"""Standard error of what a board draws while it waits for its host, told by its idle power.

Between two windows of a point on two H100 and two H200 the energy of a step grew by 124 to 147 W
times the time that it was longer; idle, with a model loaded, the same boards drew 121 to 133 W."""


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
