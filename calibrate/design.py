"""Which cells a campaign measures, and in which order.

In: candidate cells, what the log holds, and the budget. Out: the next cell, always the same one for
the same seed and log: first a block that spreads over every series, then where curves are unsure.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibrate.bench import Engine, Point
from calibrate.clocks import POWER_CAP
from calibrate.log import Log, Measured, Skipped
from calibrate.measure import MeasurePlan
from calibrate.surrogate import spread, uncertainty, variance
from calibrate.sweep import Cell, corners, length, series
from model.work import Array, Phase

FIRST_SHARE = 0.6
"""Share of the budget that the first block may take; the rest goes where curves are unsure."""

FEWEST_PER_SERIES = 14
"""Fewest cells of a series in the first block: its corners at both ends of the clock, and the
clocks between them."""

START_S = 30.0
"""Time for warming up and for the idle windows of a campaign."""

LOAD_S = 5.0
PREPARE_S = 1.0
"""Times to load a model with random weights and to prepare a point, until the log tells how long
they take; on an H100 both together took 1.3 to 3.3 s for 8B, and a point 0.0 to 1.6 s (November
2026)."""

SeriesKey = tuple[str, Engine, Phase]


@dataclass(frozen=True)
class Design:
    """Cells to choose from, and the first block in the order in which it is measured.

    ``fewest`` is how many cells of each series it holds at least, where there are so many.
    """

    cells: tuple[Cell, ...]
    first: tuple[Cell, ...]
    budget_s: float
    plan: MeasurePlan
    fewest: int

    @property
    def first_time_s(self) -> float:
        """Estimated time of the first block, on the clock of the measurement."""
        loads = len({(cell.point.model, cell.point.engine) for cell in self.first})
        return START_S + len(self.first) * repeat_s(self.plan) + loads * LOAD_S


def plan_design(
    cells: Sequence[Cell],
    budget_s: float,
    plan: MeasurePlan,
    rng: np.random.Generator,
    fewest: int = FEWEST_PER_SERIES,
) -> Design:
    """Return the design over ``cells`` for a budget.

    The first block holds each series' corners at both ends of the clock, every clock at least once,
    then the cells that tell most about the rest. Models and engines follow each other in blocks,
    points in random order in them, and clocks in random order at each point.
    """
    groups = _by_series(cells)
    each_s = repeat_s(plan)
    affordable = int(FIRST_SHARE * budget_s / each_s / len(groups))
    count = max(affordable, fewest)
    chosen = [cell for group in groups.values() for cell in _first_of(group, count)]
    return Design(tuple(cells), tuple(_shuffled(chosen, rng)), budget_s, plan, fewest)


def next_cell(design: Design, log: Log) -> Cell | None:
    """Return what to measure next, or None when the budget is spent or nothing is left.

    The first block is measured whole even if it lasts longer than was thought, and what it loses to
    points that did not fit or could not be steered is replaced: less of it could not be fitted.
    """
    known = _Known.of(log)
    for cell in design.first:
        if known.leaves(cell):
            return cell
    left = [cell for cell in design.cells if known.leaves(cell)]
    keys = {series(cell.point) for cell in left}
    wanting = {key for key in keys if _falls_short(key, design, log)}
    short = [cell for cell in left if series(cell.point) in wanting]
    left = short or left
    cost_s = np.array([known.cost_s(cell, design.plan) for cell in left])
    within = np.full(len(left), bool(short)) | (cost_s <= design.budget_s - log.spent_s)
    if not np.any(within):
        return None
    gain = np.where(within, _uncertainties(left, design, log) / cost_s, -1.0)
    return left[int(np.argmax(gain))]


def repeat_s(plan: MeasurePlan) -> float:
    """Return the time of one cell that needs no more than the fewest repeats."""
    return plan.min_repeats * (plan.settle_s + plan.window_s) + PREPARE_S


def _falls_short(key: SeriesKey, design: Design, log: Log) -> bool:
    """Return whether a series has fewer points than the smallest first block gives it."""
    planned = sum(series(cell.point) == key for cell in design.first)
    measured = sum(series(record.cell.point) == key for record in log.measured)
    return measured < min(planned, design.fewest)


def _first_of(group: Sequence[Cell], count: int) -> list[Cell]:
    """Return ``count`` cells of one series: corners at both ends of the clock, each clock, others.

    Each is the one that tells most beside those taken before.
    """
    settings, places = _settings(group), _places(group)
    extreme = set(corners([cell.point for cell in group]))
    ends = (settings.min(), settings.max())
    taken = [
        index
        for index, cell in enumerate(group)
        if cell.point in extreme and settings[index] in ends
    ]
    for setting in np.unique(settings):
        if setting not in ends:
            there = np.flatnonzero(settings == setting)
            taken.append(int(there[spread(places[taken], places[there], 1)[0]]))
    left = np.setdiff1d(np.arange(len(group)), taken)
    more = spread(places[taken], places[left], max(count - len(taken), 0))
    return [group[index] for index in (*taken, *left[more])]


def _shuffled(cells: Sequence[Cell], rng: np.random.Generator) -> list[Cell]:
    blocks: dict[tuple[str, str], dict[object, list[Cell]]] = {}
    for cell in cells:
        block = blocks.setdefault((cell.point.model, cell.point.engine), {})
        block.setdefault(cell.point, []).append(cell)
    ordered: list[Cell] = []
    for block in blocks.values():
        points = list(block.values())
        for index in rng.permutation(len(points)):
            ordered.extend(points[index][i] for i in rng.permutation(len(points[index])))
    return ordered


def _uncertainties(left: Sequence[Cell], design: Design, log: Log) -> Array:
    """Return the relative uncertainty that is expected at each cell of ``left``."""
    expected = np.zeros(len(left))
    for key, group in _by_series(design.cells).items():
        indices = [i for i, cell in enumerate(left) if series(cell.point) == key]
        records = [record for record in log.measured if series(record.cell.point) == key]
        known = [_achieved(record) for record in records]
        if not indices:
            continue
        places = _places([*group, *known, *(left[i] for i in indices)])
        there, here = places[len(group) : len(group) + len(known)], places[-len(indices) :]
        if len(known) < 3:
            expected[indices] = variance(there, here)
        else:
            logs = np.array([_values(record) for record in records])
            expected[indices] = uncertainty(there, logs, here)
    return expected


def _achieved(record: Measured) -> Cell:
    """Return the record's cell, where a clock was locked at the clock that was achieved."""
    if record.cell.sm_mhz is None:
        return record.cell
    return replace(record.cell, sm_mhz=round(record.measurement.sm_mhz))


def _values(record: Measured) -> tuple[float, float]:
    found = record.measurement
    return float(np.log(found.time_s.value)), float(np.log(found.power_w.value))


@dataclass(frozen=True)
class _Known:
    """What a log says about cells that it does not hold.

    Attributes:
        done: the cells that were measured or skipped.
        skips: what was skipped, of each series.
        held_mhz: the lowest clock at which the power limit held each point.
        times_s: how long the cells of each series took.
        loaded: model and engine that ran last.
    """

    done: frozenset[Cell]
    skips: Mapping[SeriesKey, list[Skipped]]
    held_mhz: Mapping[Point, float]
    times_s: Mapping[SeriesKey, list[float]]
    loaded: tuple[str, Engine] | None

    @staticmethod
    def of(log: Log) -> "_Known":
        """Return what ``log`` says."""
        measured, skipped = log.measured, log.skipped
        skips: dict[SeriesKey, list[Skipped]] = {}
        held_mhz: dict[Point, float] = {}
        times_s: dict[SeriesKey, list[float]] = {}
        for skip in skipped:
            skips.setdefault(series(skip.cell.point), []).append(skip)
        for record in measured:
            point, found = record.cell.point, record.measurement
            lasted_s = record.moments.ended_s - found.started_s
            times_s.setdefault(series(point), []).append(lasted_s)
            if found.clock is not None and found.clock.reason == POWER_CAP:
                held_mhz[point] = min(found.sm_mhz, held_mhz.get(point, math.inf))
        done = frozenset(record.cell for record in measured) | {skip.cell for skip in skipped}
        loaded = None
        if measured:
            loaded = (measured[-1].cell.point.model, measured[-1].cell.point.engine)
        return _Known(done, skips, held_mhz, times_s, loaded)

    def leaves(self, cell: Cell) -> bool:
        """Return whether measuring ``cell`` may tell something new.

        It does not if it was done, if a point no larger did not fit or was too long to steer, or
        if the power limit held the same point below this clock already.
        """
        point = cell.point
        if cell in self.done:
            return False
        if cell.sm_mhz is not None and cell.sm_mhz > self.held_mhz.get(point, math.inf):
            return False
        return not any(
            point.batch >= skip.cell.point.batch
            and length(point) >= length(skip.cell.point)
            and (skip.cause == "memory" or cell.gemm_ratio > 0)
            for skip in self.skips.get(series(point), ())
        )

    def cost_s(self, cell: Cell, plan: MeasurePlan) -> float:
        """Return the time that measuring ``cell`` next would take."""
        seen = self.times_s.get(series(cell.point))
        load_s = LOAD_S * (self.loaded != (cell.point.model, cell.point.engine))
        return (float(np.mean(seen)) if seen else repeat_s(plan)) + load_s


def _by_series(cells: Iterable[Cell]) -> dict[SeriesKey, list[Cell]]:
    groups: dict[SeriesKey, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(series(cell.point), []).append(cell)
    return groups


def _settings(cells: Sequence[Cell]) -> Array:
    """Return how far below the governor's own clock each cell is set, (n,); 0 is not at all.

    A locked clock counts against the highest one, GEMMs by the share of time that they take.
    """
    top_mhz = max((cell.sm_mhz or 0) for cell in cells)
    return np.array(
        [
            -cell.gemm_ratio / (1 + cell.gemm_ratio)
            if cell.sm_mhz is None
            else cell.sm_mhz / top_mhz - 1
            for cell in cells
        ]
    )


def _places(cells: Sequence[Cell]) -> Array:
    """Return batch, length and clock of cells of one series in the unit cube, (n, 3)."""
    sizes = np.log([(cell.point.batch, length(cell.point)) for cell in cells])
    raw = np.column_stack([sizes, _settings(cells)])
    span = np.ptp(raw, axis=0)
    return np.asarray((raw - raw.min(axis=0)) / np.where(span > 0, span, 1.0))
