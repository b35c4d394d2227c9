"""What of a sweep is worth choosing: means over repeats, and Pareto fronts among them.

In: a plan and its rows. Out: one choice per setting and policy, and in each circumstance those that
no other beats in both energy and a latency.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import scipy
from numpy.typing import NDArray

from model.work import Array
from phasewatt.errors import BadOption
from simulate.sweep.axes import CLOCKS, POLICY, Axis
from simulate.sweep.figures import LATENCIES, QUANTILES, SCHEMA
from simulate.sweep.plan import Plan, Point
from simulate.sweep.task import Row

DECIDED = frozenset(
    {
        POLICY,
        *CLOCKS,
        "calibration",
        "model",
        "engine",
        "group",
        "tensor-parallel",
        "replicas",
        "routing",
        "queue-limit",
        "autoscale",
        "sleep-after",
        "retries",
        "batching",
        "max-batched-tokens",
        "max-num-seqs",
        "kv-blocks",
        "priority",
        "prefix-cache",
        "min-dwell",
        "max-slowdown",
        "beyond-measured",
    }
)
"""Axes that someone may choose along. All others are circumstances: traffic, objectives, what is
assumed of the hardware. Energies of different circumstances do not compete."""

WEIGHED = tuple(f"{name}_{quantile}" for name in LATENCIES for quantile in QUANTILES)
"""What energy can be weighed against."""

ATTAINED = 0.99
"""The share of requests that must meet all objectives for a choice to count as the best."""

_NUMBERS = tuple(
    column.name
    for column in SCHEMA
    if (pa.types.is_floating(column.type) or pa.types.is_integer(column.type))
    and column.name != "sized_replicas"
)


@dataclass(frozen=True)
class Choice:
    """One policy at one setting, over all its repeats that could run.

    Attributes:
        points: its repeats.
        runs: rows of those that ran, in the same order; none if none did.
        means: the mean over ``runs`` of every column of numbers, None where any has none.
        saving_reach: half of the 95% interval of the mean saving over repeats; None of fewer than
            two.
        saturated, transferred: whether any of its runs is.
    """

    points: tuple[Point, ...]
    runs: tuple[Row, ...]
    means: dict[str, float | None]
    saving_reach: float | None
    saturated: bool
    transferred: bool

    @property
    def point(self) -> Point:
        """Its first repeat."""
        return self.points[0]

    def latency_s(self, latency: str) -> float:
        """Return the mean of ``latency``, one of :data:`WEIGHED`; inf where there is none."""
        mean = self.means.get(f"{latency}_s")
        return math.inf if mean is None else mean

    @property
    def attains(self) -> bool:
        """Whether there are objectives, and :data:`ATTAINED` of the requests meet them all."""
        met = self.means.get("slo_all")
        return met is not None and met >= ATTAINED

    @property
    def energy_j(self) -> float:
        """The mean energy; inf where nothing ran."""
        mean = self.means.get("energy_j")
        return math.inf if mean is None else mean


@dataclass(frozen=True)
class Circumstance:
    """All choices that compete, ``at`` one setting of the axes that nobody decides.

    ``marks`` are policies beside a grid of clocks; ``front`` those of ``choices`` that no other
    beats in energy and latency both, by ascending energy.
    """

    at: dict[str, Any]
    choices: tuple[Choice, ...]
    marks: tuple[Choice, ...]
    front: tuple[Choice, ...]

    @property
    def best(self) -> Choice | None:
        """The choice or mark of least energy that meets the objectives; None if none does.

        They are met where :data:`ATTAINED` of the requests meet all, on the mean over repeats.
        Without objectives nothing says how late is too late, and nothing is the best.
        """
        able = [each for each in (*self.marks, *self.choices) if each.attains]
        return min(able, key=lambda each: each.energy_j, default=None)


def circumstances_of(plan: Plan, rows: Sequence[Row], latency: str) -> tuple[Circumstance, ...]:
    """Return the choices of each circumstance of ``plan``, with their Pareto fronts.

    ``rows`` are those of its points; ``latency`` is one of :data:`WEIGHED`.
    """
    outer = [axis.column for axis in plan.axes if axis.name not in DECIDED]
    grouped: dict[tuple[Any, ...], list[Choice]] = {}
    for choice in _choices(plan, rows):
        at = choice.point.at
        grouped.setdefault(tuple(at[column] for column in outer), []).append(choice)
    found = []
    for values, all_choices in grouped.items():
        marks = [choice for choice in all_choices if choice.point.is_mark]
        choices = [choice for choice in all_choices if not choice.point.is_mark]
        energy_j = np.array([choice.energy_j for choice in choices])
        latency_s = np.array([choice.latency_s(latency) for choice in choices])
        front = [choices[i] for i in pareto(energy_j, latency_s).tolist()]
        at = dict(zip(outer, values, strict=True))
        found.append(Circumstance(at, tuple(choices), tuple(marks), tuple(front)))
    return tuple(found)


def require_weighed(latency: str) -> None:
    """Raise :class:`BadOption` unless ``latency`` is one of :data:`WEIGHED`."""
    if latency not in WEIGHED:
        raise BadOption(f"--latency: found {latency!r}; expected one of {', '.join(WEIGHED)}")


def decided(axes: Iterable[Axis]) -> list[Axis]:
    """Return those of ``axes`` that someone may choose along, but the policy's, and that vary."""
    return [a for a in axes if a.name in DECIDED and a.name != POLICY and a.varies]


def pareto(first: Array, second: Array) -> NDArray[np.int64]:
    """Return the indices of the points that no other point beats in both, by ascending ``first``.

    Of points equal in both, the first stays; a point that is infinite in either is on no front.
    """
    order = np.lexsort((second, first))
    order = order[np.isfinite(first[order])]
    best = np.minimum.accumulate(np.concatenate([[np.inf], second[order][:-1]]))
    return order[second[order] < best]


def _choices(plan: Plan, rows: Sequence[Row]) -> list[Choice]:
    grouped: dict[tuple[Any, ...], list[Point]] = {}
    for point in plan.points:
        grouped.setdefault((*point.at.values(), point.policy, point.is_mark), []).append(point)
    return [_choice(points, rows) for points in grouped.values()]


def _choice(points: Sequence[Point], rows: Sequence[Row]) -> Choice:
    runs = [rows[point.number] for point in points if rows[point.number]["error"] is None]
    savings = np.array([run["saving"] for run in runs])
    reach = None
    if savings.size > 1:
        quantile = float(scipy.special.stdtrit(savings.size - 1, 0.975))
        reach = quantile * float(np.std(savings, ddof=1)) / math.sqrt(savings.size)
    return Choice(
        tuple(points),
        tuple(runs),
        {column: _mean([run[column] for run in runs]) for column in _NUMBERS} if runs else {},
        reach,
        any(run["saturated"] for run in runs),
        any(run["transferred"] for run in runs),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(values) if len(known) == len(values) else None
