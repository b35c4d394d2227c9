"""What curves say below their measured clocks, as a person reads it, and as a machine does.

In: a calibration that reaches below its measured clocks. Out: time and power there, over those at
the lowest measured clock, with 95% intervals.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from model.calibration import Calibration
from model.curves import Curves
from model.prediction import Figure
from model.work import Array, Phase, Work

_CLOCKS = 3
"""So many clocks below the lowest measured one are told, evenly spread."""


@dataclass(frozen=True)
class Below:
    """One clock below the measured ones, for the smallest step that was measured.

    ``time`` and ``power`` are factors on those at ``measured_mhz``, the lowest measured clock;
    their intervals are those of a new measurement.
    """

    model: str
    engine: str
    phase: Phase
    measured_mhz: float
    sm_mhz: float
    time: Figure
    power: Figure


def below(calibration: Calibration) -> tuple[Below, ...]:
    """Return time and power at clocks below the measured ones, of every pair of curves."""
    return tuple(one for curves in calibration.curves for one in _below(curves))


def describe_below(found: tuple[Below, ...]) -> list[dict[str, Any]]:
    """Return them as plain values."""
    return [asdict(one) for one in found]


def table_below(found: tuple[Below, ...]) -> Table:
    """Return them as a table."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("model", overflow="fold")
    for name in ("engine", "phase"):
        table.add_column(name, no_wrap=True)
    for name in ("measured\nfrom MHz", "MHz", "time", "95%\ninterval", "power", "95%\ninterval"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        table.add_row(
            *(one.model, one.engine, one.phase.value),
            *(f"{one.measured_mhz:,.0f}", f"{one.sm_mhz:,.0f}"),
            *_cells(one.time),
            *_cells(one.power),
        )
    return table


def _below(curves: Curves) -> list[Below]:
    if curves.below is None:
        return []
    edge_mhz, lowest_mhz = curves.measured_mhz[0], curves.domain.sm_mhz[0]
    clocks = np.linspace(edge_mhz, lowest_mhz, _CLOCKS + 1)[1:]
    prefill = curves.phase is Phase.PREFILL
    lengths = curves.domain.prompt_tokens if prefill else curves.domain.context_tokens
    assert lengths is not None, "every phase has a span of lengths"
    work = (Work.prefill if prefill else Work.decode)([curves.domain.batch[0]], [lengths[0]])
    times = _factors(
        curves.time_s(work, clocks),
        curves.time_interval_s(work, clocks),
        float(curves.time_s(work, edge_mhz)[0]),
    )
    powers = _factors(
        curves.power_w(work, clocks),
        curves.power_interval_w(work, clocks),
        float(np.ravel(curves.power_w(work, edge_mhz))[0]),
    )
    return [
        Below(curves.model, curves.engine, curves.phase, edge_mhz, mhz, time, power)
        for mhz, time, power in zip(clocks.tolist(), times, powers, strict=True)
    ]


def _factors(values: Array, interval: tuple[Array, Array], at_edge: float) -> list[Figure]:
    columns = [np.ravel(values), *(np.ravel(end) for end in interval)]
    return [Figure(*row) for row in (np.stack(columns, axis=1) / at_edge).tolist()]


def _cells(figure: Figure) -> tuple[str, str]:
    return f"{figure.value:.2f}", f"{figure.low:.2f}-{figure.high:.2f}"
