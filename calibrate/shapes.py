"""What the clock does below a measured range, learnt from public GPUs and checked on each.

In: series of public measurements over wide ranges of clocks. Out: the prior of shapes that
:mod:`model.clock_shape` ships; and how often clocks that were left out lie within the interval that
the other GPUs lead one to expect.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from calibrate.public_clocks import ClockSeries
from model.clock_shape import (
    Normal,
    PowerPrior,
    PowerShapes,
    ShapePrior,
    Shapes,
    TimePrior,
    TimeShapes,
    power_shapes,
    time_shapes,
)
from model.extension import edge_elasticity, extended_sd, extended_value
from model.fitted import FittedForm, lower_root
from model.fitting import Series, fit_best
from model.forms import POWER_FORMS, TIME_FORMS
from model.shape import Inputs
from model.work import Array, Phase, Work
from phasewatt.errors import BadTable

TOP_SHARE = 0.7
"""Clocks from this share of a series' highest on count as measured; the rest are left out."""

FEWEST = 3
"""So many clocks count as measured at least: fewer tell no slope with an error."""

COMMAND = "calibrate shapes -o model/public/clock-shapes.json"


@dataclass(frozen=True)
class LeftOut:
    """How well the clocks that were left out of one series are predicted.

    Attributes:
        gpu, name: which series.
        measured_mhz: the clocks that were fitted, lowest and highest.
        lowest_mhz: the lowest clock that was left out.
        points: how many were.
        time_inside, power_inside: shares of them within the 95% interval.
        time_off, power_off: mean absolute errors of the predicted values, as fractions.
        time_half, power_half: half-widths of the interval at the lowest clock, as fractions.
    """

    gpu: str
    name: str
    measured_mhz: tuple[float, float]
    lowest_mhz: float
    points: int
    time_inside: float
    power_inside: float
    time_off: float
    power_off: float
    time_half: float
    power_half: float


def derive(series: Sequence[ClockSeries]) -> ShapePrior:
    """Return the prior that ``series`` lead to; every kind of GPU counts alike.

    Mean and spread of each parameter are those that make the clocks left out most likely (empirical
    Bayes, by expectation and maximisation over a grid); the spread has a belief of its own, and is
    widened by what a mean of so few GPUs leaves open.

    Raises:
        BadTable: a series has too few clocks, or all are of one kind of GPU.
    """
    _require_enough(series)
    return _derive([_split(one) for one in series])


def leave_out(series: Sequence[ClockSeries]) -> tuple[LeftOut, ...]:
    """Predict the clocks below :data:`TOP_SHARE` of every series from those above.

    The prior is that of all other kinds of GPU.

    Raises:
        BadTable: a series has too few clocks, or there are fewer than three kinds of GPU.
    """
    _require_enough(series, kinds=3)
    parts = [_split(one) for one in series]
    found = []
    for gpu in dict.fromkeys(one.gpu for one in series):
        prior = _derive([part for part in parts if part.series.gpu != gpu])
        found += [_left_out(part, prior) for part in parts if part.series.gpu == gpu]
    return tuple(found)


def _derive(parts: "Sequence[_Split]") -> ShapePrior:
    times, powers = ([_tail(part, what) for part in parts] for what in ("time", "power"))
    gpus = [part.series.gpu for part in parts]
    sharpness, turn = _learn(times, gpus, _TIME_GRID, _time_of)
    knee, dynamic, power_turn = _learn(powers, gpus, _POWER_GRID, _power_of)
    return ShapePrior(
        time=TimePrior(sharpness, turn),
        power=PowerPrior(knee, dynamic, power_turn),
        gpus=tuple(dict.fromkeys(gpus)),
        series=len(parts),
        command=COMMAND,
    )


def _require_enough(series: Sequence[ClockSeries], kinds: int = 2) -> None:
    for one in series:
        if one.sm_mhz.size <= FEWEST:
            found = f"{one.sm_mhz.size} clock{'s' * (one.sm_mhz.size > 1)}"
            raise BadTable(f"{one.gpu} {one.name}: found {found}; expected at least {FEWEST + 1}")
    gpus = {one.gpu for one in series}
    if len(gpus) < kinds:
        raise BadTable(
            f"found {', '.join(sorted(gpus))}; expected at least {kinds} kinds of GPU, each "
            "checked against the others"
        )


@dataclass(frozen=True, eq=False)
class _Split:
    """A series with forms fitted to its highest clocks."""

    series: ClockSeries
    edge_mhz: float
    time: FittedForm
    power: FittedForm


@dataclass(frozen=True, eq=False)
class _Tail:
    """Clocks below an edge: ``y`` relative to it, log of the value over that at the edge."""

    elasticity: float
    edge: float
    y: Array
    log_factor: Array
    sd: float
    level_sd: float
    elasticity_sd: float


def _split(series: ClockSeries) -> _Split:
    lowest_mhz = min(TOP_SHARE * series.sm_mhz[-1], series.sm_mhz[-FEWEST])
    top = series.sm_mhz >= lowest_mhz
    forms = []
    for known, target in ((_TIME_FORMS, series.time_s), (_POWER_FORMS, series.power_w)):
        work = Work.decode(np.ones(int(top.sum())), 1.0)
        forms.append(fit_best(known, Series(Phase.DECODE, series.sm_mhz[top], work, target[top])))
    return _Split(series, float(series.sm_mhz[top].min()), *forms)


def _tail(part: _Split, what: str) -> _Tail:
    form = part.time if what == "time" else part.power
    target = part.series.time_s if what == "time" else part.series.power_w
    below = part.series.sm_mhz < part.edge_mhz
    at_edge = _inputs(np.array([part.edge_mhz]), form)
    return _Tail(
        elasticity=float(edge_elasticity(form, form.theta, at_edge, part.edge_mhz)[0]),
        edge=part.edge_mhz / form.reference_mhz,
        y=part.series.sm_mhz[below] / part.edge_mhz,
        log_factor=np.log(target[below] / form.value(at_edge)),
        sd=max(form.residual_sd, _LEAST_SD),
        level_sd=float(form.relative_sd(at_edge)[0]),
        elasticity_sd=_elasticity_sd(form, at_edge, part.edge_mhz),
    )


def _elasticity_sd(form: FittedForm, at_edge: Inputs, edge_mhz: float) -> float:
    root = lower_root(form.covariance_matrix)
    here = edge_elasticity(form, form.theta, at_edge, edge_mhz)
    moved = [
        edge_elasticity(form, form.theta + error, at_edge, edge_mhz) - here for error in root.T
    ]
    return float(np.sqrt(np.sum(np.square(moved))))


def _inputs(sm_mhz: Array, form: FittedForm) -> Inputs:
    work = Work.decode(np.ones_like(sm_mhz), 1.0)
    return Inputs(sm_mhz / form.reference_mhz, work, Phase.DECODE, form.constants)


_TIME_FORMS = tuple(form for form in TIME_FORMS if form.name in ("a+b/f", "p-norm"))
_POWER_FORMS = tuple(form for form in POWER_FORMS if form.name in ("linear", "cubic", "power-law"))
"""What so narrow a range of clocks may tell; richer forms find knees in its noise."""

_LEAST_SD = 0.02
"""No shape describes public figures better than this, however well a few of them agree."""

_COUNTED = 8
"""Neighbouring clocks err alike: a series counts as no more points than this."""

_ROUNDS = 30

_BELIEVED_SD, _BELIEVED_GPUS = 1 / 6, 2
"""Before any series is seen, parameters are taken to spread by a sixth of their range, as strongly
as if this many kinds of GPU had shown it: so few cannot show that all are alike."""

_TIME_GRID = (np.linspace(0.0, 3.5, 36), np.linspace(-0.6, 0.6, 41))
_POWER_GRID = (
    np.linspace(0.2, 1.05, 18),
    np.linspace(0.05, 0.95, 19),
    np.linspace(-1.0, 1.0, 41),
)
"""Where parameters are looked for, in the order of the prior."""


def _time_of(grid: Sequence[Array]) -> Shapes:
    sharpness, turn = grid
    return TimeShapes(np.exp(sharpness), turn, np.ones_like(turn))


def _power_of(grid: Sequence[Array]) -> Shapes:
    knee, dynamic, turn = grid
    return PowerShapes(knee, dynamic, turn, np.ones_like(turn))


def _learn(
    tails: Sequence[_Tail],
    gpus: Sequence[str],
    axes: Sequence[Array],
    shapes_of: Callable[[Sequence[Array]], Shapes],
) -> tuple[Normal, ...]:
    """Return mean and spread of each parameter.

    The mean of the last, the turn, is taken for 0: a curve turns by chance at an edge of its
    measured clocks, not by nature.
    """
    grid = [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]
    shapes = shapes_of(grid)
    evidence = [_evidence(tail, shapes, axes[-1]) for tail in tails]
    kinds = len(set(gpus))
    share = np.array([1 / gpus.count(gpu) for gpu in gpus]) / kinds
    believed = np.array([_BELIEVED_SD * np.ptp(axis) for axis in axes])
    mean, sd = np.array([axis.mean() for axis in axes]), 2 * believed
    mean[-1] = 0.0
    for _ in range(_ROUNDS):
        deviates = [(g - m) / s for g, m, s in zip(grid, mean, sd, strict=True)]
        prior = -0.5 * np.sum(np.square(deviates), axis=0)
        pooled = share @ np.stack([_normalised(prior + one) for one in evidence])
        mean = np.array([pooled @ values for values in grid])
        mean[-1] = 0.0
        second = np.array([pooled @ (g - m) ** 2 for g, m in zip(grid, mean, strict=True)])
        sd = np.sqrt((kinds * second + _BELIEVED_GPUS * believed**2) / (kinds + _BELIEVED_GPUS))
    sd = sd * np.sqrt((kinds + 1) / kinds)
    return tuple(Normal(_rounded(m), _rounded(s)) for m, s in zip(mean, sd, strict=True))


def _evidence(tail: _Tail, shapes: Shapes, turns: Array) -> Array:
    """Return the log of how likely each shape makes the tail.

    What the fit does not know of the elasticity above the edge is no turn: it blurs what the tail
    says of the turn, the last axis of the grid.
    """
    likelihood = _normalised(_log_likelihood(tail, shapes)).reshape(-1, turns.size)
    sd = max(tail.elasticity_sd, 1e-3 * float(np.ptp(turns)))
    blur = np.exp(-0.5 * ((turns[:, None] - turns) / sd) ** 2)
    blurred = likelihood @ (blur / blur.sum(axis=0)).T
    return np.asarray(np.log(np.maximum(blurred, 1e-300)).ravel())


def _log_likelihood(tail: _Tail, shapes: Shapes) -> Array:
    expected = shapes.log_factor(np.full_like(tail.y, tail.elasticity), tail.edge, tail.y)
    off = tail.log_factor - expected
    count = tail.y.size
    # The level at the edge is shared by all points, and is not known exactly either.
    shared = tail.level_sd**2 / (tail.sd**2 + count * tail.level_sd**2)
    squares = (np.sum(off**2, axis=1) - shared * np.sum(off, axis=1) ** 2) / tail.sd**2
    return np.asarray(-0.5 * squares * min(1.0, _COUNTED / count))


def _normalised(log_weight: Array) -> Array:
    weight = np.exp(log_weight - log_weight.max())
    return np.asarray(weight / weight.sum())


def _left_out(part: _Split, prior: ShapePrior) -> LeftOut:
    below = part.series.sm_mhz < part.edge_mhz
    sm_mhz = part.series.sm_mhz[below]
    inside, off, half = [], [], []
    for form, shapes, target in (
        (part.time, time_shapes(prior.time), part.series.time_s[below]),
        (part.power, power_shapes(prior.power), part.series.power_w[below]),
    ):
        at = _inputs(sm_mhz, form)
        value = extended_value(form, at, part.edge_mhz, shapes)
        sd = np.hypot(extended_sd(form, at, part.edge_mhz, shapes), form.residual_sd)
        reach = form.reach(0.95) * sd
        miss = np.abs(np.log(target / value))
        inside.append(float(np.mean(miss <= reach)))
        off.append(float(np.mean(np.abs(value / target - 1))))
        half.append(float(np.expm1(reach[np.argmin(sm_mhz)])))
    return LeftOut(
        part.series.gpu,
        part.series.name,
        (part.edge_mhz, float(part.series.sm_mhz.max())),
        float(sm_mhz.min()),
        int(below.sum()),
        *inside,
        *off,
        *half,
    )


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
