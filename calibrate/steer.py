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
        power_w: mean power of the mixture, of all mixtures at one temperature.
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
        shared_error: the part of it that comes from the GEMM's power, and that all steps share.
        gemm_power_w, gemm_error_w: power of the GEMM at that clock and its standard error.
    """

    power_w: Array
    power_error: Array
    shared_error: Array
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
        error = error_w / mixtures.power_w
        return StepPowers(mixtures.power_w, error, np.zeros_like(ratio), nothing, nothing)
    gemm_w, gemm_error_w, scatter = _gemm_power(mixtures, error_w, power_limit_w)
    power_w = mixtures.power_w + ratio * (mixtures.power_w - gemm_w)
    relative = 1 / np.where(power_w > 0, power_w, np.nan)
    shared = ratio * gemm_error_w * relative
    error = np.hypot((1 + ratio) * scatter * error_w * relative, shared)
    error, shared = (np.where(np.isnan(each), np.inf, each) for each in (error, shared))
    told_w = np.where(error <= GIVE_UP, power_w, np.nan)
    return StepPowers(told_w, error, shared, gemm_w, gemm_error_w)


def gemms_for(ratio: float, step_time_s: float, gemm_time_s: float) -> int:
    """Return how many GEMMs of ``gemm_time_s`` before a step come nearest to ``ratio``; 1 at least.

    Nought for a ratio of nought.
    """
    return max(1, round(ratio * step_time_s / gemm_time_s)) if ratio > 0 else 0


FLOOR = 0.0005
"""Relative scatter of power that no window's own error tells, such as heat that comes and goes.

Assumed, and small: the scatter of the mixtures about their joint fit is found and used."""

STATIC_SHARE = (0.25, 0.15)
"""Mean and standard deviation, over the power limit, of what static power a board may have.

Wide: idle boards draw 0.1 and the public series of docs/steering.md have 0.33 to 0.41."""

STATIC_SPREAD = 0.10
"""Standard deviation, over the power limit, of one step's static power about the board's.

Static power is mostly the board's and less the step's: the same series spread by 0.04. This is what
tells P0 from c where a step was seen in a narrow range of clocks."""

DYNAMIC_SHARE = (0.7, 0.7)
"""Mean and standard deviation of dynamic power c at the highest clock over the limit.

A GEMM that no limit held would draw about twice the limit there, a decode step half of it."""

KNEE_BELOW = 0.5
"""Chance that the voltage knee lies below the clocks to which load steers, 0.8 of the highest.

Published knees: A100 0.75, RTX 5090 0.63 to 0.81, RTX 3090 0.82 to 0.89, H100 0.44 to 0.58."""

_KNEES = 9
_SLOPES = np.arange(0.0, 2.51, 0.05)
"""Fall of voltage per relative clock below the highest, where voltage is 1.

Published: A100 1.24, RTX 3090 about 1.5, H100 0.5 to 1."""

_SCATTER_PRIOR = 3.0
"""Degrees of freedom of the belief that mixtures scatter as their errors say."""


def _gemm_power(
    mixtures: Mixtures, error_w: Array, power_limit_w: float
) -> tuple[Array, Array, float]:
    """Return the GEMM's power at each mixture's clock, its error, and the scatter about the fit.

    Every voltage of the grid gives a linear least-squares fit; they are averaged by evidence.
    """
    x = mixtures.sm_mhz / mixtures.sm_mhz.max()
    switching, plausible = _voltages(x)
    rows = _equations(mixtures, switching)
    beliefs = _beliefs(rows.shape[-1], power_limit_w)
    # Once to see how far mixtures scatter about the fit, once with that scatter as their error.
    scatter = _solve(rows, mixtures.power_w, error_w, beliefs).scatter(mixtures)
    fit = _solve(rows, mixtures.power_w, scatter * error_w, beliefs)
    evidence = fit.log_evidence
    weight = plausible * np.exp(evidence - evidence.max())
    weight /= weight.sum()
    each_w = fit.theta[:, -3, None] + fit.theta[:, -2, None] * switching
    gemm_w = weight @ each_w
    covariance = fit.covariance[:, -3:-1, -3:-1]
    slopes = np.stack([np.ones_like(switching), switching], axis=-1)
    variance = np.einsum("vni,vij,vnj->vn", slopes, covariance, slopes)
    gemm_error_w = np.sqrt(weight @ (variance + (each_w - gemm_w) ** 2))
    return gemm_w, gemm_error_w, scatter


@dataclass(frozen=True)
class _Fit:
    """The least-squares fit of the unknowns for each voltage of the grid.

    Attributes:
        theta: the unknowns, (voltages, unknowns).
        covariance: theirs, (voltages, unknowns, unknowns).
        misfit: sum of squared residuals over errors, beliefs included, (voltages,).
        data_misfit: the same of the mixtures alone.
    """

    theta: Array
    covariance: Array
    misfit: Array
    data_misfit: Array

    @property
    def log_evidence(self) -> Array:
        """The log of how likely each voltage makes what was measured, up to a constant."""
        _, log_volume = np.linalg.slogdet(self.covariance)
        return np.asarray((log_volume - self.misfit) / 2)

    def scatter(self, mixtures: Mixtures) -> float:
        """Return how many times their errors the mixtures scatter about the best fit."""
        freedom = max(mixtures.step.size - 2 * (int(mixtures.step.max()) + 1) - 4, 0)
        seen = float(self.data_misfit[np.argmin(self.misfit)])
        return float(np.sqrt((seen + _SCATTER_PRIOR) / (freedom + _SCATTER_PRIOR)))


def _solve(rows: Array, power_w: Array, error_w: Array, beliefs: tuple[Array, Array]) -> _Fit:
    believed, belief = beliefs
    weighted, target = rows / error_w[:, None], power_w / error_w
    normal = np.einsum("vni,vnj->vij", weighted, weighted) + believed.T @ believed
    right = np.einsum("vni,n->vi", weighted, target) + believed.T @ belief
    covariance = np.linalg.inv(normal)
    theta = np.einsum("vij,vj->vi", covariance, right)
    data_misfit = np.sum((np.einsum("vni,vi->vn", weighted, theta) - target) ** 2, axis=1)
    misfit = data_misfit + np.sum((theta @ believed.T - belief) ** 2, axis=1)
    return _Fit(theta, covariance, misfit, data_misfit)


def _voltages(x: Array) -> tuple[Array, Array]:
    """Return x V(x)^2 for every voltage of the grid, (voltages, n), and how plausible each is.

    V is 1 at the highest clock and falls by the slope until the knee, below which it is level. A
    knee below every clock seen looks like one at the lowest: the grid begins there.
    """
    knees = np.linspace(x.min(), x.max(), _KNEES + 1)[:-1]
    knee, slope = (grid.ravel()[:, None] for grid in np.meshgrid(knees, _SLOPES))
    plausible = np.where(knee[:, 0] > knees[0], (1 - KNEE_BELOW) / (_KNEES - 1), KNEE_BELOW)
    voltage = 1 - slope * (1 - np.maximum(x, knee))
    return np.asarray(x * voltage**2), plausible


def _equations(mixtures: Mixtures, switching: Array) -> Array:
    """Return what each unknown adds to each mixture's power, shape (voltages, n, unknowns).

    The unknowns are P0 and c of every step, then of the GEMM, and last the board's static power.
    """
    count, steps = mixtures.step.size, int(mixtures.step.max()) + 1
    share = mixtures.gemm_time_s / (mixtures.step_time_s + mixtures.gemm_time_s)
    rows = np.zeros((len(switching), count, 2 * steps + 3))
    at = np.arange(count)
    rows[:, at, 2 * mixtures.step] = 1 - share
    rows[:, at, 2 * mixtures.step + 1] = (1 - share) * switching
    rows[:, :, -3] = share
    rows[:, :, -2] = share * switching
    return rows


def _beliefs(unknowns: int, power_limit_w: float) -> tuple[Array, Array]:
    """Return what is believed of the unknowns before any measurement, as weighted equations."""
    static, dynamic = np.arange(0, unknowns - 1, 2), np.arange(1, unknowns - 1, 2)
    rows, targets = np.zeros((unknowns, unknowns)), np.zeros(unknowns)
    rows[static, static] = 1 / (STATIC_SPREAD * power_limit_w)
    rows[static, -1] = -1 / (STATIC_SPREAD * power_limit_w)
    for index, (centre, width) in ((dynamic, DYNAMIC_SHARE), (-1, STATIC_SHARE)):
        rows[index, index] = 1 / (width * power_limit_w)
        targets[index] = centre / width
    return rows, targets
