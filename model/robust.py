"""Robust nonlinear least squares on relative residuals, with errors that admit what is unknown.

In: a :class:`Problem`: log-ratios as a function of bounded numbers, each row's own error, which
rows belong to one configuration. Out: an :class:`Estimate`: numbers, covariance, row weights.
"""

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
        configuration: which rows repeat one kind of step at several clocks, integers (n,).
        assumed_mean, assumed_sd: what is assumed of each number, (p,); sd inf where nothing is.
    """

    residuals: Callable[[Array], Array]
    jacobian: Callable[[Array], Array]
    lower: Array
    upper: Array
    error: Array
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
        degrees_of_freedom: rows that counted less free numbers, at least 1.
    """

    theta: Array
    covariance: Array
    free: NDArray[np.bool_]
    determined: bool
    weight: Array
    sd: Array
    degrees_of_freedom: int


def solve(problem: Problem, starts: Sequence[Array]) -> Estimate:
    """Return the best of the solutions that the ``starts`` lead to.

    A first pass counts large residuals linearly; the next forget outliers by Tukey's biweight, at
    a scale that is each row's own error and the scatter beyond it (from the median residual).
    """
    first_sd = np.hypot(problem.error, _FIRST_SCALE)
    first = [_minimise(problem, start, first_sd, "soft_l1") for start in starts]
    theta = min(first, key=lambda found: found[1])[0]
    weight = np.ones(problem.error.size)
    sd = weight
    for _ in range(_PASSES):
        sd = _row_sd(problem, theta)
        weight = _biweight(problem.residuals(theta) / sd)
        theta, _ = _minimise(problem, theta, sd / np.sqrt(np.maximum(weight, 1e-12)), "linear")
    return _estimate(problem, theta, weight, sd)


def resolve(problem: Problem, known: Estimate, kept: NDArray[np.bool_]) -> Array:
    """Return the numbers that the rows ``kept`` alone lead to, from ``known`` and its weights."""
    sd = np.where(kept, known.sd / np.sqrt(np.maximum(known.weight, 1e-12)), 1e12)
    return _minimise(problem, known.theta, sd, "linear")[0]


def _minimise(
    problem: Problem, start: Array, sd: Array, loss: Literal["linear", "soft_l1"]
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
        xtol=1e-10,
        ftol=1e-10,
        gtol=1e-10,
        max_nfev=200,
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

    def spread(scatter: float) -> float:
        sd = np.sqrt(problem.error**2 + scatter**2)
        return 1.4826 * float(np.median(np.abs(residuals) / sd)) / float(np.sqrt(spare))

    low, high = 1e-9, max(1.4826 * float(np.median(np.abs(residuals))) / np.sqrt(spare), 2e-9)
    if np.all(problem.error > 0) and spread(low) <= 1:
        return problem.error
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if spread(middle) > 1 else (low, middle)
    return np.asarray(np.sqrt(problem.error**2 + high**2))


def _biweight(standardised: Array) -> Array:
    inside = np.maximum(1 - (standardised / _BIWEIGHT) ** 2, 0)
    return np.asarray(inside**2)


def _estimate(problem: Problem, theta: Array, weight: Array, sd: Array) -> Estimate:
    room = 1e-6 * np.maximum(np.abs(theta), 1e-30)
    free = (theta > problem.lower + room) & (theta < problem.upper - room)
    rows = problem.jacobian(theta)[:, free] / sd[:, None]
    counted = weight > 0
    degrees = max(int(counted.sum() - free.sum()), 1)
    pull = np.diag(1 / problem.assumed_sd[free])[np.isfinite(problem.assumed_sd[free])]
    scaled = np.concatenate([rows * np.sqrt(weight)[:, None], pull])
    norms = np.linalg.norm(scaled, axis=0)
    norms = np.where(norms > 1e-12 / np.abs(theta[free]), norms, np.inf)
    singular = np.linalg.svd(scaled / norms, compute_uv=False) if free.any() else np.ones(1)
    determined = bool(scaled.shape[0] >= scaled.shape[1] and singular[-1] > _RANK * singular[0])
    bread = np.linalg.pinv((scaled / norms).T @ (scaled / norms)) / np.outer(norms, norms)
    standardised = problem.residuals(theta) / sd
    scale = max(float(np.sum(weight * standardised**2) / degrees), 1.0)
    within = bread * scale
    # Steps of one configuration share what the form misses: let their sum of scores tell.
    _, which = np.unique(problem.configuration, return_inverse=True)
    scores = np.zeros((int(which.max()) + 1, int(free.sum())))
    np.add.at(scores, which, rows * (weight * standardised)[:, None])
    clusters = scores.shape[0]
    between = bread @ (scores.T @ scores) @ bread * (clusters / max(clusters - 1, 1))
    ratio = np.sqrt(np.maximum(np.diag(between), 0) / np.maximum(np.diag(within), 1e-300))
    widen = np.maximum(ratio, 1.0) if clusters > free.sum() else np.ones(int(free.sum()))
    covariance = np.zeros((theta.size, theta.size))
    covariance[np.ix_(free, free)] = within * np.outer(widen, widen)
    return Estimate(theta, covariance, free, determined, weight, sd, degrees)
