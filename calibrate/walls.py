"""Where the regimes of a calibration lie: at the corners of what was measured, and in between.

In: a calibration. Out: for each pair of curves a :class:`Walls`: the regime of its smallest and
largest steps at the highest calibrated clock, and the sizes at which one gives way to the next.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from model.calibration import Calibration
from model.curves import Curves
from model.gpu import Gpu
from model.regimes import Boundary, Regime, batch_boundaries, length_boundaries, regimes
from model.work import Phase, Work
from phasewatt.errors import OutOfRange


@dataclass(frozen=True)
class Edge:
    """One edge of the measured sizes: batches at one length, or lengths at one batch.

    Attributes:
        along: what grows, "batch" or "tokens".
        fixed: the size of the other, which stays.
        start, end: the least and the largest of what grows.
        first, last: the regimes there.
        boundaries: where one regime gives way to the next.
    """

    along: str
    fixed: float
    start: float
    end: float
    first: Regime
    last: Regime
    boundaries: tuple[Boundary, ...]


@dataclass(frozen=True)
class Walls:
    """The regimes of one pair of curves.

    Attributes:
        sm_mhz: the clock asked for, the highest of the calibrated domain.
        edges: the edges of the measured sizes; none where no calibrated clock holds.
    """

    sm_mhz: float
    edges: tuple[Edge, ...]


def walls(calibration: Calibration) -> tuple[Walls, ...]:
    """Return the regimes of every pair of curves, in their order."""
    return tuple(_walls(curves, calibration.gpu) for curves in calibration.curves)


def as_values(found: Walls) -> dict[str, Any]:
    """Return ``found`` as a document of plain values."""
    return asdict(found)


def as_text(edge: Edge) -> str:
    """Return the regimes along ``edge`` as words: "memory-bound, from 12 mixed"."""
    later = (f"from {_size(boundary.size)} {boundary.after}" for boundary in edge.boundaries)
    return ", ".join([str(edge.first), *later])


def _walls(curves: Curves, gpu: Gpu) -> Walls:
    sm_mhz = curves.domain.sm_mhz[1]
    batches, lengths = curves.domain.batch, _lengths(curves)
    try:
        along_batch = [
            _edge(curves, gpu, "batch", tokens, batches, batch_boundaries)
            for tokens in dict.fromkeys(lengths)
        ]
        along_tokens = [
            _edge(curves, gpu, "tokens", batch, lengths, length_boundaries)
            for batch in dict.fromkeys(batches)
        ]
    except OutOfRange:
        return Walls(sm_mhz, ())
    return Walls(sm_mhz, (*along_batch, *along_tokens))


def _edge(
    curves: Curves,
    gpu: Gpu,
    along: str,
    fixed: float,
    span: tuple[float, float],
    boundaries: Callable[[Curves, Gpu, float, float], tuple[Boundary, ...]],
) -> Edge:
    sm_mhz = curves.domain.sm_mhz[1]
    make = Work.prefill if curves.phase is Phase.PREFILL else Work.decode
    pairs = [(size, fixed) if along == "batch" else (fixed, size) for size in span]
    works = [make([batch], [tokens]) for batch, tokens in pairs]
    first, last = (Regime(regimes(curves, gpu, work, sm_mhz)[0]) for work in works)
    return Edge(along, fixed, *span, first, last, boundaries(curves, gpu, sm_mhz, fixed))


def _size(size: float) -> str:
    return f"{size:,.0f}" if size >= _WHOLE_FROM else f"{size:.1f}"


_WHOLE_FROM = 10.0


def _lengths(curves: Curves) -> tuple[float, float]:
    domain = curves.domain
    span = domain.prompt_tokens if curves.phase is Phase.PREFILL else domain.context_tokens
    assert span is not None, "every phase has a span of lengths"
    return span
