"""A form with the coefficients that describe a series: its value, its intervals, its draws.

In: a form's name, coefficients with their covariance, how well they describe their points. Out:
values and standard errors at any clock and work.
"""

from dataclasses import replace
from difflib import get_close_matches
from functools import cached_property

import numpy as np
import scipy
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from model.exchange import EXCHANGE_S, with_exchange
from model.forms import FORMS
from model.provenance import STRICT
from model.shape import Activity, Form, Inputs
from model.work import Array, Work


@dataclass(frozen=True, config=STRICT)
class FitErrors:
    """How well a form describes its points, as fractions of the measured value.

    ``holdout_mape`` is the mean absolute error of points whose clock the fit never saw;
    ``candidates`` holds that figure for every form that was tried.
    """

    points: int
    clocks: int
    fit_mape: float
    worst: float
    holdout_mape: float
    candidates: dict[str, float]


@dataclass(frozen=True, config=STRICT)
class Diagnostics:
    """Tests on the residuals; None where there are too few points to tell.

    ``durbin_watson`` near 2 means no serial correlation along the clock; the two p-values test
    normality (Jarque-Bera) and constant variance (Breusch-Pagan): small is bad.
    """

    durbin_watson: float | None
    normality_p: float | None
    constant_variance_p: float | None


@dataclass(frozen=True, config=STRICT)
class FittedForm:
    """A form with the coefficients that describe a series, and how sure they are.

    ``covariance`` is in the order of the form's coefficients; a coefficient that rests on a bound
    has zero variance. ``residual_sd`` is the standard deviation of relative residuals.
    ``scale`` multiplies the form; ``scale_sd`` is the standard deviation of its logarithm: how
    far the form may lie off as a whole, where it was carried over from other models.
    """

    form: str
    reference_mhz: float
    coefficients: dict[str, float]
    covariance: tuple[tuple[float, ...], ...]
    constants: dict[str, float]
    residual_sd: float
    degrees_of_freedom: int
    errors: FitErrors
    diagnostics: Diagnostics
    scale: float = 1.0
    scale_sd: float = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> "FittedForm":
        if self.form not in FORMS:
            raise ValueError(f"form {self.form!r} is not known; {_nearest(self.form)}")
        names = FORMS[self.form].names
        if tuple(self.coefficients) != names:
            raise ValueError(
                f"coefficients are {list(self.coefficients)}; form {self.form!r} has {list(names)}"
            )
        for known in FORMS[self.form].coefficients:
            value = self.coefficients[known.name]
            slack = 1e-6 * abs(value)
            if not known.lower - slack <= value <= known.upper + slack:
                raise ValueError(
                    f"coefficient {known.name} is {value:g}; form {self.form!r} expects "
                    f"{known.lower:g} to {known.upper:g}"
                )
        if {len(row) for row in self.covariance} | {len(self.covariance)} != {len(names)}:
            raise ValueError(f"covariance is not {len(names)} by {len(names)}")
        if not _may_be_covariance(np.array(self.covariance, dtype=np.float64)):
            raise ValueError("covariance is not symmetric with no negative variance in any way")
        if self.reference_mhz <= 0 or self.degrees_of_freedom < 1:
            raise ValueError("reference_mhz and degrees_of_freedom must be positive")
        if self.scale <= 0 or self.scale_sd < 0 or self.residual_sd < 0:
            raise ValueError("scale must be positive, scale_sd and residual_sd 0 or more")
        return self

    @cached_property
    def definition(self) -> Form:
        """The form that the coefficients belong to."""
        form = FORMS[self.form]
        return with_exchange(form) if EXCHANGE_S in self.constants else form

    @cached_property
    def theta(self) -> Array:
        """The coefficients as an array of shape (p,)."""
        return np.array(list(self.coefficients.values()), dtype=np.float64)

    @cached_property
    def covariance_matrix(self) -> Array:
        """The covariance as an array of shape (p, p)."""
        return np.array(self.covariance, dtype=np.float64)

    def value(self, at: Inputs) -> Array:
        """Return the form's value at ``at``, shape (n,)."""
        return self.scale * self.definition.evaluate(tuple(self.theta), at)

    def relative_sd(self, at: Inputs) -> Array:
        """Return the standard error of log(value) due to coefficients and scale, shape (n,)."""
        sensitivity = np.stack([self._log_slope(i, at) for i in range(self.theta.size)], axis=-1)
        variance = np.einsum("...i,ij,...j->...", sensitivity, self.covariance_matrix, sensitivity)
        return np.asarray(np.sqrt(np.maximum(variance, 0) + self.scale_sd**2))

    def half_widths(self, level: float = 0.95) -> Array:
        """Return the half-width of each coefficient's interval, shape (p,); 0 on a bound."""
        return np.asarray(self.reach(level) * np.sqrt(np.diag(self.covariance_matrix)))

    def reach(self, level: float = 0.95) -> float:
        """Return how many standard errors the half of an interval spans."""
        return float(scipy.special.stdtrit(self.degrees_of_freedom, 0.5 + level / 2))

    def activity(self, work: Work) -> Activity:
        """Return what keeps the GPU busy, by a form that knows the parts of a time."""
        return self.definition.activity(tuple(self.theta), self.constants, work)

    def drawn(self, normal: "Normals") -> "FittedForm":
        """Return the form with coefficients drawn from their covariance, kept within bounds.

        Coefficients that several forms share, all of them or those of the GPU, come out the same
        in each: the first coefficients are drawn first, and ``normal`` gives the same numbers for
        the same coefficients.
        """
        order = [i for i, c in enumerate(self.definition.coefficients) if c.of_gpu]
        shared = len(order)
        order += [i for i in range(self.theta.size) if i not in order]
        covariance = self.covariance_matrix[np.ix_(order, order)]
        block = [self.theta[order[:shared]].tolist(), covariance[:shared, :shared].tolist()]
        whole = [self.form, self.theta.tolist(), self.covariance]
        numbers = np.concatenate(
            [normal(f"of GPU {block}", shared), normal(f"{whole}", self.theta.size - shared)]
        )
        values = self.theta.copy()
        values[order] += lower_root(covariance) @ numbers
        scale = self.scale
        if self.scale_sd > 0:
            off = normal(f"scale {self.constants} {self.scale_sd}", 1)
            scale *= float(np.exp(self.scale_sd * off[0]))
        return replace(self.with_theta(values), scale=scale)

    def with_theta(self, theta: Array) -> "FittedForm":
        """Return the form with other coefficients, kept within their bounds."""
        inside = [
            min(max(value, c.lower), c.upper)
            for value, c in zip(theta.tolist(), self.definition.coefficients, strict=True)
        ]
        return replace(self, coefficients=dict(zip(self.definition.names, inside, strict=True)))

    def same_coefficients(self, other: "FittedForm") -> bool:
        """Whether both forms have the same coefficients with the same covariance."""
        mine = (self.form, self.coefficients, self.covariance)
        return mine == (other.form, other.coefficients, other.covariance)

    def _log_slope(self, index: int, at: Inputs) -> Array:
        step = 1e-6 * max(abs(float(self.theta[index])), 1e-9)
        up, down = self.theta.copy(), self.theta.copy()
        up[index] += step
        down[index] -= step
        evaluate = self.definition.evaluate
        rise = np.log(evaluate(tuple(up), at)) - np.log(evaluate(tuple(down), at))
        return np.asarray(rise / (2 * step))


class Normals:
    """Standard normal numbers by name: the same name gives the same numbers again."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._known: dict[str, Array] = {}

    def __call__(self, name: str, count: int) -> Array:
        """Return ``count`` numbers for ``name``, shape (count,)."""
        if name not in self._known:
            self._known[name] = self._rng.standard_normal(count)
        return self._known[name]


def _nearest(form: str) -> str:
    """Return what was expected instead of ``form``: the names most like it, there being many."""
    alike = get_close_matches(form, FORMS, 3) or [next(iter(FORMS))]
    return f"expected one of {len(FORMS)} forms, such as {' or '.join(map(repr, alike))}"


def lower_root(covariance: Array) -> Array:
    """Return L with L L' = ``covariance``, lower triangular, for a singular covariance too."""
    size = covariance.shape[0]
    root, rest = np.zeros_like(covariance), covariance.copy()
    for i in range(size):
        if rest[i, i] > 1e-12 * covariance[i, i]:
            root[i:, i] = rest[i:, i] / np.sqrt(rest[i, i])
            rest = rest - np.outer(root[:, i], root[:, i])
    return root


def _may_be_covariance(matrix: Array) -> bool:
    """Whether ``matrix`` is symmetric and positive semidefinite, as far as nine digits tell."""
    variances = np.diag(matrix)
    if np.any(variances < 0) or not np.allclose(matrix, matrix.T, rtol=1e-6, atol=0):
        return False
    deviations = np.sqrt(np.where(variances > 0, variances, 1.0))
    correlations = matrix / np.outer(deviations, deviations)
    return bool(np.linalg.eigvalsh(correlations).min() > -1e-6)
