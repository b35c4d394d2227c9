"""Robust nonlinear least squares on relative residuals, with errors that admit what is unknown.

In: a :class:`Problem`: log-ratios as a function of bounded numbers, each row's own error, which
rows belong to one configuration. Out: an :class:`Estimate`: numbers, covariance, row weights.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from model.work import Array

_BIWEIGHT = 4.685
"""Tukey's biweight at this many scales is 95% efficient on normal residuals, and forgets a row
that lies further off: outliers neither pull the fit nor widen its errors."""

_FIRST_SCALE = 0.02
"""Relative residual from which on the first pass counts a row linearly, not squared."""

_PASSES = 3
_STEP = 1e-6
_RANK = 1e-7


@dataclass(frozen=True)
class Problem:
    """What is to be solved.

    Attributes:
        residuals: (numbers (p,)) -> log of predicted over measured, shape (n,).
        jacobian: (numbers (p,)) -> their derivatives, shape (n, p).
        lower, upper: bounds of the numbers, shape (p,).
        error: each row's own relative standard error, 0 where nobody told; shape (n,).
        kind: which rows scatter alike, integers from nought, (n,).
        configuration: which rows repeat one kind of step at several clocks, integers (n,).
        assumed_mean, assumed_sd: what is assumed of each number, (p,); sd inf where nothing is.
    """

    residuals: Callable[[Array], Array]
    jacobian: Callable[[Array], Array]
    lower: Array
    upper: Array
    error: Array
    kind: NDArray[np.int64]
    configuration: NDArray[np.int64]
    assumed_mean: Array
    assumed_sd: Array


@dataclass(frozen=True)
class Estimate:
    """What was found.

    Attributes:
        theta: the numbers, shape (p,).
        covariance: theirs, (p, p); nought for a number that rests on a bound.
        free: which numbers rest on no bound, (p,).
        determined: whether the rows tell all free numbers apart.
        weight: what each row counted, from 0 (an outlier) to 1, (n,).
        sd: each row's relative standard deviation: its own error and the scatter between runs.
        degrees_of_freedom: rows that counted less free numbers, or configurations less one where
            that is fewer; at least 1.
        gain: how much each number falls when a row's residual rises, (p, n).
    """

    theta: Array
    covariance: Array
    free: NDArray[np.bool_]
    determined: bool
    weight: Array
    sd: Array
    degrees_of_freedom: int
    gain: Array


def solve(problem: Problem, starts: Sequence[Array]) -> Estimate:
    """Return the best of the solutions that the ``starts`` lead to.

    A first pass counts large residuals linearly; the next forget outliers by Tukey's biweight, at
    a scale that is each row's own error and the scatter beyond it (from the median residual of its
    kind, so that rows which a form describes worse than others are not taken for outliers).
    """
    first_sd = np.hypot(problem.error, _FIRST_SCALE)
    first = [_minimise(problem, start, first_sd, "soft_l1", 80) for start in starts]
    theta = min(first, key=lambda found: found[1])[0]
    weight = np.ones(problem.error.size)
    sd = weight
    for _ in range(_PASSES):
        sd = _row_sd(problem, theta)
        weight = _biweight(problem.residuals(theta) / sd)
        theta, _ = _minimise(problem, theta, sd / np.sqrt(np.maximum(weight, 1e-12)), "linear", 50)
    return _estimate(problem, theta, weight, sd)


def resolve(problem: Problem, known: Estimate, kept: NDArray[np.bool_]) -> Array:
    """Return the numbers that the rows ``kept`` alone lead to, from ``known`` and its weights."""
    sd = np.where(kept, known.sd / np.sqrt(np.maximum(known.weight, 1e-12)), 1e12)
    return _minimise(problem, known.theta, sd, "linear", 20)[0]


def _minimise(
    problem: Problem, start: Array, sd: Array, loss: Literal["linear", "soft_l1"], most: int
) -> tuple[Array, float]:
    inside = np.clip(start, problem.lower, problem.upper)
    pull = np.diag(1 / problem.assumed_sd)[np.isfinite(problem.assumed_sd)]

    def residuals(theta: Array) -> Array:
        return np.concatenate(
            [problem.residuals(theta) / sd, pull @ (theta - problem.assumed_mean)]
        )

    def jacobian(theta: Array) -> Array:
        return np.concatenate([problem.jacobian(theta) / sd[:, None], pull])

    found = least_squares(
        residuals,
        inside,
        jac=jacobian,
        bounds=(problem.lower, problem.upper),
        x_scale=_scales(problem, inside),
        loss=loss,
        method="dogbox",
        xtol=1e-9,
        ftol=1e-9,
        gtol=1e-9,
        max_nfev=most,
    )
    return np.asarray(found.x, dtype=np.float64), float(found.cost)


def _scales(problem: Problem, theta: Array) -> Array:
    """The change of each number that matters as much as any other's: 1 over its sensitivity."""
    sensitivity = np.linalg.norm(problem.jacobian(theta), axis=0)
    blind = sensitivity <= 1e-12
    return np.asarray(
        np.where(blind, np.maximum(np.abs(theta), 1e-30), 1 / np.where(blind, 1, sensitivity))
    )


def _row_sd(problem: Problem, theta: Array) -> Array:
    """Return each row's own error and, in quadrature, the scatter that explains the residuals."""
    residuals = problem.residuals(theta)
    spare = max(residuals.size - theta.size, 1) / residuals.size
    sd = np.empty(residuals.size)
    for kind in np.unique(problem.kind):
        mine = problem.kind == kind
        sd[mine] = _scattered(residuals[mine] / math.sqrt(spare), problem.error[mine])
    return sd


def _scattered(residuals: Array, error: Array) -> Array:
    def spread(scatter: float) -> float:
        return 1.4826 * float(np.median(np.abs(residuals) / np.hypot(error, scatter)))

    low, high = 1e-9, max(1.4826 * float(np.median(np.abs(residuals))), 2e-9)
    if np.all(error > 0) and spread(low) <= 1:
        return error
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if spread(middle) > 1 else (low, middle)
    return np.asarray(np.hypot(error, high))


def _biweight(standardised: Array) -> Array:
    inside = np.maximum(1 - (standardised / _BIWEIGHT) ** 2, 0)
    return np.asarray(inside**2)


def _estimate(problem: Problem, theta: Array, weight: Array, sd: Array) -> Estimate:
    room = 1e-6 * np.maximum(np.abs(theta), 1e-30)
    free = (theta > problem.lower + room) & (theta < problem.upper - room)
    rows = problem.jacobian(theta)[:, free] * (np.sqrt(weight) / sd)[:, None]
    misses = problem.residuals(theta) * np.sqrt(weight) / sd
    bread, determined = _inverse(rows, problem.assumed_sd[free])
    _, which = np.unique(problem.configuration, return_inverse=True)
    clusters = int(which.max()) + 1
    degrees = max(int(np.sum(weight > 0)) - int(free.sum()), 1)
    within = bread * max(float(misses @ misses) / degrees, 1.0)
    if clusters > free.sum():
        between = _jackknife(rows, misses, bread, which)
        ratio = np.diag(between) / np.maximum(np.diag(within), 1e-300)
        widen = np.sqrt(np.maximum(ratio, 1.0))
        within = within * np.outer(widen, widen)
        degrees = min(degrees, clusters - 1)
    covariance = np.zeros((theta.size, theta.size))
    covariance[np.ix_(free, free)] = within
    gain = np.zeros((theta.size, sd.size))
    gain[free] = bread @ rows.T * (np.sqrt(weight) / sd)
    return Estimate(theta, covariance, free, determined, weight, sd, degrees, gain)


def _inverse(rows: Array, assumed_sd: Array) -> tuple[Array, bool]:
    """Return the inverse of the normal matrix, and whether ``rows`` tell all numbers apart."""
    if rows.shape[1] == 0:
        return np.zeros((0, 0)), True
    pull = np.diag(1 / assumed_sd)[np.isfinite(assumed_sd)]
    scaled = np.concatenate([rows, pull])
    norms = np.linalg.norm(scaled, axis=0)
    norms = np.where(norms > _RANK * norms.max() * np.finfo(float).eps, norms, np.inf)
    unit = scaled / norms
    singular = np.linalg.svd(unit, compute_uv=False)
    determined = bool(unit.shape[0] >= unit.shape[1] and singular[-1] > _RANK * singular[0])
    return np.asarray(np.linalg.pinv(unit.T @ unit) / np.outer(norms, norms)), determined


def _jackknife(rows: Array, misses: Array, bread: Array, which: NDArray[np.int64]) -> Array:
    """Return the covariance that leaving out one configuration at a time shows.

    Steps of one configuration share what the form misses, so that they are not independent. This
    is the cluster-robust estimator known as CR3 (MacKinnon, Nielsen, Webb 2023), whose intervals
    hold with few clusters; each change of the numbers comes from its leverage, without a new fit.
    """
    total = np.zeros_like(bread)
    for cluster in range(int(which.max()) + 1):
        mine = rows[which == cluster]
        left = np.eye(len(mine)) - mine @ bread @ mine.T
        kept, axes = np.linalg.eigh(left)
        # Steps that alone determine a number would change it without bound.
        solved = axes @ ((axes.T @ misses[which == cluster]) / np.maximum(kept, 0.05))
        change = bread @ (mine.T @ solved)
        total += np.outer(change, change)
    clusters = int(which.max()) + 1
    return np.asarray(total * (clusters - 1) / clusters)
