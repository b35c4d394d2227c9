"""What a campaign may measure: every point of the options at every setting of the clock.

In: the options of ``calibrate run``. Out: :class:`Cell` candidates, a point with one way to set its
clock; :mod:`calibrate.design` chooses among them.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from calibrate.bench import Engine, Point
from calibrate.gpu import ClockRange, Identity
from calibrate.steer import GEMM_RATIOS
from model.geometry import GEOMETRIES, Geometry
from model.work import Phase
from phasewatt.errors import BadOption, UnsupportedGpu

CLOCKS = 7
"""How many SM clocks a lock sweep takes: five to seven give curves of about 2%."""

LOWEST_SHARE = 0.35
"""Lowest clock of a lock sweep over the highest: below, latency explodes and nothing is saved."""

MOST_PREFILL_TOKENS = 32768
"""Longest prefill step in tokens unless told; serving engines cut longer ones."""

BYTES_PER_VALUE = 2


class Strategy(StrEnum):
    """How the SM clock is varied; AUTO stands for the first of the others that works here."""

    LOCK = "lock"
    STEER = "steer"
    OBSERVE = "observe"
    AUTO = "auto"


@dataclass(frozen=True)
class Cell:
    """A point and how its clock is set.

    Attributes:
        point: what runs.
        sm_mhz: the clock that is locked; None leaves the clock to the governor.
        gemm_ratio: time of the GEMMs that steer the clock over that of the step; 0 for none.
    """

    point: Point
    sm_mhz: int | None = None
    gemm_ratio: float = 0.0

    def __str__(self) -> str:
        if self.sm_mhz is not None:
            return f"{self.point} at {self.sm_mhz} MHz"
        if self.gemm_ratio:
            return f"{self.point} with {self.gemm_ratio:g} of its time in GEMMs"
        return f"{self.point} at the governor's clock"


@dataclass(frozen=True)
class Sweep:
    """The options of a campaign that change what its figures mean; part of every log's header.

    ``shapes`` are those of the models that :data:`model.geometry.GEOMETRIES` does not hold,
    ``gemm_ratios`` times of GEMMs over that of the step where they steer the clock,
    ``prefill_tokens`` the most that one prefill step computes.
    """

    models: tuple[str, ...]
    engines: tuple[Engine, ...]
    phases: tuple[Phase, ...]
    batches: tuple[int, ...]
    prompts: tuple[int, ...]
    contexts: tuple[int, ...]
    dtype: str
    strategy: Strategy
    sm_mhz: tuple[int, ...]
    precision: float
    seed: int
    shapes: Mapping[str, Geometry] = field(default_factory=dict)
    gemm_ratios: tuple[float, ...] = GEMM_RATIOS
    prefill_tokens: int = MOST_PREFILL_TOKENS

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises:
            BadOption: an unknown model, an empty list, a number that is not positive.
        """
        unknown = [name for name in self.models if name not in {**GEOMETRIES, **self.shapes}]
        if unknown:
            raise BadOption(
                f"--models: {unknown[0]!r} is not known; expected one of {', '.join(GEOMETRIES)}"
            )
        for option in ("models", "engines", "phases", "batches", "prompts", "contexts"):
            values = getattr(self, option)
            if not values or len(set(values)) < len(values):
                raise BadOption(f"--{option}: expected at least one value, and none twice")
        for option in ("batches", "prompts", "contexts", "sm_mhz"):
            if any(value < 1 for value in getattr(self, option)):
                raise BadOption(f"--{option.replace('_', '-')}: expected numbers of 1 or more")
        if min(self.gemm_ratios) != 0 or len(set(self.gemm_ratios)) < max(len(self.gemm_ratios), 2):
            raise BadOption("--gemm-ratios: expected 0 and at least one above it, and none twice")
        if not 0 < self.precision < 1:
            raise BadOption(f"--precision: found {self.precision:g}; expected between 0 and 1")
        if self.sm_mhz and self.strategy in (Strategy.STEER, Strategy.OBSERVE):
            raise BadOption(f"--sm-mhz goes with --clocks lock, not with {self.strategy}")

    def points(self, memory_bytes: int) -> tuple[Point, ...]:
        """Return the points whose weights and cache fit, in the order of the options.

        Raises:
            BadOption: every prefill is too long for one step.
            UnsupportedGpu: nothing of a phase of a model fits.
        """
        fitting: list[Point] = []
        for model, engine, phase in itertools.product(self.models, self.engines, self.phases):
            points = [
                Point(model, engine, phase, batch, *lengths, self.dtype)
                for lengths in self._lengths(phase)
                for batch in self.batches
                if batch * lengths[0] <= self.prefill_tokens
            ]
            if not points:
                raise BadOption(
                    f"--batches and --prompts: every prefill computes more than "
                    f"{self.prefill_tokens} tokens in one step; pass smaller ones"
                )
            sizes = [self._bytes(point) for point in points]
            there = [p for p, size in zip(points, sizes, strict=True) if size <= memory_bytes]
            if not there:
                raise UnsupportedGpu(self._too_large(model, phase, min(sizes), memory_bytes))
            fitting += there
        return tuple(fitting)

    def cells(self, points: Sequence[Point], strategy: Strategy) -> tuple[Cell, ...]:
        """Return every candidate of ``points``; ``sm_mhz`` is resolved where clocks are locked."""
        if strategy is Strategy.LOCK:
            locked = [Cell(point, sm_mhz) for point in points for sm_mhz in self.sm_mhz]
            # Where the governor itself holds a series is seen at its heaviest point.
            return (*locked, *(Cell(point) for point in heaviest(points)))
        if strategy is Strategy.STEER:
            return tuple(Cell(p, gemm_ratio=ratio) for p in points for ratio in self.gemm_ratios)
        return tuple(Cell(point) for point in points)

    def geometry(self, model: str) -> Geometry:
        """Return the shape of one of the models."""
        return {**GEOMETRIES, **self.shapes}[model]

    def _lengths(self, phase: Phase) -> Iterable[tuple[int, int]]:
        if phase is Phase.PREFILL:
            return [(prompt, 0) for prompt in self.prompts]
        return [(0, context) for context in self.contexts]

    def _bytes(self, point: Point) -> float:
        """Return the bytes that weights and KV cache of ``point`` take."""
        geometry = self.geometry(point.model)
        cached = point.batch * (point.prompt_tokens + point.context_tokens)
        weights = geometry.parameters * BYTES_PER_VALUE
        return weights + cached * geometry.kv_bytes_per_token(BYTES_PER_VALUE)

    def _too_large(self, model: str, phase: Phase, needed_bytes: float, memory_bytes: int) -> str:
        gib = 1024**3
        weights = self.geometry(model).parameters * BYTES_PER_VALUE
        return (
            f"{model} does not fit: its weights take {weights / gib:.1f} GiB, with the cache of "
            f"its smallest {phase} {needed_bytes / gib:.1f} GiB, and this GPU has "
            f"{memory_bytes / gib:.0f} GiB; leave it out of --models"
        )


def spread_clocks(clocks: ClockRange) -> tuple[int, ...]:
    """Return the clocks of a lock sweep: spread evenly over the upper part of the range.

    Raises:
        UnsupportedGpu: the driver lists no clocks.
    """
    if not clocks.sm_mhz:
        raise UnsupportedGpu("the driver lists no SM clocks: pass --sm-mhz, or --clocks steer")
    top_mhz = clocks.sm_mhz[-1]
    low_mhz = max(clocks.sm_mhz[0], LOWEST_SHARE * top_mhz)
    wanted = np.linspace(low_mhz, top_mhz, CLOCKS)
    return tuple(dict.fromkeys(clocks.nearest_sm_mhz(float(sm_mhz)) for sm_mhz in wanted))


def require_clocks(sm_mhz: Iterable[int], clocks: ClockRange, identity: Identity) -> None:
    """Refuse clocks that the driver does not list.

    Raises:
        BadOption: a clock is not among them.
    """
    for asked in sm_mhz:
        if clocks.sm_mhz and asked not in clocks.sm_mhz:
            near = clocks.nearest_sm_mhz(asked)
            raise BadOption(f"--sm-mhz: {identity.name} has no {asked} MHz; the nearest is {near}")


def length(point: Point) -> int:
    """Return the tokens that set the point's size: those of a prompt, or of a cached context."""
    return point.prompt_tokens if point.phase is Phase.PREFILL else point.context_tokens


def series(point: Point) -> tuple[str, Engine, Phase]:
    """Return what the point shares its curves with."""
    return point.model, point.engine, point.phase


def corners(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the extreme points of every series in batch and length, in the order of ``points``.

    Of each sign pair, the point that lies furthest that way; four at most.
    """
    return _furthest(points, ((-1, -1), (-1, 1), (1, -1), (1, 1)))


def heaviest(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the point of every series that is largest in batch and length together."""
    return _furthest(points, ((1, 1),))


def _furthest(points: Sequence[Point], directions: Sequence[tuple[int, int]]) -> tuple[Point, ...]:
    chosen: set[Point] = set()
    for _, group in itertools.groupby(sorted(points, key=series), key=series):
        members = list(group)
        place = np.log([[member.batch, length(member)] for member in members])
        span = np.ptp(place, axis=0)
        place /= np.where(span > 0, span, 1.0)
        chosen |= {members[int(np.argmax(place @ signs))] for signs in directions}
    return tuple(point for point in dict.fromkeys(points) if point in chosen)
