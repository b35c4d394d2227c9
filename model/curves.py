"""Time and power of one phase of one model on one GPU, against work and SM clock.

In: fitted coefficients with their covariance. Out: seconds and watts, their intervals, and whether
a point lies inside the range that was measured.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from pydantic import model_validator
from pydantic.dataclasses import dataclass
from scipy import special

from model.activity import ACTIVITY_FORMS
from model.forms import FORMS, POWER_FORMS, TIME_FORMS
from model.provenance import STRICT, Origin
from model.roofline import ROOFLINE_FORMS
from model.shape import Activity, Form, Inputs, Parts
from model.work import Array, Phase, Work
from phasewatt.errors import OutOfRange

_CLOCK_TOLERANCE_MHZ = 1e-6


@dataclass(frozen=True, config=STRICT)
class Domain:
    """The ranges that were measured, each (lowest, highest), both included."""

    sm_mhz: tuple[float, float]
    batch: tuple[float, float]
    prompt_tokens: tuple[float, float] | None
    context_tokens: tuple[float, float] | None

    @model_validator(mode="after")
    def _ascending(self) -> "Domain":
        for name, span in vars(self).items():
            if span is not None and not 0 <= span[0] <= span[1]:
                raise ValueError(
                    f"{name} is {span[0]:g} to {span[1]:g}; expected the lower end first, 0 or more"
                )
        return self


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
            raise ValueError(f"form {self.form!r} is not known; expected one of {sorted(FORMS)}")
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
        return FORMS[self.form]

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
        reach = float(special.stdtrit(self.degrees_of_freedom, 0.5 + level / 2))
        return np.asarray(reach * np.sqrt(np.diag(self.covariance_matrix)))

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


@dataclass(frozen=True, config=STRICT)
class Points:
    """The measured points behind a pair of curves, as columns of equal length."""

    sm_mhz: tuple[float, ...]
    batch: tuple[float, ...]
    prompt_tokens: tuple[float, ...]
    context_tokens: tuple[float, ...]
    time_s: tuple[float, ...]
    power_w: tuple[float, ...]

    @model_validator(mode="after")
    def _same_length(self) -> "Points":
        columns = (
            self.batch,
            self.prompt_tokens,
            self.context_tokens,
            self.time_s,
            self.power_w,
        )
        if {len(column) for column in columns} != {len(self.sm_mhz)}:
            raise ValueError("columns of points differ in length")
        return self

    def work(self, phase: Phase) -> Work:
        """Return the points' work as steps of ``phase``."""
        if phase is Phase.PREFILL:
            return Work.prefill(self.batch, self.prompt_tokens)
        return Work.decode(self.batch, self.context_tokens)


@dataclass(frozen=True, config=STRICT)
class Curves:
    """Time and power of one phase of one model in one engine on one GPU.

    ``governor_limit_w`` is the power at which the untouched GPU was seen to hold this load, where
    that is below its nominal power limit; None where the nominal limit holds.
    """

    model: str
    engine: str
    phase: Phase
    time: FittedForm
    power: FittedForm
    domain: Domain
    points: Points
    governor_limit_w: float | None
    origin: Origin

    @model_validator(mode="after")
    def _fitting_together(self) -> "Curves":
        for name, fitted, others in (
            ("time", self.time, (*POWER_FORMS, *ACTIVITY_FORMS)),
            ("power", self.power, (*TIME_FORMS, *ROOFLINE_FORMS)),
        ):
            if fitted.definition in others:
                raise ValueError(f"{name} has form {fitted.form!r}, which is not one of {name}")
        if self.governor_limit_w is not None and self.governor_limit_w <= 0:
            raise ValueError(f"governor_limit_w is {self.governor_limit_w:g}; expected more than 0")
        if self.power.definition.needs_activity and self.time.definition.parts is None:
            raise ValueError(
                f"power form {self.power.form!r} needs a roofline of time, not {self.time.form!r}"
            )
        return self

    @property
    def power_varies(self) -> bool:
        """Whether power depends on the step."""
        return self.power.definition.varies_with_work

    def time_s(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the time of each step in seconds; ``sm_mhz`` broadcasts against the work."""
        return self.time.value(self._inputs(self.time, work, sm_mhz))

    def power_w(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the mean power during each step in watts."""
        return self.power_of(work)(sm_mhz)

    def power_of(self, work: Work) -> Callable[[ArrayLike], Array]:
        """Return the power of ``work`` as a function of the SM clock alone."""
        activity = self._activity(work)

        def power_w(sm_mhz: ArrayLike) -> Array:
            at = self._inputs(self.power, work, sm_mhz)
            return self.power.value(replace(at, activity=activity))

        return power_w

    def parts(self, work: Work, sm_mhz: ArrayLike) -> Parts | None:
        """Return what the time of each step is made of; None where the form does not know."""
        if self.time.definition.parts is None:
            return None
        at = self._inputs(self.time, work, sm_mhz)
        return self.time.definition.parts(tuple(self.time.theta), at)

    def energy_j(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the energy of each step in joules: time times mean power."""
        return self.time_s(work, sm_mhz) * self.power_w(work, sm_mhz)

    def time_relative_sd(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the standard deviation of log time of a newly measured step."""
        return _new_sd(self.time, self._inputs(self.time, work, sm_mhz))

    def power_relative_sd(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the standard deviation of log power of a newly measured step."""
        return _new_sd(self.power, self._power_inputs(work, sm_mhz))

    def time_interval_s(
        self, work: Work, sm_mhz: ArrayLike, level: float = 0.95
    ) -> tuple[Array, Array]:
        """Return the prediction interval of a newly measured step time, (low, high) in seconds."""
        return _interval(self.time, self._inputs(self.time, work, sm_mhz), level)

    def power_interval_w(
        self, work: Work, sm_mhz: ArrayLike, level: float = 0.95
    ) -> tuple[Array, Array]:
        """Return the prediction interval of a newly measured power, (low, high) in watts."""
        return _interval(self.power, self._power_inputs(work, sm_mhz), level)

    def require_clock(self, sm_mhz: ArrayLike) -> None:
        """Raise :class:`OutOfRange` unless every clock lies inside the calibrated domain."""
        clocks = np.asarray(sm_mhz, dtype=np.float64)
        low, high = self.domain.sm_mhz
        outside = (clocks < low - _CLOCK_TOLERANCE_MHZ) | (clocks > high + _CLOCK_TOLERANCE_MHZ)
        if np.any(outside):
            found = float(clocks[outside].ravel()[0])
            raise OutOfRange(
                f"{self.phase} clock {found:g} MHz is outside the calibrated range of "
                f"{self.model}: expected {low:g} to {high:g} MHz"
            )

    def require_batch(self, batch: float) -> None:
        """Raise :class:`OutOfRange` unless ``batch`` lies inside the calibrated domain."""
        low, high = self.domain.batch
        if not low <= batch <= high:
            wanted = f"batch {low:g}" if low == high else f"batch {low:g} to {high:g}"
            raise OutOfRange(
                f"{self.phase} of {self.model} was not measured at batch {batch:g}: "
                f"expected {wanted}"
            )

    def drawn(self, normal: "Normals") -> "Curves":
        """Return the curves with coefficients drawn from their covariance."""
        return replace(self, time=self.time.drawn(normal), power=self.power.drawn(normal))

    def _inputs(self, form: FittedForm, work: Work, sm_mhz: ArrayLike) -> Inputs:
        clock = np.asarray(sm_mhz, dtype=np.float64) / form.reference_mhz
        return Inputs(clock, work, self.phase, form.constants)

    def _power_inputs(self, work: Work, sm_mhz: ArrayLike) -> Inputs:
        return replace(self._inputs(self.power, work, sm_mhz), activity=self._activity(work))

    def _activity(self, work: Work) -> Activity | None:
        return self.time.activity(work) if self.power.definition.needs_activity else None


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


def lower_root(covariance: Array) -> Array:
    """Return L with L L' = ``covariance``, lower triangular, for a singular covariance too."""
    size = covariance.shape[0]
    root, rest = np.zeros_like(covariance), covariance.copy()
    for i in range(size):
        if rest[i, i] > 1e-12 * covariance[i, i]:
            root[i:, i] = rest[i:, i] / np.sqrt(rest[i, i])
            rest = rest - np.outer(root[:, i], root[:, i])
    return root


def _new_sd(form: FittedForm, at: Inputs) -> Array:
    return np.asarray(np.hypot(form.relative_sd(at), form.residual_sd))


def _may_be_covariance(matrix: Array) -> bool:
    """Whether ``matrix`` is symmetric and positive semidefinite, as far as nine digits tell."""
    variances = np.diag(matrix)
    if np.any(variances < 0) or not np.allclose(matrix, matrix.T, rtol=1e-6, atol=0):
        return False
    deviations = np.sqrt(np.where(variances > 0, variances, 1.0))
    correlations = matrix / np.outer(deviations, deviations)
    return bool(np.linalg.eigvalsh(correlations).min() > -1e-6)


def _interval(form: FittedForm, at: Inputs, level: float) -> tuple[Array, Array]:
    value, sd = form.value(at), _new_sd(form, at)
    reach = float(special.stdtrit(form.degrees_of_freedom, 0.5 + level / 2))
    return value * np.exp(-reach * sd), value * np.exp(reach * sd)
