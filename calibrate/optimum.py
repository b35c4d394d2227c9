"""Clocks of least energy: those that a calibration implies, beside those of public measurements.

In: a calibration, series of public measurements. Out: each one's clock with its interval; a table,
or one document of plain values.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from calibrate.public_clocks import ClockSeries
from model.beyond import is_transferred
from model.calibration import Calibration
from model.curves import Curves
from model.optimum import Optimum, draws_of, least_energy
from model.work import Phase, Work
from phasewatt.errors import BadTable


@dataclass(frozen=True)
class StepOptimum:
    """The clock of least energy of one kind of step.

    ``highest_mhz`` is the clock that shares are told of; ``transferred`` says that the clock of
    least energy lies below the measured ones.
    """

    model: str
    engine: str
    phase: Phase
    batch: float
    tokens: float
    highest_mhz: float
    optimum: Optimum
    transferred: bool


@dataclass(frozen=True)
class PublicOptimum:
    """The same of a public series: clock, 95% interval, the range that was measured."""

    gpu: str
    name: str
    sm_mhz: float
    low_mhz: float
    high_mhz: float
    from_mhz: float
    to_mhz: float


def optima(calibration: Calibration, phase: Phase) -> tuple[StepOptimum, ...]:
    """Return the clock of least energy at the corners of every model's batches and lengths.

    Raises:
        OutOfRange: no clock that can be requested holds.
    """
    found = []
    for curves in calibration.curves:
        if curves.phase is not phase:
            continue
        drawn = draws_of(curves)
        for batch, tokens in _corners(curves):
            make = Work.prefill if phase is Phase.PREFILL else Work.decode
            best = least_energy(curves, drawn, calibration.gpu, make([batch], [tokens]))
            found.append(
                StepOptimum(
                    curves.model,
                    curves.engine,
                    phase,
                    batch,
                    tokens,
                    calibration.gpu.sm_mhz_max or curves.domain.sm_mhz[1],
                    best,
                    is_transferred(curves, best.sm_mhz),
                )
            )
    return tuple(found)


def public_optima(series: Sequence[ClockSeries]) -> tuple[PublicOptimum, ...]:
    """Return the clock of least energy of each series, by a curve through all of its clocks.

    Raises:
        BadTable: a series has fewer than five clocks.
    """
    for one in series:
        if one.sm_mhz.size < _DEGREES[-1][0]:
            raise BadTable(f"{one.gpu} {one.name}: expected at least {_DEGREES[-1][0]} clocks")
    return tuple(_public(one) for one in series)


def describe(
    calibration: Calibration, found: Sequence[StepOptimum], public: Sequence[PublicOptimum]
) -> dict[str, Any]:
    """Return both as a document of plain values."""
    return {
        "schema": "phasewatt-optimum",
        "calibration": calibration.name,
        "gpu": calibration.gpu.name,
        "least_energy": [asdict(one) for one in found],
        "public": [asdict(one) for one in public],
    }


def print_optima(
    console: Console,
    calibration: Calibration,
    found: Sequence[StepOptimum],
    public: Sequence[PublicOptimum],
) -> None:
    """Print the calibration's clocks of least energy, then those of public measurements."""
    console.print(f"clocks of least energy: {calibration.gpu.name}", style="bold", markup=False)
    table = _table("model", "engine", "phase")
    for name in ("batch", "tokens", "MHz", "95% interval", "of highest", "saves", "slower"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for one in found:
        best = one.optimum
        table.add_row(
            *(one.model, one.engine, one.phase.value),
            *(f"{one.batch:,g}", f"{one.tokens:,g}", f"{best.sm_mhz:,.0f}"),
            f"{best.low_mhz:,.0f}-{best.high_mhz:,.0f}",
            f"{best.sm_mhz / one.highest_mhz:.2f}",
            *(f"{best.saving:.1%}", f"{best.slowdown:.1%}"),
            _remark(one),
        )
    console.print(table)
    console.print(
        "saves, slower: against the clock that an untouched GPU holds; of highest: share of the "
        "highest clock\n"
    )
    console.print("public measurements (model/public/README.md)", style="bold", markup=False)
    table = _table("GPU", "series")
    for name in ("MHz", "95% interval", "of highest", "measured MHz"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in public:
        table.add_row(
            each.gpu,
            each.name,
            f"{each.sm_mhz:,.0f}",
            f"{each.low_mhz:,.0f}-{each.high_mhz:,.0f}",
            f"{each.sm_mhz / each.to_mhz:.2f}",
            f"{each.from_mhz:,.0f}-{each.to_mhz:,.0f}",
        )
    console.print(table)


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _remark(one: StepOptimum) -> str:
    remarks = {"lowest": one.optimum.at_lowest, "transferred": one.transferred}
    return ", ".join(remark for remark, holds in remarks.items() if holds)


def _corners(curves: Curves) -> list[tuple[float, float]]:
    domain = curves.domain
    lengths = domain.prompt_tokens if curves.phase is Phase.PREFILL else domain.context_tokens
    assert lengths is not None, "every phase has a span of lengths"
    pairs = [(batch, tokens) for batch in domain.batch for tokens in lengths]
    return list(dict.fromkeys(pairs))


_STEP_MHZ = 15.0
"""Distance between the SM clocks that NVIDIA drivers list."""


_DEGREES = ((16, 4), (8, 3), (5, 2))
"""Points from which on log energy is a polynomial of this degree in log clock."""


def _public(series: ClockSeries) -> PublicOptimum:
    """Return the least of a polynomial in log clock, fitted to log energy at all clocks.

    The interval is over draws of its coefficients (Student's t), as the residuals leave them.
    """
    log_mhz = np.log(series.sm_mhz / series.sm_mhz.max())
    degree = next(d for fewest, d in _DEGREES if series.sm_mhz.size >= fewest)
    powers = np.vander(log_mhz, degree + 1)
    log_j = np.log(series.time_s * series.power_w)
    found = np.linalg.lstsq(powers, log_j, rcond=None)[0]
    spare = log_mhz.size - degree - 1
    variance = float(np.sum((log_j - powers @ found) ** 2)) / spare
    root = np.linalg.cholesky(variance * np.linalg.inv(powers.T @ powers))
    rng = np.random.default_rng(0)
    z = rng.standard_normal((_PUBLIC_DRAWS, degree + 1))
    z *= np.sqrt(spare / rng.chisquare(spare, (_PUBLIC_DRAWS, 1)))
    low_mhz, high_mhz = float(series.sm_mhz[0]), float(series.sm_mhz[-1])
    clocks = np.arange(low_mhz, high_mhz + 1e-6, _STEP_MHZ)
    grid = np.vander(np.log(clocks / series.sm_mhz.max()), degree + 1)
    drawn = clocks[np.argmin(grid @ (found + z @ root.T).T, axis=0)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    best = float(clocks[int(np.argmin(grid @ found))])
    return PublicOptimum(series.gpu, series.name, best, float(low), float(high), low_mhz, high_mhz)


_PUBLIC_DRAWS = 1000
