"""Time and power of one phase of one model on one GPU, against work and SM clock.

In: fitted coefficients with their covariance. Out: seconds and watts, their intervals, and whether
a point lies inside the range that was measured.
"""

from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from pydantic import model_validator
from pydantic.dataclasses import dataclass
from scipy import stats

from model.forms import FORMS, Form, Inputs
from model.provenance import STRICT, Origin
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

    @model_validator(mode="after")
    def _consistent(self) -> "FittedForm":
        if self.form not in FORMS:
            raise ValueError(f"form {self.form!r} is not known; expected one of {sorted(FORMS)}")
        names = FORMS[self.form].names
        if tuple(self.coefficients) != names:
            raise ValueError(
                f"coefficients are {list(self.coefficients)}; form {self.form!r} has {list(names)}"
            )
        if {len(row) for row in self.covariance} | {len(self.covariance)} != {len(names)}:
            raise ValueError(f"covariance is not {len(names)} by {len(names)}")
        if self.reference_mhz <= 0 or self.degrees_of_freedom < 1:
            raise ValueError("reference_mhz and degrees_of_freedom must be positive")
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
        return self.definition.evaluate(tuple(self.theta), at)

    def relative_sd(self, at: Inputs) -> Array:
        """Return the standard error of log(value) due to the coefficients, shape (n,)."""
        sensitivity = np.stack([self._log_slope(i, at) for i in range(self.theta.size)], axis=-1)
        variance = np.einsum("...i,ij,...j->...", sensitivity, self.covariance_matrix, sensitivity)
        return np.asarray(np.sqrt(np.maximum(variance, 0)))

    def half_widths(self, level: float = 0.95) -> Array:
        """Return the half-width of each coefficient's interval, shape (p,); 0 on a bound."""
        reach = float(stats.t.ppf(0.5 + level / 2, self.degrees_of_freedom))
        return np.asarray(reach * np.sqrt(np.diag(self.covariance_matrix)))

    def drawn(self, rng: np.random.Generator) -> "FittedForm":
        """Return the form with coefficients drawn from their covariance, kept within bounds."""
        values = rng.multivariate_normal(self.theta, self.covariance_matrix, method="eigh")
        inside = [
            min(max(value, c.lower), c.upper)
            for value, c in zip(values.tolist(), self.definition.coefficients, strict=True)
        ]
        return replace(self, coefficients=dict(zip(self.definition.names, inside, strict=True)))

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

    def time_s(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the time of each step in seconds; ``sm_mhz`` broadcasts against the work."""
        return self.time.value(self._inputs(self.time, work, sm_mhz))

    def power_w(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the mean power during each step in watts."""
        return self.power.value(self._power_inputs(work, sm_mhz))

    def energy_j(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the energy of each step in joules: time times mean power."""
        return self.time_s(work, sm_mhz) * self.power_w(work, sm_mhz)

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

    def drawn(self, rng: np.random.Generator) -> "Curves":
        """Return the curves with coefficients drawn from their covariance."""
        return replace(self, time=self.time.drawn(rng), power=self.power.drawn(rng))

    def _inputs(self, form: FittedForm, work: Work, sm_mhz: ArrayLike) -> Inputs:
        clock = np.asarray(sm_mhz, dtype=np.float64) / form.reference_mhz
        return Inputs(clock, work, self.phase, form.constants)

    def _power_inputs(self, work: Work, sm_mhz: ArrayLike) -> Inputs:
        at = self._inputs(self.power, work, sm_mhz)
        if not self.power.definition.needs_time:
            return at
        return replace(at, time_s=self.time_s(work, sm_mhz))


def _interval(form: FittedForm, at: Inputs, level: float) -> tuple[Array, Array]:
    value = form.value(at)
    sd = np.sqrt(form.relative_sd(at) ** 2 + form.residual_sd**2)
    reach = float(stats.t.ppf(0.5 + level / 2, form.degrees_of_freedom))
    return value * np.exp(-reach * sd), value * np.exp(reach * sd)
