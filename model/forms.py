"""The shapes that time and power take against the SM clock, each with a physical reading.

In: coefficients, relative clock, work. Out: seconds or watts. The forms and the bounds that keep
them physical (time falls and power rises with the clock) are those found to hold on public GPU
data; which one describes a series is decided by hold-out error in :mod:`model.fitting`.
"""

from collections.abc import Callable, Mapping

import numpy as np

from model.activity import ACTIVITY_FORMS
from model.roofline import ROOFLINE_FORMS
from model.shape import Coefficient, Coefficients, Form, Inputs
from model.work import Array

__all__ = ["FORMS", "POWER_FORMS", "TIME_FORMS", "Coefficient", "Form", "Inputs"]


def _hyperbolic(c: Coefficients, at: Inputs) -> Array:
    a, b = c
    return at.units * (a + b / at.clock)


def _inverse(c: Coefficients, at: Inputs) -> Array:
    (b,) = c
    return at.units * b / at.clock


def _inverse_power(c: Coefficients, at: Inputs) -> Array:
    a, b, k = c
    return np.asarray(at.units * (a + b * at.clock**-k))


def _p_norm(c: Coefficients, at: Inputs) -> Array:
    a, b, p = c
    slow = b / at.clock
    largest = np.maximum(a, slow)
    total = ((a / largest) ** p + (slow / largest) ** p) ** (1 / p)
    return at.units * largest * total


def _linear_power(c: Coefficients, at: Inputs) -> Array:
    p0, dynamic = c
    return p0 + dynamic * at.clock


def _cubic_power(c: Coefficients, at: Inputs) -> Array:
    p0, dynamic = c
    return p0 + dynamic * at.clock**3


def _power_law(c: Coefficients, at: Inputs) -> Array:
    p0, dynamic, k = c
    return np.asarray(p0 + dynamic * at.clock**k)


def _voltage_knee(c: Coefficients, at: Inputs) -> Array:
    p0, dynamic, knee, slope = c
    voltage = 1 + slope * np.maximum(at.clock - knee, 0)
    return p0 + dynamic * at.clock * voltage**2


def _voltage_bend(c: Coefficients, at: Inputs) -> Array:
    p0, dynamic, knee, bend = c
    voltage = 1 + bend * np.maximum(at.clock - knee, 0) ** 2
    return np.asarray(p0 + dynamic * at.clock * voltage**2)


def _linear_and_power(c: Coefficients, at: Inputs) -> Array:
    p0, dynamic, steep, k = c
    return p0 + dynamic * at.clock + steep * at.clock**k


def _time_starts(*extra: float) -> Callable[[Array, Inputs], list[list[float]]]:
    def starts(target: Array, at: Inputs) -> list[list[float]]:
        fastest = float((target / at.units).min())
        shares = ((0.5, 0.5), (0.9, 0.1), (0.1, 0.9))
        return [[s * fastest, t * fastest, *e] for s, t in shares for e in _each(extra)]

    return starts


def _power_starts(*extra: float) -> Callable[[Array, Inputs], list[list[float]]]:
    def starts(target: Array, _at: Inputs) -> list[list[float]]:
        most, least = float(target.max()), float(target.min())
        span = max(most - least, 1e-3 * most)
        return [[max(least - span / 2, 0.1 * least), span, *e] for e in _each(extra)]

    return starts


def _knee_starts(target: Array, _at: Inputs) -> list[list[float]]:
    least = float(target.min())
    return [
        [share * least, (1 - share) * least, knee, slope]
        for share in (0.3, 0.6)
        for knee in (0.5, 0.65, 0.8, 0.9)
        for slope in (0.5, 2.0)
    ]


def _bend_starts(target: Array, at: Inputs) -> list[list[float]]:
    return [[*rest, 5 * slope] for *rest, slope in _knee_starts(target, at)]


def _linear_and_power_starts(target: Array, _at: Inputs) -> list[list[float]]:
    least = float(target.min())
    return [[0.5 * least, 0.4 * least, 0.3 * least, k] for k in (4.0, 8.0, 12.0)]


def _each(extra: tuple[float, ...]) -> list[list[float]]:
    return [[value] for value in extra] or [[]]


_STATIC_TIME = Coefficient("a_s", "s", 0.0, np.inf, "time that the SM clock does not change")
_CLOCKED_TIME = Coefficient("b_s", "s", 0.0, np.inf, "time that grows as the SM clock falls")
_STATIC_POWER = Coefficient("p0_w", "W", 0.0, np.inf, "power that the SM clock does not change")
_DYNAMIC_POWER = Coefficient("c_w", "W", 0.0, np.inf, "dynamic power at the reference clock")

TIME_FORMS: tuple[Form, ...] = (
    Form(
        "b/f",
        "T = u b/x",
        (_CLOCKED_TIME,),
        _inverse,
        lambda target, at: [[float(np.median(target / at.units * at.clock))]],
    ),
    Form("a+b/f", "T = u (a + b/x)", (_STATIC_TIME, _CLOCKED_TIME), _hyperbolic, _time_starts()),
    Form(
        "p-norm",
        "T = u (a^p + (b/x)^p)^(1/p)",
        (
            _STATIC_TIME,
            _CLOCKED_TIME,
            Coefficient("p", "1", 1.0, 12.0, "overlap of memory and compute time: 1 is none"),
        ),
        _p_norm,
        _time_starts(1.2, 3.0, 6.0),
    ),
    Form(
        "a+b/f^k",
        "T = u (a + b x^-k)",
        (_STATIC_TIME, _CLOCKED_TIME, Coefficient("k", "1", 0.5, 6.0, "sharpness of the knee")),
        _inverse_power,
        _time_starts(1.0, 2.0, 4.0),
    ),
)
"""Time of one step. u is the unit of work (tokens in prefill, 1 in decode), x = f / f_ref."""

POWER_FORMS: tuple[Form, ...] = (
    Form("linear", "P = P0 + c x", (_STATIC_POWER, _DYNAMIC_POWER), _linear_power, _power_starts()),
    Form("cubic", "P = P0 + c x^3", (_STATIC_POWER, _DYNAMIC_POWER), _cubic_power, _power_starts()),
    Form(
        "power-law",
        "P = P0 + c x^k",
        (_STATIC_POWER, _DYNAMIC_POWER, Coefficient("k", "1", 1.0, 9.0, "steepness")),
        _power_law,
        _power_starts(2.0, 4.0, 6.0),
    ),
    Form(
        "voltage-knee",
        "P = P0 + c x V^2, V = 1 + s max(0, x - x_k)",
        (
            _STATIC_POWER,
            _DYNAMIC_POWER,
            Coefficient("knee", "f_ref", 0.2, 1.0, "relative clock above which voltage rises"),
            Coefficient("slope", "1/f_ref", 0.0, 12.0, "rise of relative voltage above the knee"),
        ),
        _voltage_knee,
        _knee_starts,
    ),
    Form(
        "linear+power",
        "P = P0 + c x + d x^k",
        (
            _STATIC_POWER,
            Coefficient("c_w", "W", 0.0, np.inf, "power that is linear in the clock"),
            Coefficient("d_w", "W", 0.0, np.inf, "power added at the reference clock by voltage"),
            Coefficient("k", "1", 1.0, 20.0, "steepness of that part"),
        ),
        _linear_and_power,
        _linear_and_power_starts,
    ),
    Form(
        "voltage-bend",
        "P = P0 + c x V^2, V = 1 + s max(0, x - x_k)^2",
        (
            _STATIC_POWER,
            _DYNAMIC_POWER,
            Coefficient("knee", "f_ref", 0.2, 1.0, "relative clock above which voltage rises"),
            Coefficient("bend", "1/f_ref^2", 0.0, 200.0, "how fast it rises"),
        ),
        _voltage_bend,
        _bend_starts,
    ),
)
"""Power while a step runs; x = f / f_ref, V is voltage relative to its floor."""

FORMS: Mapping[str, Form] = {
    form.name: form for form in (*TIME_FORMS, *POWER_FORMS, *ROOFLINE_FORMS, *ACTIVITY_FORMS)
}
"""Every form that a calibration may name."""
