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
from model.fitted import FittedForm, Normals
from model.fitting import Series, fit_best
from model.forms import FORMS
from model.optimum import DRAWS, Optimum, draws_of, least_energy
from model.shape import Inputs
from model.work import Array, Phase, Work


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
    """Return the clock of least energy of each series, by forms fitted to all of its clocks."""
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


def _public(series: ClockSeries) -> PublicOptimum:
    work = Work.decode(np.ones_like(series.sm_mhz), 1.0)
    time, power = (
        fit_best([FORMS[name]], Series(Phase.DECODE, series.sm_mhz, work, target))
        for name, target in (("p-norm", series.time_s), ("voltage-knee", series.power_w))
    )
    low_mhz, high_mhz = float(series.sm_mhz[0]), float(series.sm_mhz[-1])
    clocks = np.arange(low_mhz, high_mhz + 1e-6, _STEP_MHZ)
    rng = np.random.default_rng(0)
    normals = [Normals(rng) for _ in range(DRAWS)]
    drawn = [_best(time.drawn(normal), power.drawn(normal), clocks) for normal in normals]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return PublicOptimum(
        series.gpu,
        series.name,
        _best(time, power, clocks),
        float(low),
        float(high),
        low_mhz,
        high_mhz,
    )


def _best(time: FittedForm, power: FittedForm, clocks: Array) -> float:
    values = []
    for form in (time, power):
        work = Work.decode(np.ones_like(clocks), 1.0)
        values.append(form.value(Inputs(clocks / form.reference_mhz, work, Phase.DECODE, {})))
    return float(clocks[int(np.argmin(values[0] * values[1]))])
