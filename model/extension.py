"""A fitted form below the measured clocks: the shape of public GPUs joins on at the edge.

In: a form, the lowest measured clock (the edge), shapes. Out: values that are the form's own down
to the edge and continuous there, and a standard error that grows with the distance below it.
"""

from dataclasses import dataclass, replace

import numpy as np

from model.clock_shape import (
    PowerShapes,
    ShapePrior,
    Shapes,
    TimeShapes,
    one_power_shape,
    one_time_shape,
    power_shapes,
    time_shapes,
)
from model.fitted import FittedForm, Normals
from model.shape import Inputs
from model.work import Array, Phase

_RISE = 0.01
"""The slope at the edge is taken over this share of a clock: within what was measured."""


@dataclass(frozen=True)
class Extension:
    """How curves go on below ``edge_mhz``, the lowest clock that was measured.

    A drawn extension has one shape of each; others have all that are likely.
    """

    edge_mhz: float
    prior: ShapePrior
    time: TimeShapes
    power: PowerShapes

    @staticmethod
    def of(edge_mhz: float, prior: ShapePrior) -> "Extension":
        """Return the extension below ``edge_mhz`` that ``prior`` makes likely."""
        return Extension(edge_mhz, prior, time_shapes(prior.time), power_shapes(prior.power))

    def drawn(self, phase: Phase, normal: Normals) -> "Extension":
        """Return the extension with one shape drawn.

        The voltage curve belongs to the GPU: it comes out the same in all curves of a draw. The
        rest is the same in all curves of ``phase``.
        """
        of_time = normal(f"time below the measured clocks in {phase}", 2)
        voltage = normal("voltage below the measured clocks", 2)
        turn = normal(f"power below the measured clocks in {phase}", 1)
        return replace(
            self,
            time=one_time_shape(self.prior.time, of_time),
            power=one_power_shape(self.prior.power, np.concatenate([voltage, turn])),
        )


def extended_value(form: FittedForm, at: Inputs, edge_mhz: float, shapes: Shapes) -> Array:
    """Return the form's value at ``at``, below the edge by the mean of ``shapes``; shape (n,)."""
    edge = edge_mhz / form.reference_mhz
    inside = form.value(replace(at, clock=np.maximum(at.clock, edge)))
    if np.all(at.clock >= edge):
        return inside
    factor, _ = _log_factor(form, form.theta, at, edge_mhz, shapes)
    return inside * np.exp(factor)


def extended_sd(form: FittedForm, at: Inputs, edge_mhz: float, shapes: Shapes) -> Array:
    """Return the standard error of log(value) due to coefficients, scale and shape, shape (n,)."""
    edge = edge_mhz / form.reference_mhz
    if np.all(at.clock >= edge):
        return form.relative_sd(at)
    inside = np.maximum(at.clock, edge)
    _, spread = _log_factor(form, form.theta, at, edge_mhz, shapes)

    def log_value(theta: Array) -> Array:
        factor, _ = _log_factor(form, theta, at, edge_mhz, shapes)
        return _log_at(form, theta, at, inside) + factor

    slopes = []
    for index, value in enumerate(form.theta.tolist()):
        step = 1e-6 * max(abs(value), 1e-9)
        up, down = form.theta.copy(), form.theta.copy()
        up[index] += step
        down[index] -= step
        slopes.append((log_value(up) - log_value(down)) / (2 * step))
    gradient = np.stack(slopes, axis=-1)
    variance = np.einsum("...i,ij,...j->...", gradient, form.covariance_matrix, gradient)
    return np.asarray(np.sqrt(np.maximum(variance, 0) + form.scale_sd**2 + spread**2))


def edge_elasticity(form: FittedForm, theta: Array, at: Inputs, edge_mhz: float) -> Array:
    """Return percent of change per percent of clock just above the edge, without its sign, (n,)."""
    edge = edge_mhz / form.reference_mhz
    low, high = (
        _log_at(form, theta, at, np.full_like(at.clock, edge * (1 + rise))) for rise in (0.0, _RISE)
    )
    return np.asarray(np.abs(high - low) / np.log1p(_RISE))


def _log_factor(
    form: FittedForm, theta: Array, at: Inputs, edge_mhz: float, shapes: Shapes
) -> tuple[Array, Array]:
    """Return the mean over ``shapes`` of log(value / value at the edge), and its spread."""
    edge = edge_mhz / form.reference_mhz
    elasticity = edge_elasticity(form, theta, at, edge_mhz)
    y, elasticity = np.broadcast_arrays(np.minimum(at.clock / edge, 1.0), elasticity)
    factors = shapes.log_factor(elasticity, edge, y)
    mean = np.tensordot(shapes.weight, factors, axes=1)
    spread = np.tensordot(shapes.weight, (factors - mean) ** 2, axes=1)
    return mean, np.sqrt(spread)


def _log_at(form: FittedForm, theta: Array, at: Inputs, clock: Array) -> Array:
    values = form.definition.evaluate(tuple(theta), replace(at, clock=clock))
    return np.asarray(np.log(np.maximum(values, 1e-300)))
