"""What a step draws by itself, told from mixtures with GEMMs that steered the clock.

In: :class:`Mixtures`, columns of step time, GEMM time, clock and mean power. Out: the step's own
power at each mixture's clock with its error, NaN where the mixture says too little about the step.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.work import Array

GEMM_RATIOS = (0.0, 0.5, 1.5, 4.0, 10.0)
"""Time of GEMMs over time of the step, in the mixtures of one step; nought is the step alone."""

LONGEST_STEP_S = 0.1
"""Longest step that is steered: a governor that answers within tens of milliseconds would follow a
longer one instead of its mean with the GEMMs (assumed)."""

GIVE_UP = 0.05
"""Relative standard error of a step's power from which on a mixture tells its time only."""


@dataclass(frozen=True)
class Mixtures:
    """Mixtures as columns of shape (n,); GEMM time is nought where a step ran alone.

    Attributes:
        step: which step each mixture belongs to, counted from nought.
        step_time_s, gemm_time_s: device times of one step and of the GEMMs before it.
        sm_mhz: clock that both ran at.
        power_w: mean power of the mixture.
        power_error_w: its standard error.
    """

    step: NDArray[np.int64]
    step_time_s: Array
    gemm_time_s: Array
    sm_mhz: Array
    power_w: Array
    power_error_w: Array


@dataclass(frozen=True)
class StepPowers:
    """Power of each mixture's step alone, at the mixture's clock; columns of shape (n,).

    Attributes:
        power_w: power of the step; NaN where its error is above :data:`GIVE_UP`.
        power_error: its relative standard error, told even where power is not.
        gemm_power_w, gemm_error_w: power of the GEMM at that clock and its standard error.
    """

    power_w: Array
    power_error: Array
    gemm_power_w: Array
    gemm_error_w: Array


def step_powers(mixtures: Mixtures, power_limit_w: float) -> StepPowers:
    """Return the power of the steps alone, by the energy balance of every mixture.

    A mixture of a step (time t, power p) and GEMMs (time g, power q) draws
    ``(t p + g q) / (t + g)``, so that ``p = P + (g / t) (P - q)``. The GEMM's power q at each
    clock is what all mixtures of all steps share: they are fitted together, each step and the GEMM
    as ``P0 + c x V(x)^2`` with one voltage V for all, over a grid of voltages; what they leave
    open of V becomes error of q, and that of p. See docs/steering.md.
    """
    ratio = mixtures.gemm_time_s / mixtures.step_time_s
    error_w = np.hypot(mixtures.power_error_w, FLOOR * mixtures.power_w)
    if not np.any(ratio > 0):
        nothing = np.full_like(ratio, np.nan)
        return StepPowers(
            mixtures.power_w.copy(), error_w / mixtures.power_w, nothing, nothing.copy()
        )
    gemm_w, gemm_error_w, scatter = _gemm_power(mixtures, error_w, power_limit_w)
    power_w = mixtures.power_w + ratio * (mixtures.power_w - gemm_w)
    step_error_w = np.hypot((1 + ratio) * scatter * error_w, ratio * gemm_error_w)
    with np.errstate(divide="ignore", invalid="ignore"):
        power_error = np.where(power_w > 0, step_error_w / power_w, np.inf)
    told = power_error <= GIVE_UP
    return StepPowers(np.where(told, power_w, np.nan), power_error, gemm_w, gemm_error_w)


def gemms_for(ratio: float, step_time_s: float, gemm_time_s: float) -> int:
    """Return how many GEMMs of ``gemm_time_s`` before a step come nearest to ``ratio``; 1 at least.

    Nought for a ratio of nought.
    """
    return max(1, round(ratio * step_time_s / gemm_time_s)) if ratio > 0 else 0


FLOOR = 0.0005
"""Relative scatter of power that no window's own error tells, such as heat that comes and goes.

Assumed, and small: the scatter of the mixtures about their joint fit is found and used."""

STATIC_SHARE = (0.25, 0.15)
"""Mean and standard deviation of static power over the power limit, before anything is measured.

Wide on purpose: it only keeps P0 and c apart where a step was seen in a narrow range of clocks.
Static shares of the public series in docs/steering.md lie between 0.1 and 0.4."""

DYNAMIC_SHARE = (0.5, 1.0)
"""The same of dynamic power c; wide enough to say nothing."""

_KNEES = 9
_SLOPES = np.concatenate([np.arange(0, 2, 0.1), np.arange(2, 6.1, 0.5)])
"""Rise of voltage per relative clock, where voltage is 1 at the lowest clock seen."""

_SCATTER_PRIOR = 3.0
"""Degrees of freedom of the belief that mixtures scatter as their errors say."""


def _gemm_power(
    mixtures: Mixtures, error_w: Array, power_limit_w: float
) -> tuple[Array, Array, float]:
    """Return the GEMM's power at each mixture's clock, its error, and the scatter about the fit.

    Every voltage of the grid gives a linear least-squares fit; they are averaged by likelihood.
    """
    x = mixtures.sm_mhz / mixtures.sm_mhz.max()
    switching = _switching(x)
    rows, prior, prior_target = _equations(mixtures, switching, power_limit_w)
    target = mixtures.power_w / error_w
    weighted = rows / error_w[:, None]
    normal = np.einsum("vni,vnj->vij", weighted, weighted) + np.diag(prior**2)
    right = np.einsum("vni,n->vi", weighted, target) + prior**2 * prior_target
    theta = np.linalg.solve(normal, right[..., None])[..., 0]
    misfit = np.sum((np.einsum("vni,vi->vn", weighted, theta) - target) ** 2, axis=1)
    misfit += np.sum((prior * (theta - prior_target)) ** 2, axis=1)
    steps = int(mixtures.step.max()) + 1
    freedom = max(len(x) - 2 * steps - 4, 0)
    scatter2 = float((misfit.min() + _SCATTER_PRIOR) / (freedom + _SCATTER_PRIOR))
    weight = np.exp(-(misfit - misfit.min()) / (2 * scatter2))
    weight /= weight.sum()
    each_w = theta[:, -2, None] + theta[:, -1, None] * switching
    gemm_w = weight @ each_w
    covariance = np.linalg.inv(normal)[:, -2:, -2:]
    slopes = np.stack([np.ones_like(switching), switching], axis=-1)
    variance = scatter2 * np.einsum("vni,vij,vnj->vn", slopes, covariance, slopes)
    gemm_error_w = np.sqrt(weight @ (variance + (each_w - gemm_w) ** 2))
    return gemm_w, gemm_error_w, scatter2**0.5


def _switching(x: Array) -> Array:
    """Return x V(x)^2 for every voltage of the grid, shape (voltages, n).

    A knee below every clock seen looks like one at the lowest: the grid begins there.
    """
    knees = np.linspace(x.min(), x.max(), _KNEES + 1)[:-1]
    knee, slope = (grid.ravel()[:, None] for grid in np.meshgrid(knees, _SLOPES))
    return np.asarray(x * (1 + slope * np.maximum(x - knee, 0)) ** 2)


def _equations(
    mixtures: Mixtures, switching: Array, power_limit_w: float
) -> tuple[Array, Array, Array]:
    """Return rows (voltages, n, 2 steps + 2), and inverse width and centre of each unknown's prior.

    The unknowns are P0 and c of every step, then of the GEMM.
    """
    count = mixtures.step.size
    share = mixtures.gemm_time_s / (mixtures.step_time_s + mixtures.gemm_time_s)
    unknowns = 2 * (int(mixtures.step.max()) + 1) + 2
    rows = np.zeros((len(switching), count, unknowns))
    at = np.arange(count)
    rows[:, at, 2 * mixtures.step] = 1 - share
    rows[:, at, 2 * mixtures.step + 1] = (1 - share) * switching
    rows[:, :, -2] = share
    rows[:, :, -1] = share * switching
    centre, width = (
        power_limit_w * np.tile([static, dynamic], unknowns // 2)
        for static, dynamic in zip(STATIC_SHARE, DYNAMIC_SHARE, strict=True)
    )
    return rows, 1 / width, centre
