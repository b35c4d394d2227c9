"""Fit a form to measured points, and choose the form that predicts clocks it has not seen.

In: arrays of clocks, work and measured seconds or watts. Out: :class:`model.curves.FittedForm`.
Residuals are relative (log of predicted over measured), so that every point weighs the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from model.diagnostics import diagnose
from model.fitted import FitErrors, FittedForm
from model.forms import Form, Inputs
from model.work import Array, Phase, Work
from phasewatt.errors import BadTable

_SIMPLER_WITHIN = 1.05
"""Forms within 5% of the least hold-out error count as equal: then the one with the fewest
coefficients is taken, and among those the one that is listed first."""


@dataclass(frozen=True)
class Series:
    """Measured points of one phase of one model on one GPU, as columns of shape (n,)."""

    phase: Phase
    sm_mhz: Array
    work: Work
    target: Array

    def rows(self, chosen: NDArray[np.bool_]) -> "Series":
        """Return the points where the boolean array ``chosen`` is true."""
        return Series(self.phase, self.sm_mhz[chosen], self.work.at(chosen), self.target[chosen])

    def inputs(self, reference_mhz: float) -> Inputs:
        """Return the points as a form's inputs, with clocks relative to ``reference_mhz``."""
        return Inputs(self.sm_mhz / reference_mhz, self.work, self.phase, {})


def fit_best(forms: Sequence[Form], series: Series) -> FittedForm:
    """Fit each form that the points can determine and return the one with least hold-out error.

    The hold-out leaves out all points of one clock at a time and predicts them from the rest; the
    error is the mean absolute percentage error over all points (MAPE).

    Raises:
        BadTable: there are too few distinct clocks to hold one out of any form.
    """
    clocks = np.unique(series.sm_mhz)
    usable = [form for form in forms if clocks.size > len(form.coefficients)]
    if not usable:
        raise BadTable(
            f"{series.phase}: {clocks.size} distinct clock(s) in the table; "
            f"expected at least {1 + min(len(f.coefficients) for f in forms)}"
        )
    holdout = {form.name: leave_one_clock_out_mape(form, series) for form in usable}
    least = min(holdout.values())
    close = [form for form in usable if holdout[form.name] <= _SIMPLER_WITHIN * least]
    chosen = min(close, key=lambda form: len(form.coefficients))
    return _describe(chosen, series, holdout)


def leave_one_clock_out_mape(form: Form, series: Series) -> float:
    """Return the MAPE of predicting each clock's points from the points of all other clocks."""
    reference_mhz = float(series.sm_mhz.max())
    whole, _ = _solve(form, series, reference_mhz)
    errors = np.empty(series.target.shape)
    for clock in np.unique(series.sm_mhz):
        held = series.sm_mhz == clock
        theta, _ = _solve(form, series.rows(~held), reference_mhz, start=whole)
        errors[held] = _relative_errors(form, theta, series.rows(held), reference_mhz)
    return float(np.mean(np.abs(errors)))


def _describe(form: Form, series: Series, holdout: dict[str, float]) -> FittedForm:
    reference_mhz = float(series.sm_mhz.max())
    theta, jacobian = _solve(form, series, reference_mhz)
    errors = _relative_errors(form, theta, series, reference_mhz)
    free = _free(form, theta)
    degrees = max(series.target.size - int(free.sum()), 1)
    residuals = np.log1p(errors)
    variance = float(residuals @ residuals) / degrees
    covariance = np.zeros((theta.size, theta.size))
    scaled = jacobian[:, free]
    chosen = np.flatnonzero(free)
    covariance[np.ix_(chosen, chosen)] = variance * np.linalg.pinv(scaled.T @ scaled)
    return FittedForm(
        form=form.name,
        reference_mhz=reference_mhz,
        coefficients=dict(zip(form.names, map(_rounded, theta.tolist()), strict=True)),
        covariance=tuple(tuple(map(_rounded, row)) for row in covariance.tolist()),
        constants={},
        residual_sd=_rounded(float(np.sqrt(variance))),
        degrees_of_freedom=degrees,
        errors=FitErrors(
            points=int(series.target.size),
            clocks=int(np.unique(series.sm_mhz).size),
            fit_mape=_rounded(float(np.mean(np.abs(errors)))),
            worst=_rounded(float(np.max(np.abs(errors)))),
            holdout_mape=_rounded(holdout[form.name]),
            candidates={name: _rounded(error) for name, error in sorted(holdout.items())},
        ),
        diagnostics=diagnose(residuals, series.sm_mhz / reference_mhz),
    )


def _solve(
    form: Form, series: Series, reference_mhz: float, start: Array | None = None
) -> tuple[Array, Array]:
    at = series.inputs(reference_mhz)
    lower = np.array([c.lower for c in form.coefficients])
    upper = np.array([c.upper for c in form.coefficients])

    def residuals(theta: Array) -> Array:
        predicted = form.evaluate(tuple(theta), at)
        return np.log(np.maximum(predicted, 1e-300) / series.target)

    best = None
    starts = form.starts(series.target, at) if start is None else [start.tolist()]
    for guess in starts:
        inside = np.clip(guess, lower + 1e-9, np.where(np.isinf(upper), np.inf, upper - 1e-9))
        found = scipy.optimize.least_squares(
            residuals,
            inside,
            bounds=(lower, upper),
            x_scale=np.maximum(np.abs(inside), 1e-12),
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
            max_nfev=500,
        )
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    return np.asarray(best.x, dtype=np.float64), np.asarray(best.jac, dtype=np.float64)


def _relative_errors(form: Form, theta: Array, series: Series, reference_mhz: float) -> Array:
    predicted = form.evaluate(tuple(theta), series.inputs(reference_mhz))
    return np.asarray(predicted / series.target - 1)


def _free(form: Form, theta: Array) -> NDArray[np.bool_]:
    """Coefficients that rest on a bound carry no covariance: the data did not choose them."""
    lower = np.array([c.lower for c in form.coefficients])
    upper = np.array([c.upper for c in form.coefficients])
    room = 1e-6 * np.maximum(np.abs(theta), 1e-12)
    return np.asarray((theta > lower + room) & (theta < upper - room))


def _rounded(value: float) -> float:
    """Nine significant digits: far beyond the data, and the same bytes on every machine."""
    return float(f"{value:.9g}")
