"""What a step draws by itself, told from mixtures with GEMMs that steered the clock.

In: :class:`Mixtures`, columns of step time, GEMM time, clock and mean power. Out: the step's own
power at each mixture's clock with its error, NaN where the mixture says too little about the step.
"""

from collections.abc import Sequence
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

    def rows(self, chosen: NDArray[np.bool_]) -> "Mixtures":
        """Return the mixtures where the boolean array ``chosen`` is true, their steps recounted."""
        _, step = np.unique(self.step[chosen], return_inverse=True)
        others = (self.step_time_s, self.gemm_time_s, self.sm_mhz, self.power_w, self.power_error_w)
        return Mixtures(step.astype(np.int64), *(column[chosen] for column in others))


@dataclass(frozen=True)
class StepPowers:
    """Power of each mixture's step alone, at the mixture's clock; columns of shape (n,).

    Attributes:
        power_w: power of the step; NaN where its error is above :data:`GIVE_UP`.
        power_error: its relative standard error, told even where power is not.
        shared_error: the part of it that comes from the GEMM's power, and that all steps share.
        gemm_power_w, gemm_error_w: power of the GEMM at that clock and its standard error; NaN for
            steps that were never steered.
        voltage_slope: mean and standard deviation of the fall of the GPU's voltage per relative
            clock below the highest, as the mixtures tell it; None where nothing was steered.
    """

    power_w: Array
    power_error: Array
    shared_error: Array
    gemm_power_w: Array
    gemm_error_w: Array
    voltage_slope: tuple[float, float] | None

    def among(self, chosen: NDArray[np.bool_]) -> "StepPowers":
        """Return these rows where the boolean array ``chosen`` is true, and no power elsewhere."""

        def spread(column: Array, nothing: float) -> Array:
            every = np.full(chosen.shape, nothing)
            every[chosen] = column
            return every

        return StepPowers(
            spread(self.power_w, np.nan),
            spread(self.power_error, np.inf),
            spread(self.shared_error, np.inf),
            spread(self.gemm_power_w, np.nan),
            spread(self.gemm_error_w, np.nan),
            self.voltage_slope,
        )

    @staticmethod
    def joined(parts: Sequence["StepPowers"]) -> "StepPowers":
        """Return the rows of several GPUs of one kind, and the mean slope that they tell.

        Each slope weighs by its variance; the GPUs are taken to have the same one.
        """
        slopes = [part.voltage_slope for part in parts if part.voltage_slope is not None]
        weights = [1 / sd**2 for _, sd in slopes]
        told = sum(weight * mean for weight, (mean, _) in zip(weights, slopes, strict=True))
        return StepPowers(
            np.concatenate([part.power_w for part in parts]),
            np.concatenate([part.power_error for part in parts]),
            np.concatenate([part.shared_error for part in parts]),
            np.concatenate([part.gemm_power_w for part in parts]),
            np.concatenate([part.gemm_error_w for part in parts]),
            (told / sum(weights), sum(weights) ** -0.5) if slopes else None,
        )


def step_powers(mixtures: Mixtures, power_limit_w: float) -> StepPowers:
    """Return the power of the steps alone, by the energy balance of every mixture.

    A mixture of a step (time t, power p) and GEMMs (time g, power q) draws
    ``(t p + g q) / (t + g)``, so that ``p = P + (g / t) (P - q)``. The GEMM's power q at each
    clock is what all mixtures of all steps share: they are fitted together, each step and the GEMM
    as ``P0 + c x V(x)^2`` with one voltage V for all, over a grid of voltages; what they leave
    open of V becomes error of q, and that of p. So does how far the GEMM's power differs from one
    mixture to the next: the scatter of the mixtures about their fit, which steps that ran alone
    do not share. See docs/steering.md.
    """
    ratio = mixtures.gemm_time_s / mixtures.step_time_s
    error_w = np.hypot(mixtures.power_error_w, FLOOR * mixtures.power_w)
    if not np.any(ratio > 0):
        nothing = np.full_like(ratio, np.nan)
        error = error_w / mixtures.power_w
        return StepPowers(mixtures.power_w, error, np.zeros_like(ratio), nothing, nothing, None)
    gemm_w, gemm_error_w = np.full_like(ratio, np.nan), np.full_like(ratio, np.nan)
    # Steps that only ever ran alone say nothing of the GEMM.
    steered = np.isin(mixtures.step, mixtures.step[ratio > 0])
    gemm = _gemm_power(mixtures.rows(steered), error_w[steered], power_limit_w)
    gemm_w[steered], gemm_error_w[steered], differs = gemm.power_w, gemm.error_w, gemm.differs
    excess_w = ratio * (mixtures.power_w - np.where(steered, gemm_w, 0.0))
    power_w = mixtures.power_w + excess_w
    relative = 1 / np.where(power_w > 0, power_w, np.nan)
    shared = np.where(steered, ratio * gemm_error_w, 0.0) * relative
    scatter_w = np.where(steered, ratio * differs * gemm_w, 0.0)
    own = np.hypot((1 + ratio) * error_w, scatter_w) * relative
    error = np.hypot(own, shared)
    error, shared = (np.where(np.isnan(each), np.inf, each) for each in (error, shared))
    told_w = np.where(error <= GIVE_UP, power_w, np.nan)
    return StepPowers(told_w, error, shared, gemm_w, gemm_error_w, gemm.voltage_slope)


def gemms_for(ratio: float, step_time_s: float, gemm_time_s: float) -> int:
    """Return how many GEMMs of ``gemm_time_s`` before a step come nearest to ``ratio``; 1 at least.

    Nought for a ratio of nought.
    """
    return max(1, round(ratio * step_time_s / gemm_time_s)) if ratio > 0 else 0


FLOOR = 0.0005
"""Relative scatter of power that no window's own error tells, such as heat that comes and goes.

Assumed, and small: how far GEMMs differ between mixtures is found and used."""

DIFFERENCES = (0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)
"""Relative standard deviations of the GEMM's power about its own curve that are tried.

Runs of GEMMs are short or long, and the clock moves within them: two H100 showed 0.02 and 0.03."""

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


@dataclass(frozen=True)
class _GemmPower:
    """Power of the GEMM at each mixture's clock, its error, and how far mixtures differ from it.

    ``differs`` is the relative standard deviation of the GEMM's power about its own curve.
    """

    power_w: Array
    error_w: Array
    differs: float
    voltage_slope: tuple[float, float]


def _gemm_power(mixtures: Mixtures, error_w: Array, power_limit_w: float) -> _GemmPower:
    """Return what the mixtures tell of the GEMM.

    Every voltage and deviation of the grid gives a linear least-squares fit; the likeliest
    deviation is taken, and its fits are averaged by evidence.
    """
    x = mixtures.sm_mhz / mixtures.sm_mhz.max()
    switching, plausible = _voltages(x)
    rows = _equations(mixtures, switching)
    beliefs = _beliefs(rows.shape[-1], power_limit_w)
    share = mixtures.gemm_time_s / (mixtures.step_time_s + mixtures.gemm_time_s)
    deviation_w = share * mixtures.power_w
    fits = [
        _solve(rows, mixtures.power_w, np.hypot(error_w, differs * deviation_w), beliefs)
        for differs in DIFFERENCES
    ]
    best = max(float(fit.log_evidence.max()) for fit in fits)
    weights = [plausible * np.exp(fit.log_evidence - best) for fit in fits]
    likeliest = int(np.argmax([weight.sum() for weight in weights]))
    fit, weight = fits[likeliest], weights[likeliest] / weights[likeliest].sum()
    each_w = fit.theta[:, -3, None] + fit.theta[:, -2, None] * switching
    gemm_w = weight @ each_w
    covariance = fit.covariance[:, -3:-1, -3:-1]
    slopes = np.stack([np.ones_like(switching), switching], axis=-1)
    variance = np.einsum("vni,vij,vnj->vn", slopes, covariance, slopes)
    gemm_error_w = np.sqrt(weight @ (variance + (each_w - gemm_w) ** 2))
    slopes = _grid(x)[1]
    slope = float(weight @ slopes)
    slope_sd = float(np.sqrt(weight @ (slopes - slope) ** 2))
    return _GemmPower(gemm_w, gemm_error_w, DIFFERENCES[likeliest], (slope, slope_sd))


@dataclass(frozen=True)
class _Fit:
    """The least-squares fit of the unknowns for each voltage of the grid.

    Attributes:
        theta: the unknowns, (voltages, unknowns).
        covariance: theirs, (voltages, unknowns, unknowns).
        log_evidence: the log of how likely each voltage makes what was measured, up to a constant
            that is the same for all errors, (voltages,).
    """

    theta: Array
    covariance: Array
    log_evidence: Array


def _solve(rows: Array, power_w: Array, error_w: Array, beliefs: tuple[Array, Array]) -> _Fit:
    believed, belief = beliefs
    weighted, target = rows / error_w[:, None], power_w / error_w
    across = weighted.transpose(0, 2, 1)
    normal = across @ weighted + believed.T @ believed
    right = across @ target + believed.T @ belief
    covariance = np.asarray(np.linalg.inv(normal), dtype=np.float64)
    theta = np.einsum("vij,vj->vi", covariance, right)
    misfit = np.sum(((weighted @ theta[:, :, None])[:, :, 0] - target) ** 2, axis=1)
    misfit += np.sum((theta @ believed.T - belief) ** 2, axis=1)
    _, log_volume = np.linalg.slogdet(covariance)
    log_evidence = (log_volume - misfit) / 2 - np.sum(np.log(error_w))
    return _Fit(theta, covariance, log_evidence)


def _voltages(x: Array) -> tuple[Array, Array]:
    """Return x V(x)^2 for every voltage of the grid, (voltages, n), and how plausible each is.

    V is 1 at the highest clock and falls by the slope until the knee, below which it is level. A
    knee below every clock seen looks like one at the lowest: the grid begins there.
    """
    knee, slope = (each[:, None] for each in _grid(x))
    plausible = np.where(knee[:, 0] > x.min(), (1 - KNEE_BELOW) / (_KNEES - 1), KNEE_BELOW)
    voltage = 1 - slope * (1 - np.maximum(x, knee))
    return np.asarray(x * voltage**2), plausible


def _grid(x: Array) -> tuple[Array, Array]:
    """Return knee and slope of every voltage of the grid, each (voltages,)."""
    knees = np.linspace(x.min(), x.max(), _KNEES + 1)[:-1]
    knee, slope = np.meshgrid(knees, _SLOPES)
    return knee.ravel(), slope.ravel()


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
