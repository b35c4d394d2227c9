"""One fit across models, phases, batches, lengths and clocks, with coefficients that they share.

In: :class:`Rows`, measured steps stacked, and a :class:`Structure`: a form and who shares its
coefficients. Out: a :class:`Solution` with each group's coefficients and their joint covariance.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from model.robust import Estimate, Problem, approach, resolve, solve
from model.shape import Activity, Coefficient, Form, Inputs
from model.work import Array, Phase, Work

_STEP = 1e-6

LUCKY = 0.4
"""Few repeats may agree by luck: no row counts for more than those at this quantile of errors."""

ONE_CLOCK = 1.05
"""Clocks within this factor are one clock: they tell nothing of what the clock changes."""


class Sharing(StrEnum):
    """Which steps have the same coefficients."""

    ALL = "shared"
    ENGINE = "per engine"
    PHASE = "per phase"
    MODEL = "per model and phase"


@dataclass(frozen=True)
class Block:
    """One phase of one model in one engine, and what one unit of its work asks for."""

    model: str
    engine: str
    phase: Phase
    constants: dict[str, float]

    def group(self, sharing: Sharing) -> tuple[str, ...]:
        """Return the key that steps with the same coefficients have in common."""
        return {
            Sharing.ALL: (),
            Sharing.ENGINE: (self.engine,),
            Sharing.PHASE: (self.engine, self.phase),
            Sharing.MODEL: (self.engine, self.phase, self.model),
        }[sharing]


@dataclass(frozen=True)
class Rows:
    """Measured steps of several blocks as columns of shape (n,).

    Attributes:
        blocks: the blocks; ``block`` counts them from nought.
        block: which block each step belongs to.
        sm_mhz: SM clock.
        work: the steps.
        target: measured seconds or watts.
        error: relative standard error of the target; NaN where nobody told.
        activity: what keeps the GPU busy, for power.
        believed: what other measurements of the GPU tell of coefficients, by name: means and
            standard deviations.
    """

    blocks: tuple[Block, ...]
    block: NDArray[np.int64]
    sm_mhz: Array
    work: Work
    target: Array
    error: Array
    activity: Activity | None = None
    believed: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def configuration(self) -> NDArray[np.int64]:
        """Which steps are of one kind (block, batch, length), counted from nought; shape (n,)."""
        columns = [self.block, *(getattr(self.work, f.name) for f in fields(Work))]
        _, which = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
        return np.asarray(which.ravel(), dtype=np.int64)

    @property
    def clock_moved(self) -> bool:
        """Whether any kind of step ran at two clocks: else nothing tells what the clock does."""
        return self.clock_span > ONE_CLOCK

    @property
    def clock_span(self) -> float:
        """Highest over lowest clock of the kind of step that was seen over the widest range."""
        return float(np.max(self._clock_spans()))

    @property
    def kind_moved(self) -> NDArray[np.bool_]:
        """Whether the kind of each step ran at two clocks, shape (n,)."""
        return np.asarray(self._clock_spans()[self.configuration] > ONE_CLOCK)

    def _clock_spans(self) -> Array:
        """Return highest over lowest clock of each kind of step."""
        kind = self.configuration
        low, high = np.full(int(kind.max()) + 1, np.inf), np.zeros(int(kind.max()) + 1)
        np.minimum.at(low, kind, self.sm_mhz)
        np.maximum.at(high, kind, self.sm_mhz)
        return np.asarray(high / low)

    def inputs(self, reference_mhz: float) -> Inputs:
        """Return the steps as a form's inputs, with the constants of each step's block."""
        names = self.blocks[0].constants
        table = {name: np.array([b.constants[name] for b in self.blocks]) for name in names}
        constants = {name: column[self.block] for name, column in table.items()}
        # Forms that know parts read the phase from the work: a stack of steps has no single one.
        phase = self.blocks[0].phase
        clock = self.sm_mhz / reference_mhz
        return Inputs(clock, self.work, phase, constants, self.activity)

    def rows(self, chosen: NDArray[np.bool_]) -> "Rows":
        """Return the steps where the boolean array ``chosen`` is true."""
        activity = self.activity
        if activity is not None:
            activity = Activity(activity.memory[chosen], activity.compute[chosen])
        return replace(
            self,
            block=self.block[chosen],
            sm_mhz=self.sm_mhz[chosen],
            work=self.work.at(chosen),
            target=self.target[chosen],
            error=self.error[chosen],
            activity=activity,
        )


@dataclass(frozen=True)
class Structure:
    """A form, and which steps share its coefficients. Those of the GPU are shared by all."""

    form: Form
    sharing: Sharing

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"{self.form.name}, {self.sharing}"

    def index(self, blocks: Sequence[Block]) -> NDArray[np.int64]:
        """Return which of the joint numbers each coefficient of each block is, (blocks, k)."""
        numbers: dict[tuple[object, ...], int] = {}
        index = np.empty((len(blocks), len(self.form.coefficients)), dtype=np.int64)
        for row, block in enumerate(blocks):
            for column, coefficient in enumerate(self.form.coefficients):
                group = () if coefficient.of_gpu else block.group(self.sharing)
                index[row, column] = numbers.setdefault((column, group), len(numbers))
        return index


@dataclass(frozen=True)
class Solution:
    """A structure with the numbers that describe its rows.

    ``index`` says, for each block and coefficient, which of the joint numbers it is; shape
    (blocks, k). ``coefficients`` and ``covariance`` are those of one block.
    """

    structure: Structure
    rows: Rows
    reference_mhz: float
    index: NDArray[np.int64]
    estimate: Estimate

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(self.estimate.theta.size)

    def coefficients(self, block: int) -> Array:
        """Return the coefficients of ``block``, shape (k,)."""
        return _natural(self.structure.form, self.estimate.theta[self.index[block]])

    def covariance(self, block: int) -> Array:
        """Return the covariance of the coefficients of ``block``, shape (k, k)."""
        chosen = self.index[block]
        theta = self.estimate.theta[chosen]
        flags = _reciprocal(self.structure.form)
        slope = np.where(flags, -1 / np.where(flags, theta, 1.0) ** 2, 1.0)
        joint = self.estimate.covariance[np.ix_(chosen, chosen)]
        return np.asarray(joint * np.outer(slope, slope))

    def activity(self, block: int, work: Work) -> Activity:
        """Return what keeps the GPU busy in steps of ``block``, by its fitted time."""
        constants = self.rows.blocks[block].constants
        return self.structure.form.activity(tuple(self.coefficients(block)), constants, work)

    def residuals(self) -> Array:
        """Return the log of fitted over measured, shape (n,)."""
        return _problem(self.structure.form, self.rows, self.reference_mhz, self.index).residuals(
            self.estimate.theta
        )

    def without(self, held: NDArray[np.bool_]) -> Array:
        """Return the log of predicted over measured for the steps ``held`` out of the fit."""
        problem = _problem(self.structure.form, self.rows, self.reference_mhz, self.index)
        return problem.residuals(self.solved_with(~held))[held]

    def solved_with(self, kept: NDArray[np.bool_]) -> Array:
        """Return the joint numbers that the steps ``kept`` alone lead to, from the present ones."""
        problem = _problem(self.structure.form, self.rows, self.reference_mhz, self.index)
        return resolve(problem, self.estimate, kept)


def fit_structure(
    structure: Structure,
    rows: Rows,
    reference_mhz: float,
    start: Sequence[Array] = (),
) -> Solution:
    """Fit ``structure`` to ``rows``; ``start`` are coefficients to begin from, as (k,) arrays."""
    index = structure.index(rows.blocks)
    problem = _problem(structure.form, rows, reference_mhz, index)
    if any(c.of_gpu for c in structure.form.coefficients):
        theta = _approached(structure.form, rows, reference_mhz, index, start)
    else:
        # Groups that share nothing are found one by one: each has fewer ways to go astray.
        theta = np.empty(int(index.max()) + 1)
        for numbers in np.unique(index, axis=0):
            members = np.flatnonzero(np.all(index == numbers, axis=1))
            mine = rows.rows(np.isin(rows.block, members))
            alone = np.tile(np.arange(numbers.size), (len(index), 1))
            theta[numbers] = _approached(structure.form, mine, reference_mhz, alone, start)
    return Solution(structure, rows, reference_mhz, index, solve(problem, theta))


def _approached(
    form: Form, rows: Rows, reference_mhz: float, index: NDArray[np.int64], start: Sequence[Array]
) -> Array:
    """Return what the starts lead to; each group begins from the same coefficients."""
    starts = list(start) or form.starts(rows.target, rows.inputs(reference_mhz))
    joint = []
    for guess in starts:
        theta = np.empty(int(index.max()) + 1)
        theta[index] = _natural(form, np.asarray(guess, dtype=np.float64))
        joint.append(theta)
    return approach(_problem(form, rows, reference_mhz, index), joint)


def _problem(form: Form, rows: Rows, reference_mhz: float, index: NDArray[np.int64]) -> Problem:
    at = rows.inputs(reference_mhz)
    each = index[rows.block].T
    numbers, count = int(index.max()) + 1, rows.target.size
    lower, upper = np.empty(numbers), np.empty(numbers)
    low, high = _bounds(form)
    lower[index], upper[index] = low, high

    def logs(solved: Array) -> Array:
        values = form.evaluate(tuple(_natural(form, solved)), at)
        return np.asarray(np.log(np.maximum(values, 1e-300)))

    def residuals(theta: Array) -> Array:
        return np.asarray(logs(theta[each][:, None, :])[0] - np.log(rows.target))

    def jacobian(theta: Array) -> Array:
        solved = theta[each]
        step = _STEP * np.maximum(np.abs(solved), 1e-30)
        # Stay inside the bounds, where a form may not be defined beyond them.
        step_up = np.minimum(step, np.maximum(high[:, None] - solved, 0))
        step_down = np.minimum(step, np.maximum(solved - low[:, None], 0))
        bump = np.eye(len(form.coefficients))[:, :, None]
        up = logs(solved[:, None, :] + bump * step_up[:, None, :])
        down = logs(solved[:, None, :] - bump * step_down[:, None, :])
        slopes = (up - down) / (step_up + step_down)
        matrix = np.zeros((count, numbers))
        for numbers_of, slope in zip(each, slopes, strict=True):
            matrix[np.arange(count), numbers_of] += slope
        return matrix

    known = np.where(np.isfinite(rows.error), rows.error, 0.0)
    moved = rows.clock_moved
    pairs = [_assumed(c, rows.believed.get(c.name), moved) for c in form.coefficients]
    assumed_mean, assumed_sd = np.empty(numbers), np.empty(numbers)
    assumed_mean[index], assumed_sd[index] = np.array(pairs).T
    return Problem(
        residuals,
        jacobian,
        lower,
        upper,
        np.maximum(known, float(np.quantile(known, LUCKY))),
        rows.block,
        rows.configuration,
        assumed_mean,
        assumed_sd,
    )


def _assumed(
    of: Coefficient, believed: tuple[float, float] | None, moved: bool
) -> tuple[float, float]:
    """Return mean and standard deviation to take of what is solved for; inf where nothing is."""
    if believed is not None:
        mean, sd = believed
        return (1 / mean, sd / mean**2) if of.reciprocal else (mean, sd)
    if of.assumed is not None and (of.of_gpu or not moved):
        return of.assumed
    return 0.0, math.inf


def _reciprocal(form: Form) -> NDArray[np.bool_]:
    return np.array([c.reciprocal for c in form.coefficients])


def _natural(form: Form, solved: Array) -> Array:
    """Return coefficients from what is solved for: rates from their reciprocals. First axis: k."""
    flags = _reciprocal(form).reshape(-1, *[1] * (solved.ndim - 1))
    return np.asarray(np.where(flags, 1 / np.where(flags, solved, 1.0), solved))


def _bounds(form: Form) -> tuple[Array, Array]:
    lower = np.array([1 / c.upper if c.reciprocal else c.lower for c in form.coefficients])
    upper = np.array([1 / c.lower if c.reciprocal else c.upper for c in form.coefficients])
    return lower, upper
