"""Robust nonlinear least squares on relative residuals, with errors that admit what is unknown.

In: a :class:`Problem`: log-ratios as a function of bounded numbers, each row's own error, which
rows belong to one configuration. Out: an :class:`Estimate`: numbers, covariance, row weights.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from model.work import Array

_BIWEIGHT = 6.0
"""Tukey's biweight at this many scales is 98% efficient on normal residuals, and forgets a row
that lies further off: outliers neither pull the fit nor widen its errors."""

_FIRST_SCALE = 0.02
"""Relative residual from which on the first pass counts a row linearly, not squared."""

_PASSES = 3
_HALVINGS = 24
_LEAST_ERROR = 1e-4
"""No row is taken to be known better, relative, where nobody told its error or it has none."""

_RANK = 3e-4
"""Effects of two numbers that differ by less than this are one effect: telling them apart would
multiply the error of the points by thousands."""


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
        covariance: theirs, (p, p); nought for a number that rests on a bound, its own square for
            one that the rows do not tell.
        free: which numbers rest on no bound and are told by the rows, (p,).
        determined: whether the rows tell all numbers apart that they show at all.
        weight: what each row counted, from 0 (an outlier) to 1, (n,).
        sd: each row's relative standard deviation: its own error, and what the form misses.
        scatter: what the form misses of each row's kind, relative standard deviation, (n,).
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
    scatter: Array
    degrees_of_freedom: int
    gain: Array


def approach(problem: Problem, starts: Sequence[Array]) -> Array:
    """Return the best numbers that the ``starts`` lead to, large residuals counting linearly."""
    whiten = np.diag(1 / np.hypot(problem.error, _FIRST_SCALE))
    found = [_minimise(problem, start, whiten, "soft_l1", 80) for start in starts]
    return min(found, key=lambda one: one[1])[0]


def solve(problem: Problem, theta: Array) -> Estimate:
    """Return the solution near ``theta``, which outliers do not touch.

    They are forgotten by Tukey's biweight, at a scale that is each row's own error and the scatter
    beyond it (from the median residual of its kind, so that rows which a form describes worse than
    others are not taken for outliers). What a form misses of one kind of step it misses at every
    clock: steps of one configuration share that scatter, and what they differ by at several clocks
    counts at their own errors.
    """
    weight = np.ones(problem.error.size)
    scatter = np.zeros_like(weight)
    for _ in range(_PASSES):
        scatter = _scatter(problem, theta)
        weight = _biweight(problem.residuals(theta) / np.hypot(problem.error, scatter))
        whiten = _whitening(problem, scatter, weight)
        theta, _ = _minimise(problem, theta, whiten, "linear", 30)
    return _estimate(problem, theta, weight, scatter)


def resolve(problem: Problem, known: Estimate, kept: NDArray[np.bool_]) -> Array:
    """Return the numbers that the rows ``kept`` alone lead to, from ``known`` and its weights."""
    whiten = _whitening(problem, known.scatter, np.where(kept, known.weight, 0.0))
    return _minimise(problem, known.theta, whiten, "linear", 12)[0]


def _whitening(problem: Problem, scatter: Array, weight: Array) -> Array:
    """Return what makes residuals independent and of variance 1, (n, n).

    It takes configurations apart: no row of the result mixes two of them.
    """
    own = np.maximum(problem.error, _LEAST_ERROR) / np.sqrt(np.maximum(weight, 1e-24))
    matrix = np.zeros((own.size, own.size))
    for kind in np.unique(problem.configuration):
        mine = np.flatnonzero(problem.configuration == kind)
        common = np.outer(scatter[mine], scatter[mine])
        block = np.linalg.cholesky(np.diag(own[mine] ** 2) + common)
        matrix[np.ix_(mine, mine)] = np.linalg.inv(block)
    return matrix


def _minimise(
    problem: Problem, start: Array, whiten: Array, loss: Literal["linear", "soft_l1"], most: int
) -> tuple[Array, float]:
    inside = np.clip(start, problem.lower, problem.upper)
    unit = _units(problem, inside)
    pull = np.diag(1 / problem.assumed_sd)[np.isfinite(problem.assumed_sd)]

    def residuals(x: Array) -> Array:
        assumed = pull @ (x * unit - problem.assumed_mean)
        return np.concatenate([whiten @ problem.residuals(x * unit), assumed])

    def jacobian(x: Array) -> Array:
        return np.concatenate([whiten @ problem.jacobian(x * unit), pull]) * unit

    found = scipy.optimize.least_squares(
        residuals,
        inside / unit,
        jac=jacobian,
        bounds=(problem.lower / unit, problem.upper / unit),
        loss=loss,
        method="dogbox",
        xtol=1e-9,
        ftol=1e-9,
        gtol=1e-9,
        max_nfev=most,
    )
    return np.clip(found.x * unit, problem.lower, problem.upper), float(found.cost)


def _units(problem: Problem, theta: Array) -> Array:
    """Return what to count each number in, so that all are near 1: bytes and shares alike."""
    sensitivity = np.linalg.norm(problem.jacobian(theta), axis=0)
    moving = 1 / np.where(sensitivity > 0, sensitivity, 1.0)
    return np.where(theta != 0, np.abs(theta), moving)


def _scatter(problem: Problem, theta: Array) -> Array:
    """Return the scatter that, beside each row's own error, explains the residuals, (n,)."""
    residuals = problem.residuals(theta)
    spare = max(residuals.size - theta.size, 1) / residuals.size
    scatter = np.empty(residuals.size)
    for kind in np.unique(problem.kind):
        mine = problem.kind == kind
        scatter[mine] = _scattered(residuals[mine] / math.sqrt(spare), problem.error[mine])
    return scatter


def _scattered(residuals: Array, error: Array) -> float:
    def spread(scatter: float) -> float:
        return 1.4826 * _median(np.abs(residuals) / np.hypot(error, scatter))

    low, high = 1e-9, max(1.4826 * _median(np.abs(residuals)), 2e-9)
    if np.all(error > 0) and spread(low) <= 1:
        return 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if spread(middle) > 1 else (low, middle)
    return high


def _median(values: Array) -> float:
    """Return what np.median does, which takes five times as long to look for NaN in few rows."""
    ordered = np.sort(values)
    return float(ordered[(ordered.size - 1) // 2] + ordered[ordered.size // 2]) / 2


def _biweight(standardised: Array) -> Array:
    inside = np.maximum(1 - (standardised / _BIWEIGHT) ** 2, 0)
    return np.asarray(inside**2)


def _estimate(problem: Problem, theta: Array, weight: Array, scatter: Array) -> Estimate:
    sd = np.hypot(problem.error, scatter)
    whiten = _whitening(problem, scatter, weight)
    slopes = whiten @ problem.jacobian(theta)
    assumed = np.isfinite(problem.assumed_sd)
    # A number that could double without anyone seeing it is not told, and of unknown size.
    norms = np.linalg.norm(slopes, axis=0)
    told = (norms * np.abs(theta) > 1) | assumed
    # A number that no row could tell from its bound, whatever its size, rests on it.
    unseen = 1 / np.maximum(norms, 1 / np.maximum(np.abs(problem.upper), 1e-300))
    room = 1e-6 * np.maximum(np.abs(theta), np.minimum(unseen, 1e-3 * problem.upper))
    low, high = theta <= problem.lower + room, theta >= problem.upper - room
    inside = ~(low | high)
    free = told & inside
    rows = slopes[:, free]
    misses = whiten @ problem.residuals(theta)
    bread = _inverse(rows, problem.assumed_sd[free])
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
    covariance[np.ix_(free, free)] = (within + within.T) / 2
    covariance[~told, ~told] = np.where(inside, theta, 0.0)[~told] ** 2
    gain = np.zeros((theta.size, sd.size))
    gain[free] = bread @ rows.T @ whiten
    told_apart = _tell_apart(slopes, problem)
    return Estimate(theta, covariance, free, told_apart, weight, sd, scatter, degrees, gain)


def _tell_apart(slopes: Array, problem: Problem) -> bool:
    """Whether no number's effect on the rows is a mixture of the others' effects."""
    pull = np.diag(1 / problem.assumed_sd)[np.isfinite(problem.assumed_sd)]
    scaled = np.concatenate([slopes, pull])
    norms = np.linalg.norm(scaled, axis=0)
    unit = scaled[:, norms > 0] / norms[norms > 0]
    if unit.shape[0] < unit.shape[1]:
        return False
    singular = np.linalg.svd(unit, compute_uv=False)
    return bool(singular.size == 0 or singular[-1] > _RANK * singular[0])


def _inverse(rows: Array, assumed_sd: Array) -> Array:
    """Return the inverse of the normal matrix of ``rows`` and of what is assumed."""
    pull = np.diag(1 / assumed_sd)[np.isfinite(assumed_sd)]
    scaled = np.concatenate([rows, pull])
    norms = np.linalg.norm(scaled, axis=0)
    strengths, axes = np.linalg.eigh((scaled / norms).T @ (scaled / norms))
    # A direction that the rows hardly show is very uncertain, not certain.
    kept = np.maximum(strengths, 1e-12 * strengths.max(initial=1e-300))
    return np.asarray((axes / kept) @ axes.T / np.outer(norms, norms))


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
