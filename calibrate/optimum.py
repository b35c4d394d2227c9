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
from model.optimum import NEAR, Optimum, draws_of, least_energy
from model.work import Array, Phase, Work
from phasewatt.errors import BadTable


@dataclass(frozen=True)
class StepOptimum:
    """The clock of least energy of one kind of step.

    ``transferred`` says that the clock of least energy lies below the measured ones.
    """

    model: str
    engine: str
    phase: Phase
    batch: float
    tokens: float
    optimum: Optimum
    transferred: bool


@dataclass(frozen=True)
class PublicOptimum:
    """The same of a public series: clock, 95% interval, the range that was measured.

    ``near_mhz`` are the lowest and the highest clock that take within :data:`NEAR` of the least.
    """

    gpu: str
    name: str
    sm_mhz: float
    low_mhz: float
    high_mhz: float
    near_mhz: tuple[float, float]
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
                    best,
                    is_transferred(curves, best.sm_mhz),
                )
            )
    return tuple(found)


def of_the_same_kind(series: Sequence[ClockSeries], gpu: str) -> tuple[ClockSeries, ...]:
    """Return those of ``series`` that are of the kind of ``gpu``, or all where none is."""
    name = gpu.lower().replace(" ", "")
    same = [one for one in series if one.gpu.lower().replace(" ", "") in name]
    return tuple(same or series)


def public_optima(series: Sequence[ClockSeries]) -> tuple[PublicOptimum, ...]:
    """Return the clock of least energy of each series, by a curve through all of its clocks.

    Raises:
        BadTable: a series has fewer than five clocks.
    """
    for one in series:
        if one.sm_mhz.size < _FEWEST:
            raise BadTable(f"{one.gpu} {one.name}: expected at least {_FEWEST} clocks")
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
    phases = ", ".join(dict.fromkeys(one.phase.value for one in found))
    console.print(
        f"clocks of least energy in {phases}: {calibration.gpu.name}", style="bold", markup=False
    )
    table = _table("model", "engine")
    for name in ("batch", "tokens", "MHz", "95% interval", f"within {NEAR:.0%}", "saves", "slower"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for one in found:
        best = one.optimum
        table.add_row(
            *(one.model, one.engine),
            *(f"{one.batch:,g}", f"{one.tokens:,g}", f"{best.sm_mhz:,.0f}"),
            f"{best.low_mhz:,.0f}-{best.high_mhz:,.0f}",
            f"{best.near_mhz[0]:,.0f}-{best.near_mhz[1]:,.0f}",
            *(f"{best.saving:.1%}", f"{best.slowdown:.1%}"),
            _remark(one),
        )
    console.print(table)
    console.print(
        f"within {NEAR:.0%}: clocks that take no more than that above the least; saves, slower: "
        "against the clock that an untouched GPU holds\n"
    )
    console.print("public measurements (model/public/README.md)", style="bold", markup=False)
    table = _table("GPU", "series")
    for name in ("MHz", "95% interval", f"within {NEAR:.0%}", "of highest", "measured MHz"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in public:
        table.add_row(
            each.gpu,
            each.name,
            f"{each.sm_mhz:,.0f}",
            f"{each.low_mhz:,.0f}-{each.high_mhz:,.0f}",
            f"{each.near_mhz[0]:,.0f}-{each.near_mhz[1]:,.0f}",
            f"{each.sm_mhz / each.to_mhz:.2f}",
            f"{each.from_mhz:,.0f}-{each.to_mhz:,.0f}",
        )
    console.print(table)


def _table(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _remark(one: StepOptimum) -> str:
    remarks = {"lowest": one.optimum.at_lowest, "transferred": one.transferred}
    return "\n".join(remark for remark, holds in remarks.items() if holds)


def _corners(curves: Curves) -> list[tuple[float, float]]:
    domain = curves.domain
    lengths = domain.prompt_tokens if curves.phase is Phase.PREFILL else domain.context_tokens
    assert lengths is not None, "every phase has a span of lengths"
    pairs = [(batch, tokens) for batch in domain.batch for tokens in lengths]
    return list(dict.fromkeys(pairs))


_STEP_MHZ = 15.0
"""Distance between the SM clocks that NVIDIA drivers list."""


_FEWEST = 5
"""Clocks that tell a least with an interval."""

_MOST_DEGREE = 7

_CLOSE = 1.2
"""Polynomials whose error at points left out is within this factor of the least are all likely."""

_PUBLIC_DRAWS = 1000


def _public(series: ClockSeries) -> PublicOptimum:
    """Return the least of a polynomial in log clock, fitted to log energy at all clocks.

    Its degree is that which predicts points left out best. The interval is over draws of the
    coefficients (Student's t), as the residuals leave them, of all degrees that do nearly as well.
    """
    top_mhz, low_mhz = float(series.sm_mhz[-1]), float(series.sm_mhz[0])
    log_mhz = np.log(series.sm_mhz / top_mhz)
    log_j = np.log(series.time_s * series.power_w)
    degrees = range(2, min(_MOST_DEGREE, series.sm_mhz.size // 3 + 1) + 1)
    missed = {degree: _left_out_error(np.vander(log_mhz, degree + 1), log_j) for degree in degrees}
    chosen = min(missed, key=lambda degree: missed[degree])
    likely = [degree for degree in degrees if missed[degree] <= _CLOSE * missed[chosen]]
    clocks = np.arange(low_mhz, top_mhz + 1e-6, _STEP_MHZ)
    rng = np.random.default_rng(0)
    drawn = []
    for degree in likely:
        grid = np.vander(np.log(clocks / top_mhz), degree + 1)
        powers = np.vander(log_mhz, degree + 1)
        found = np.linalg.lstsq(powers, log_j, rcond=None)[0]
        if degree == chosen:
            fitted_j = grid @ found
        spare = log_mhz.size - degree - 1
        variance = float(np.sum((log_j - powers @ found) ** 2)) / spare
        root = np.linalg.cholesky(variance * np.linalg.inv(powers.T @ powers))
        z = rng.standard_normal((_PUBLIC_DRAWS, degree + 1))
        z *= np.sqrt(spare / rng.chisquare(spare, (_PUBLIC_DRAWS, 1)))
        drawn.append(clocks[np.argmin(grid @ (found + z @ root.T).T, axis=0)])
    low, high = np.quantile(np.concatenate(drawn), (0.025, 0.975))
    near = clocks[fitted_j <= fitted_j.min() + np.log1p(NEAR)]
    return PublicOptimum(
        gpu=series.gpu,
        name=series.name,
        sm_mhz=float(clocks[int(np.argmin(fitted_j))]),
        low_mhz=float(low),
        high_mhz=float(high),
        near_mhz=(float(near[0]), float(near[-1])),
        from_mhz=low_mhz,
        to_mhz=top_mhz,
    )


def _left_out_error(powers: Array, target: Array) -> float:
    """Return the root mean square error of each point predicted from all others."""
    hat = powers @ np.linalg.pinv(powers)
    return float(np.sqrt(np.mean(((target - hat @ target) / (1 - np.diag(hat))) ** 2)))
