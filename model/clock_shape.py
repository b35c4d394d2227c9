"""What the clock does to time and power below the measured clocks, as public GPUs show it.

In: how steep a curve is at its lowest measured clock, and how far below that a clock lies. Out: the
factor on time or power, as members of an ensemble: one for each shape that is likely, and weights.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as validated

from model.activity import LEAST_VOLTAGE
from model.provenance import STRICT
from model.work import Array

PUBLIC = resources.files("model") / "public"
"""The folder of public measurements, and of what was derived from them."""

_SHAPES = "clock-shapes.json"


@validated(frozen=True, config=STRICT)
class Normal:
    """A normal distribution by its mean and standard deviation."""

    mean: float
    sd: float


@validated(frozen=True, config=STRICT)
class TimePrior:
    """How time goes on below the measured clocks: see :class:`TimeShapes`.

    ``log_sharpness`` is the logarithm of p, taken for 0 where it is less.
    """

    log_sharpness: Normal
    turn: Normal


@validated(frozen=True, config=STRICT)
class PowerPrior:
    """How power goes on below the measured clocks: see :class:`PowerShapes`."""

    knee: Normal
    dynamic: Normal
    turn: Normal


@validated(frozen=True, config=STRICT)
class ShapePrior:
    """What public GPUs say of both, and which GPUs those are; ``command`` derives it."""

    time: TimePrior
    power: PowerPrior
    gpus: tuple[str, ...]
    series: int
    command: str


@dataclass(frozen=True)
class TimeShapes:
    """Shapes of time below an edge, columns of shape (m,), with ``weight`` adding up to 1.

    At a clock of ``y`` times the edge, ``T = T_edge (1 - e + e y^-p)^(1/p)``: the p-norm of a time
    that no clock changes and one that goes by 1/f. ``e``, the elasticity just below the edge, is
    that just above plus ``turn``, kept within 0 and 1.
    """

    sharpness: Array
    turn: Array
    weight: Array

    def log_factor(self, elasticity: Array, edge: float, y: Array) -> Array:
        """Return log(T / T_edge) of every shape, (m, n), from the elasticity above the edge, (n,).

        ``edge`` is the edge over the highest clock, which time does not depend on.
        """
        del edge
        p, turn = _columns(y.ndim, self.sharpness, self.turn)
        e = np.clip(elasticity + turn, 0.0, 1.0)
        return np.asarray(np.log(1 - e + e * y**-p) / p)


@dataclass(frozen=True)
class PowerShapes:
    """Shapes of power below an edge, columns of shape (m,), with ``weight`` adding up to 1.

    At a clock of ``y`` times the edge, ``P = P_edge (1 - d + d y V^2)``: ``d`` is the dynamic share
    of the power at the edge and V voltage relative to that at the edge. V falls at a steady rate
    down to the ``knee`` (over the highest clock) and is level below it. The rate is what ``d``
    leaves of the steepness just below the edge, which is that just above plus ``turn``, and at
    least :data:`LEAST_STEEPNESS`; where the steepness is less than ``dynamic``, V is level and
    ``d`` is all of it.
    """

    knee: Array
    dynamic: Array
    turn: Array
    weight: Array

    def log_factor(self, elasticity: Array, edge: float, y: Array) -> Array:
        """Return log(P / P_edge) of every shape, (m, n).

        ``elasticity`` is percent of power per percent of clock just above the edge, (n,); ``edge``
        the edge over the highest clock; ``y`` the clocks over the edge, (n,).
        """
        knee, dynamic, turn = _columns(y.ndim, self.knee, self.dynamic, self.turn)
        steep = np.maximum(elasticity + turn, LEAST_STEEPNESS)
        share = np.minimum(dynamic, steep)
        rate = (steep / share - 1) / 2
        voltage = 1 - rate * (1 - np.maximum(y, np.minimum(knee / edge, 1.0)))
        return np.asarray(np.log(1 - share + share * y * np.maximum(voltage, LEAST_VOLTAGE) ** 2))


Shapes = TimeShapes | PowerShapes

LEAST_STEEPNESS = 0.02
"""No power falls by less than this percentage per percent of clock: every clock tree switches."""


@cache
def shipped_prior() -> ShapePrior:
    """Return what the public measurements that come with phasewatt say."""
    text = (PUBLIC / _SHAPES).read_text(encoding="utf-8")
    return TypeAdapter(ShapePrior).validate_python(json.loads(text))


def time_shapes(prior: TimePrior) -> TimeShapes:
    """Return an ensemble with the spread of ``prior``."""
    z, weight = _nodes(2)
    return _time_shapes(prior, z, weight)


def power_shapes(prior: PowerPrior) -> PowerShapes:
    """Return an ensemble with the spread of ``prior``."""
    z, weight = _nodes(3)
    return _power_shapes(prior, z, weight)


def one_time_shape(prior: TimePrior, z: Array) -> TimeShapes:
    """Return the single shape that lies ``z`` standard deviations from the mean, ``z`` of (2,)."""
    return _time_shapes(prior, z[:, None], np.ones(1))


def one_power_shape(prior: PowerPrior, z: Array) -> PowerShapes:
    """Return the single shape that lies ``z`` standard deviations from the mean, ``z`` of (3,)."""
    return _power_shapes(prior, z[:, None], np.ones(1))


def _time_shapes(prior: TimePrior, z: Array, weight: Array) -> TimeShapes:
    sharpness, turn = (
        each.mean + each.sd * of for each, of in zip(_of_time(prior), z, strict=True)
    )
    return TimeShapes(np.exp(np.clip(sharpness, 0.0, _MOST_LOG)), turn, weight)


def _power_shapes(prior: PowerPrior, z: Array, weight: Array) -> PowerShapes:
    knee, dynamic, turn = (
        each.mean + each.sd * of for each, of in zip(_of_power(prior), z, strict=True)
    )
    return PowerShapes(knee, np.clip(dynamic, *_SHARES), turn, weight)


def _of_time(prior: TimePrior) -> tuple[Normal, ...]:
    return prior.log_sharpness, prior.turn


def _of_power(prior: PowerPrior) -> tuple[Normal, ...]:
    return prior.knee, prior.dynamic, prior.turn


_MOST_LOG = 3.5
"""Sharper than e^3.5 is a corner already; far beyond, powers overflow."""

_SHARES = (0.05, 0.98)
"""No board is all static power or none, whatever a normal distribution says."""

_NODES = 5


def _nodes(count: int) -> tuple[Array, Array]:
    """Return Gauss-Hermite nodes of ``count`` standard normal numbers, (count, m), and weights."""
    points, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    z = np.stack([axis.ravel() for axis in np.meshgrid(*[points] * count, indexing="ij")])
    product = np.ones(1)
    for _ in range(count):
        product = np.outer(product, weights / weights.sum()).ravel()
    return z, product


def _columns(ndim: int, *values: Array) -> tuple[Array, ...]:
    return tuple(value.reshape(-1, *[1] * ndim) for value in values)
