"""What serving each query alone costs: seconds, watts and clocks of its prefill and its decode.

In: query lengths, curves and a governor. Out: columns, one row a query; nothing about queues.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.curves import Curves
from model.gpu import Gpu
from model.work import Array, Phase, Work
from policies.governor import Governor, requested_mhz, settled_mhz
from simulate.prefix_cache import Prefixes

_DECODE_NODES = 4
"""Gauss-Legendre nodes over the contexts of a decode: exact for curves up to degree 7."""


@dataclass(frozen=True)
class PhaseCost:
    """One phase of every query, as columns of shape (n,).

    Attributes:
        time_s: how long the phase takes; 0 where a query has no such phase.
        power_w: mean power during it.
        sm_mhz: mean clock that held during it.
        requested_mhz: clock that was asked for; inf where none was.
    """

    time_s: Array
    power_w: Array
    sm_mhz: Array
    requested_mhz: Array


Service = Mapping[Phase, PhaseCost]


@dataclass(frozen=True)
class Lengths:
    """Query lengths in tokens, and what else a scheduler heeds, columns of shape (n,).

    ``priority`` None serves first come first served; ``prefixes`` None finds no prompt cached.
    """

    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    priority: NDArray[np.int64] | None = None
    prefixes: Prefixes | None = None

    @property
    def decode_steps(self) -> NDArray[np.int64]:
        """Decode steps of each query: prefill yields the first token, each step one more."""
        return np.maximum(self.output_tokens - 1, 0)

    def take(self, queries: NDArray[np.intp]) -> "Lengths":
        """Return those of ``queries``, in that order."""
        return Lengths(
            self.prompt_tokens[queries],
            self.output_tokens[queries],
            None if self.priority is None else self.priority[queries],
            None if self.prefixes is None else self.prefixes.take(queries),
        )

    def only(self, query: int) -> "Lengths":
        """Return the lengths of one query, shape (1,)."""
        row = slice(query, query + 1)
        return Lengths(self.prompt_tokens[row], self.output_tokens[row])

    def typical(self) -> dict[Phase, Work]:
        """Return one step for each phase with the median lengths, shape (1,)."""
        prompt = float(np.median(self.prompt_tokens))
        context = prompt + (float(np.median(self.decode_steps)) + 1) / 2
        return {
            Phase.PREFILL: Work.prefill([1.0], [prompt]),
            Phase.DECODE: Work.decode([1.0], [context]),
        }


def serve_alone(
    lengths: Lengths, curves: Mapping[Phase, Curves], gpu: Gpu, governor: Governor
) -> Service:
    """Return what each query costs at batch 1 under ``governor``.

    A decode step with ``c`` tokens in its KV cache costs what the curves say of context ``c``; a
    query's contexts run from prompt + 1 to prompt + output - 1.

    Raises:
        OutOfRange: a clock or batch 1 lies outside the calibrated domain.
    """
    return {phase: phase_alone(phase, lengths, curves[phase], gpu, governor) for phase in Phase}


def phase_alone(
    phase: Phase, lengths: Lengths, curves: Curves, gpu: Gpu, governor: Governor
) -> PhaseCost:
    """Return what one phase of each query costs at batch 1; see :func:`serve_alone`."""
    curves.require_batch(1)
    if phase is Phase.PREFILL:
        return _prefill(lengths, curves, gpu, governor)
    return _decode(lengths, curves, gpu, governor)


def _prefill(lengths: Lengths, curves: Curves, gpu: Gpu, governor: Governor) -> PhaseCost:
    work = Work.prefill(1.0, lengths.prompt_tokens)
    held = settled_mhz(governor, Phase.PREFILL, work, gpu, curves)
    return PhaseCost(
        _full(curves.time_s(work, held), work),
        _full(curves.power_w(work, held), work),
        held,
        requested_mhz(governor, Phase.PREFILL, work),
    )


def _decode(lengths: Lengths, curves: Curves, gpu: Gpu, governor: Governor) -> PhaseCost:
    steps = lengths.decode_steps.astype(np.float64)
    prompt = lengths.prompt_tokens.astype(np.float64)
    varies = curves.time.definition.varies_with_work or curves.power.definition.varies_with_work
    nodes, weights = np.polynomial.legendre.leggauss(_DECODE_NODES if varies else 1)
    time_s, energy_j, clock_s = np.zeros_like(steps), np.zeros_like(steps), np.zeros_like(steps)
    for node, weight in zip(nodes.tolist(), (weights / 2).tolist(), strict=True):
        # The sum over steps 1..m is the integral over [1/2, m + 1/2], exactly for linear curves.
        context = prompt + 0.5 + steps * (node + 1) / 2
        work = Work.decode(1.0, context)
        held = settled_mhz(governor, Phase.DECODE, work, gpu, curves)
        part_s = weight * steps * curves.time_s(work, held)
        time_s += part_s
        energy_j += part_s * curves.power_w(work, held)
        clock_s += part_s * held
    middle = Work.decode(1.0, prompt + (steps + 1) / 2)
    decodes = steps > 0
    safe_s = np.where(decodes, time_s, 1.0)
    return PhaseCost(
        time_s,
        np.where(decodes, energy_j / safe_s, 0.0),
        np.where(decodes, clock_s / safe_s, 0.0),
        requested_mhz(governor, Phase.DECODE, middle),
    )


def _full(values: Array, work: Work) -> Array:
    return np.ascontiguousarray(np.broadcast_to(values, work.shape))
