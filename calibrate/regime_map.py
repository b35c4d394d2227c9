"""Which wall each step of an engine hits, over batches and lengths.

In: a calibration and one of its engines. Out: a :class:`RegimeMap` for each model and phase: the
regime and the clock response over what was measured; a table of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from model.calibration import Calibration
from model.curves import Curves
from model.gpu import Gpu
from model.regimes import Regime, elasticity, regimes
from model.work import Array, Phase, Work
from phasewatt.errors import BadCalibration, OutOfRange

NOWHERE = ""
"""Stands for a regime where the power limit holds a clock below the calibrated ones."""

_CELLS = 48


@dataclass(frozen=True)
class RegimeMap:
    """The regimes of one phase of one model, with nothing asked of the governor.

    Attributes:
        model, phase: whose.
        batch, tokens: the grid, both ascending, within what was measured.
        regime: names, shape (batches, lengths); :data:`NOWHERE` where no calibrated clock holds.
        elasticity: percent of time lost per percent of clock, at the clock that holds; NaN there.
        beyond: where a step has more tokens in all than any that was measured.
        measured: pairs of batch and length, shape (n, 2).
    """

    model: str
    phase: Phase
    batch: Array
    tokens: Array
    regime: NDArray[np.str_]
    elasticity: Array
    beyond: NDArray[np.bool_]
    measured: Array


def regime_maps(calibration: Calibration, engine: str) -> tuple[RegimeMap, ...]:
    """Return the map of every model and phase of ``engine``, in the order of the file.

    Raises:
        BadCalibration: nothing was measured in that engine.
    """
    found = [curves for curves in calibration.curves if curves.engine == engine]
    if not found:
        known = dict.fromkeys(curves.engine for curves in calibration.curves)
        raise BadCalibration(
            f"calibration {calibration.name} has no engine {engine!r}; it has {', '.join(known)}"
        )
    return tuple(_map(curves, calibration.gpu) for curves in found)


def describe(calibration: Calibration, engine: str, maps: Sequence[RegimeMap]) -> dict[str, Any]:
    """Return shares and clock responses of ``maps`` as a document of plain values."""
    return {
        "schema": "phasewatt-regimes",
        "calibration": calibration.name,
        "gpu": calibration.gpu.name,
        "engine": engine,
        "maps": [
            {
                "model": one.model,
                "phase": one.phase.value,
                "batch": [float(one.batch[0]), float(one.batch[-1])],
                "tokens": [float(one.tokens[0]), float(one.tokens[-1])],
                "shares": shares(one),
                "elasticity": _range(one),
            }
            for one in maps
        ],
    }


def print_maps(
    console: Console, calibration: Calibration, engine: str, maps: Sequence[RegimeMap]
) -> None:
    """Print the share of each regime and the range of clock responses, by phase and model."""
    console.print(
        f"what sets the pace in {engine} on {calibration.gpu.name}, nothing asked of the governor",
        style="bold",
        markup=False,
    )
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for name in ("phase", "model"):
        table.add_column(name, no_wrap=True)
    for name in ("batch", "tokens", *(regime.value.replace("-", "-\n") for regime in Regime)):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("1% less clock\ncosts time of", justify="right", no_wrap=True)
    for one in sorted(maps, key=lambda one: one.phase.value):
        found, reach = shares(one), _range(one)
        table.add_row(
            one.phase.value,
            one.model,
            *(_span(one.batch), _span(one.tokens)),
            *(f"{found[regime]:.0%}" if found[regime] else "" for regime in Regime),
            "-" if reach is None else f"{reach[0]:.2f}% to {reach[1]:.2f}%",
        )
    console.print(table)
    console.print("shares of the measured batches and lengths, both on a logarithmic scale")


def shares(one: RegimeMap) -> dict[str, float]:
    """Return which share of the map each regime takes, both axes logarithmic."""
    return {regime.value: float(np.mean(one.regime == regime.value)) for regime in Regime}


def _map(curves: Curves, gpu: Gpu) -> RegimeMap:
    points, prefill = curves.points, curves.phase is Phase.PREFILL
    lengths = curves.domain.prompt_tokens if prefill else curves.domain.context_tokens
    assert lengths is not None, "every phase has a span of lengths"
    batch, tokens = _grid(curves.domain.batch), _grid(lengths)
    pairs = np.stack(np.meshgrid(batch, tokens, indexing="ij"), axis=-1)
    held = np.array(points.prompt_tokens if prefill else points.context_tokens)
    measured = np.unique(np.column_stack([points.batch, held]), axis=0)
    names, moves = _found(curves, gpu, pairs.reshape(-1, 2))
    most = float(np.max(measured.prod(axis=1))) * (1 + 1e-9)
    return RegimeMap(
        curves.model,
        curves.phase,
        batch,
        tokens,
        names.reshape(pairs.shape[:2]),
        moves.reshape(pairs.shape[:2]),
        np.asarray(pairs.prod(axis=-1) > most),
        measured,
    )


def _found(curves: Curves, gpu: Gpu, pairs: Array) -> tuple[NDArray[np.str_], Array]:
    """Return regime and clock response of each pair of batch and length, halving where one fails.

    One step that no calibrated clock holds under the limit would refuse all that are asked with it.
    """
    make = Work.prefill if curves.phase is Phase.PREFILL else Work.decode
    work, top_mhz = make(pairs[:, 0], pairs[:, 1]), curves.domain.sm_mhz[1]
    try:
        held_mhz = gpu.settle(top_mhz, curves, work)
        return regimes(curves, gpu, work, np.inf), elasticity(curves, work, held_mhz)
    except OutOfRange:
        if len(pairs) == 1:
            return np.array([NOWHERE]), np.array([np.nan])
    middle = len(pairs) // 2
    halves = [_found(curves, gpu, part) for part in (pairs[:middle], pairs[middle:])]
    names, moves = zip(*halves, strict=True)
    return np.concatenate(names), np.concatenate(moves)


def _grid(span: tuple[float, float]) -> Array:
    low, high = max(span[0], 1.0), span[1]
    return np.geomspace(low, high, _CELLS) if high > low else np.array([high])


def _range(one: RegimeMap) -> tuple[float, float] | None:
    told = one.elasticity[np.isfinite(one.elasticity)]
    return (float(told.min()), float(told.max())) if told.size else None


def _span(grid: Array) -> str:
    low, high = float(grid[0]), float(grid[-1])
    return f"{low:,.0f}" if low == high else f"{low:,.0f}-{high:,.0f}"
