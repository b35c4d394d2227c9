"""Choose the structure that predicts configurations and clocks that its fit did not see.

In: :class:`model.structured.Rows` and candidates. Out: a :class:`Choice`: the solution, what each
row's hold-out prediction missed, every candidate's error; and from it each block's fitted form.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.diagnostics import diagnose
from model.fitted import FitErrors, FittedForm
from model.roofline import EXTRA_AMOUNTS, ROOFLINES, Roofline
from model.structured import LUCKY, ONE_CLOCK, Rows, Sharing, Solution, Structure, fit_structure
from model.work import Array
from phasewatt.errors import BadTable

FOLDS = 5
"""Configurations are held out in so many parts in turn, and so are clocks."""

SIMPLER_WITHIN = 1.05
"""A structure with fewer numbers is kept when its hold-out error is within 5% of the best.

So is one that errs more by no more than a standard error of the difference (Breiman and others,
Classification and Regression Trees, 1984): so many points cannot tell the two.
"""

_BEYOND_DOUBT = 2.0
"""Coefficients are the engine's until finer ones predict better by this many standard errors of
the difference: numbers of each model's own describe it well and say nothing of the next."""

_GOOD_ENOUGH = 0.03
"""Steps of both phases share their coefficients where they predict as well as this: a step that is
prefill and decode at once then follows from one structure, not from an assumption between two."""

_TOLD = 1.0
"""An extra term is shown by a coefficient of more than this many times its standard error."""

_NOISE_ENOUGH = 1.6
"""A hold-out error this close to the measurements' own error leaves nothing to be won."""

_OUTLIER = 10.0
"""An error counts at most this many times the median error of the best candidate."""


@dataclass(frozen=True)
class Choice:
    """The chosen structure, solved.

    Attributes:
        solution: its numbers.
        held_error: mean absolute relative error of each row's hold-out predictions, (n,).
        candidates: hold-out MAPE of every structure that was in the running, by name; those that
            describe rows they have seen worse than others predict unseen rows were not.
    """

    solution: Solution
    held_error: Array
    candidates: dict[str, float]


def holdout(solution: Solution) -> Array:
    """Return, for each row, the mean absolute relative error of predicting it unseen, (n,).

    Every row is predicted with a fifth of all configurations held out, its own among them; those of
    kinds of step that ran at several clocks once more, with a fifth of all their clocks held out.
    The others' clocks differ by what they ask for: to hold some out would be to hold out loads.
    """
    rows = solution.rows
    total, times = np.zeros(rows.target.size), np.zeros(rows.target.size)
    every = np.ones(rows.target.size, dtype=np.bool_)
    for parts, told in (
        (rows.configuration % FOLDS, every),
        (_clock_parts(rows.sm_mhz), rows.kind_moved),
    ):
        for part in np.unique(parts[told]):
            held = (parts == part) & told
            total[held] += np.abs(np.expm1(solution.without(held)))
            times[held] += 1
    return np.asarray(total / times)


def fitted(choice: Choice, block: int) -> FittedForm:
    """Return the chosen form with the coefficients of ``block``, and how well it does there."""
    solution, rows = choice.solution, choice.solution.rows
    form, estimate = solution.structure.form, solution.estimate
    mine = rows.block == block
    residuals = solution.residuals()[mine]
    weight, sd = estimate.weight[mine], estimate.sd[mine]
    misfit = float(np.sum(weight * (residuals / sd) ** 2) / max(float(weight.sum()), 1.0))
    errors = np.expm1(residuals)
    return FittedForm(
        form=form.name,
        reference_mhz=solution.reference_mhz,
        coefficients=dict(
            zip(form.names, map(_rounded, solution.coefficients(block).tolist()), strict=True)
        ),
        covariance=tuple(tuple(map(_rounded, row)) for row in solution.covariance(block).tolist()),
        constants={} if form.needs_activity else dict(rows.blocks[block].constants),
        residual_sd=_rounded(float(np.median(sd)) * max(misfit, 1.0) ** 0.5),
        degrees_of_freedom=estimate.degrees_of_freedom,
        errors=FitErrors(
            points=int(mine.sum()),
            clocks=int(np.unique(rows.sm_mhz[mine]).size),
            fit_mape=_rounded(float(np.mean(np.abs(errors)))),
            worst=_rounded(float(np.max(np.abs(errors)))),
            holdout_mape=_rounded(float(np.mean(choice.held_error[mine]))),
            candidates={name: _rounded(e) for name, e in sorted(choice.candidates.items())},
        ),
        diagnostics=diagnose(residuals, rows.sm_mhz[mine] / solution.reference_mhz),
    )


_Tried = tuple[Solution, Array]
"""A solution and the hold-out error of each of its rows."""


class Field:
    """The candidates that were tried on one set of rows.

    Rows weigh by how well they were measured, so that the choice hangs on those that can tell.
    """

    def __init__(self, rows: Rows, reference_mhz: float) -> None:
        self._rows = rows
        self._kind = rows.configuration
        self._reference_mhz = reference_mhz
        self._attempted: set[tuple[str, bytes]] = set()
        self._tried: list[_Tried] = []
        self._knows_errors = bool(np.all(rows.error > 0))
        self._weight = np.ones(rows.target.size)
        if self._knows_errors:
            self._weight = 1 / np.maximum(rows.error, np.quantile(rows.error, LUCKY))

    def add(self, other: "Field") -> None:
        """Add what was tried on the same rows elsewhere."""
        self._attempted |= other._attempted
        self._tried += other._tried

    def best(self, candidates: Sequence[Roofline], sharing: Sharing) -> Roofline | None:
        """Return which of ``candidates`` leads among them; None where the rows determine none."""
        terms_of = {Structure(ROOFLINES[terms], sharing): terms for terms in candidates}
        for structure in terms_of:
            self.attempt(structure)
        mine = [one for one in self._tried if one[0].structure in terms_of]
        return terms_of[self._leader(mine)[0].structure] if mine else None

    def attempt(self, structure: Structure) -> None:
        """Fit ``structure``, and hold rows out if its numbers can be told apart and it may win."""
        index = structure.index(self._rows.blocks)
        key = (structure.form.name, index.tobytes())
        if key in self._attempted or int(index.max()) + 1 >= self._rows.target.size:
            return
        self._attempted.add(key)
        solution = fit_structure(structure, self._rows, self._reference_mhz)
        shown = _shows_floor(solution) and _shows_extras(solution) and _shows_split(solution)
        if solution.estimate.determined and shown and not self._is_beaten(solution):
            self._tried.append((solution, holdout(solution)))

    def noise_is_reached(self) -> bool:
        """Whether the leader errs hardly more than the measurements themselves."""
        if not self._tried or not self._knows_errors:
            return False
        # The mean absolute value of a normal number is 0.8 of its standard deviation.
        own = math.sqrt(2 / math.pi) * self._score(1 / self._weight, math.inf)
        held = self._leader(self._tried)[1]
        return self._score(held, float(np.median(held))) <= _NOISE_ENOUGH * own

    def choice(self, what: str) -> Choice:
        """Return the leader."""
        if not self._tried:
            raise BadTable(f"{what}: the points are too few or too alike to tell any terms apart")
        solution, held_error = self._leader(self._tried)
        errors = {s.structure.name: float(np.mean(held)) for s, held in self._tried}
        return Choice(solution, held_error, errors)

    def _is_beaten(self, solution: Solution) -> bool:
        """Whether it errs more on rows that it has seen than the leader on rows that it has not."""
        if not self._tried:
            return False
        held = self._leader(self._tried)[1]
        seen = np.abs(np.expm1(solution.residuals()))
        typical = float(np.median(held))
        return self._score(seen, typical) > SIMPLER_WITHIN * self._score(held, typical)

    def _leader(self, tried: Sequence[_Tried]) -> _Tried:
        """Return the best of those that share most, or of finer ones that are clearly better."""
        typical = min(float(np.median(held)) for _, held in tried)
        led = [self._simplest(alike, typical) for alike in _by_sharing(tried)]
        leader = led[0]
        if float(np.mean(leader[1])) <= _GOOD_ENOUGH:
            return leader
        for finer in led[1:]:
            gain = self._score(leader[1], typical) - self._score(finer[1], typical)
            if gain > _BEYOND_DOUBT * self._doubt(leader[1], finer[1], typical):
                leader = finer
        return leader

    def _simplest(self, tried: Sequence[_Tried], typical: float) -> _Tried:
        """Return the simplest of those whose error is close to the least."""
        scores = [self._score(held, typical) for _, held in tried]
        best = int(np.argmin(scores))
        close = [
            i
            for i, score in enumerate(scores)
            if score <= SIMPLER_WITHIN * scores[best]
            or score - scores[best] <= self._doubt(tried[i][1], tried[best][1], typical)
        ]
        return tried[min(close, key=lambda i: (tried[i][0].size, scores[i]))]

    def _doubt(self, errors: Array, best: Array, typical: float) -> float:
        """Return the standard error of how much larger ``errors`` are, by kinds of step."""
        most = _OUTLIER * typical
        larger = np.minimum(errors, most) - np.minimum(best, most)
        larger = self._weight * (larger - np.average(larger, weights=self._weight))
        sums = np.bincount(self._kind, weights=larger)
        kinds = max(np.unique(self._kind).size, 2)
        variance = float(sums @ sums) * kinds / (kinds - 1)
        return math.sqrt(variance) / float(self._weight.sum())

    def _score(self, errors: Array, typical: float) -> float:
        counted = np.minimum(errors, _OUTLIER * typical)
        return float(np.average(counted, weights=self._weight))


def _shows_floor(solution: Solution) -> bool:
    """Whether clocks lie on both sides of the knee, where there is one: else it is invented.

    So is one that no kind of step crossed, as each ran at one clock only.
    """
    names = solution.structure.form.names
    if "knee" not in names:
        return True
    if not solution.rows.clock_moved:
        return False
    clocks = solution.rows.sm_mhz / solution.reference_mhz
    knee = float(solution.coefficients(0)[names.index("knee")])
    highest = min(float(clocks.max()), 1.0)
    return bool(ONE_CLOCK * clocks.min() < knee < highest / ONE_CLOCK)


def _shows_extras(solution: Solution) -> bool:
    """Whether the rows tell each extra term's coefficient from nought, where steps ask for it."""
    estimate, rows = solution.estimate, solution.rows
    demand = rows.inputs(solution.reference_mhz).demand
    for column, name in enumerate(solution.structure.form.names):
        if name in EXTRA_AMOUNTS:
            asking = np.unique(rows.block[getattr(demand, EXTRA_AMOUNTS[name]) > 0])
            numbers = np.unique(solution.index[asking, column])
            sd = np.sqrt(np.diag(estimate.covariance)[numbers])
            told = estimate.free[numbers] & (_TOLD * sd < np.abs(estimate.theta[numbers]))
            if not numbers.size or not np.all(told):
                return False
    return True


def _shows_split(solution: Solution) -> bool:
    """Whether the rows can tell what memory draws at any clock from what it draws by the clock.

    Memory that was only ever busy at one clock fits either: then all that is not the board's goes
    by the clock, as in every public series of decode (least energy lies below the highest clock).
    """
    rows = solution.rows
    if "memory_static_w" not in solution.structure.form.names:
        return True
    assert rows.activity is not None
    leads = rows.activity.memory > _LEAD * rows.activity.compute
    led = rows.rows(leads)
    return led.block.size > 0 and led.clock_span > _SPLIT_SPAN


_SPLIT_SPAN = 1.15
_LEAD = 4.0
"""A kind of step must have been seen at clocks that far apart, and keep memory busy for that many
times as long as arithmetic (assumed)."""


def _by_sharing(tried: Sequence[_Tried]) -> list[list[_Tried]]:
    """Part what was tried by who shares coefficients, from all steps to each model's."""
    kinds = [[one for one in tried if one[0].structure.sharing is kind] for kind in Sharing]
    return [kind for kind in kinds if kind]


def _clock_parts(sm_mhz: Array) -> NDArray[np.int64]:
    """Number clocks from low to high in parts of about as many rows each; equal clocks together."""
    ranks = np.searchsorted(np.sort(sm_mhz), sm_mhz)
    return np.asarray(ranks * FOLDS // sm_mhz.size, dtype=np.int64)


def _rounded(value: float) -> float:
    """Nine significant digits: far beyond the data, and the same bytes on every machine."""
    return float(f"{value:.9g}")
