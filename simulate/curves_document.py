"""The curves behind a comparison, as a machine and a plot read them.

In: a comparison. Out: one document of plain values, as ``curves.json`` holds it: each curve at some
clocks and lengths, the points that it was fitted to, the ranges that were measured, and where it is
from.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from model.curves import Curves
from model.gpu import Gpu
from model.provenance import Kind
from model.work import Array, Phase, Work
from simulate.compare import Comparison
from simulate.groups import Group

CURVES_SCHEMA = "phasewatt-curves"
CURVES_VERSION = 1

MOST_LOADS = 5
"""How many pairs of batch and length each curve is drawn at."""

_CLOCKS = 60
_LENGTHS = 60
_DIGITS = 6


def curves_document(comparison: Comparison) -> dict[str, Any]:
    """Return every curve that some policy used, and every calibration, as plain values."""
    calibrations = {group.calibration.name: group for group in comparison.groups}
    return {
        "schema": CURVES_SCHEMA,
        "schema_version": CURVES_VERSION,
        "calibrations": [_calibration(group) for group in calibrations.values()],
        "curves": [_document(used, comparison) for used in _used(comparison)],
    }


@dataclass(frozen=True)
class _Used:
    group: Group
    gpu: Gpu
    curves: Curves
    held_mhz: float


def _used(comparison: Comparison) -> Iterator[_Used]:
    """Yield each curve once, with the clock that the first policy that uses it holds."""
    seen = set()
    for result in comparison.results:
        for group, ready in zip(comparison.groups, result.fleet.groups, strict=True):
            for phase in Phase:
                curves = ready.curves[phase]
                key = (
                    group.calibration.name,
                    group.scenario.tensor_parallel,
                    curves.model,
                    curves.engine,
                    phase,
                )
                if key not in seen:
                    seen.add(key)
                    yield _Used(group, ready.gpu, curves, ready.held_mhz[phase])


def _calibration(group: Group) -> dict[str, Any]:
    calibration = group.calibration
    return {
        "name": calibration.name,
        "gpu": calibration.gpu.name,
        "origins": {k: asdict(o) for k, o in calibration.gpu.origins.items()},
        "provenance": asdict(calibration.provenance),
    }


def _document(used: _Used, comparison: Comparison) -> dict[str, Any]:
    curves = used.curves
    low_mhz, high_mhz = curves.domain.sm_mhz
    clocks = np.linspace(low_mhz, high_mhz, _CLOCKS)
    gpus = used.group.scenario.tensor_parallel
    asked = _asked_tokens(comparison, curves.phase)
    return {
        "calibration": used.group.calibration.name,
        "gpu": used.gpu.name,
        "tensor_parallel": gpus,
        "model": curves.model,
        "engine": curves.engine,
        "phase": curves.phase.value,
        "origin": asdict(curves.origin),
        "measured": used.group.calibration.provenance.kind is not Kind.TWIN,
        "measured_mhz": list(curves.measured_mhz),
        "reach_mhz": [low_mhz, high_mhz],
        "measured_batch": list(curves.domain.batch),
        "measured_tokens": None if (span := _tokens(curves)) is None else list(span),
        "limit_w": used.gpu.limit_w(curves),
        "asked_tokens": asked,
        "loads": [
            {"batch": batch, "tokens": tokens, **_at_clocks(curves, batch, tokens, clocks)}
            for batch, tokens in _loads(curves)
        ],
        "lengths": _at_lengths(curves, used.held_mhz, asked),
        # What several GPUs do together, nobody measured: the points are those of one.
        "points": _points(curves) if gpus == 1 else None,
    }


def _asked_tokens(comparison: Comparison, phase: Phase) -> list[float]:
    """Return the shortest, median and longest prompt of the trace, or context at its last token."""
    trace = comparison.trace
    tokens = trace.prompt_tokens
    if phase is Phase.DECODE:
        tokens = tokens + trace.output_tokens
    return [float(value) for value in np.quantile(tokens, [0.0, 0.5, 1.0])]


def _tokens(curves: Curves) -> tuple[float, float] | None:
    prefill = curves.phase is Phase.PREFILL
    return curves.domain.prompt_tokens if prefill else curves.domain.context_tokens


def _step(curves: Curves, batch: float, tokens: float | Array) -> Work:
    make = Work.prefill if curves.phase is Phase.PREFILL else Work.decode
    return make(batch, tokens)


def _columns(curves: Curves) -> tuple[Array, Array]:
    points = curves.points
    prefill = curves.phase is Phase.PREFILL
    tokens = points.prompt_tokens if prefill else points.context_tokens
    return np.array(points.batch, dtype=np.float64), np.array(tokens, dtype=np.float64)


def _loads(curves: Curves) -> list[tuple[float, float]]:
    """Return a few pairs of batch and length, spread over those that were measured."""
    batch, tokens = _columns(curves)
    pairs = set(zip(batch.tolist(), tokens.tolist(), strict=True))
    found = sorted(pairs, key=lambda pair: (pair[0] * pair[1], *pair))
    picked = np.unique(np.linspace(0, len(found) - 1, MOST_LOADS).round().astype(int))
    return [found[index] for index in picked.tolist()]


def _at_clocks(curves: Curves, batch: float, tokens: float, clocks: Array) -> dict[str, Any]:
    step = _step(curves, batch, tokens).expanded()
    time_low, time_high = curves.time_interval_s(step, clocks)
    power_low, power_high = curves.power_interval_w(step, clocks)
    return {
        "sm_mhz": _rounded(clocks),
        "time_s": _rounded(curves.time_s(step, clocks)),
        "time_low_s": _rounded(time_low),
        "time_high_s": _rounded(time_high),
        "power_w": _rounded(curves.power_w(step, clocks)),
        "power_low_w": _rounded(power_low),
        "power_high_w": _rounded(power_high),
        "energy_j": _rounded(curves.energy_j(step, clocks)),
    }


def _at_lengths(curves: Curves, held_mhz: float, asked: list[float]) -> dict[str, Any]:
    """Return one clock's times over all lengths that were measured or asked for, at one batch."""
    batch = curves.domain.batch[0]
    ends = [*(_tokens(curves) or ()), asked[0], asked[-1]]
    tokens = np.geomspace(max(min(ends), 1.0), max(*ends, 1.0), _LENGTHS)
    step = _step(curves, batch, tokens)
    low, high = curves.time_interval_s(step, held_mhz)
    return {
        "batch": batch,
        "sm_mhz": held_mhz,
        "tokens": _rounded(tokens),
        "time_s": _rounded(curves.time_s(step, held_mhz)),
        "time_low_s": _rounded(low),
        "time_high_s": _rounded(high),
    }


def _points(curves: Curves) -> dict[str, list[float]]:
    batch, tokens = _columns(curves)
    points = curves.points
    return {
        "sm_mhz": _rounded(points.sm_mhz),
        "batch": batch.tolist(),
        "tokens": tokens.tolist(),
        "time_s": _rounded(points.time_s),
        "power_w": _rounded(points.power_w),
    }


def _rounded(values: Any) -> list[float]:
    """Return figures with as many digits as a plot can show."""
    return [float(f"{value:.{_DIGITS}g}") for value in np.ravel(values).tolist()]
