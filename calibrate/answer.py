"""A prediction as a person reads it, and as a machine does.

In: a prediction and the calibration that it comes from. Out: a table for the terminal, or one
document of plain values.
"""

import math
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from model.calibration import Calibration
from model.optimum import Optimum
from model.prediction import Figure, Prediction
from model.work import Phase


def describe(
    calibration: Calibration, prediction: Prediction, optimum: Optimum | None = None
) -> dict[str, Any]:
    """Return the prediction as a document of plain values; the stock clock is None.

    ``optimum`` is the clock of least energy, where that was asked for.
    """
    step = prediction.step
    length = "prompt_tokens" if step.phase is Phase.PREFILL else "context_tokens"
    asked = step.requested_mhz
    return {
        "schema": "phasewatt-prediction",
        "calibration": calibration.name,
        "gpu": calibration.gpu.name,
        "model": step.model,
        "engine": step.engine,
        "phase": step.phase.value,
        "batch": step.batch,
        length: step.tokens,
        "requested_sm_mhz": None if math.isinf(asked) else asked,
        "sm_mhz": asdict(prediction.sm_mhz),
        "time_s": asdict(prediction.time_s),
        "power_w": asdict(prediction.power_w),
        "energy_j": asdict(prediction.energy_j),
        "energy_per_token_j": asdict(prediction.energy_per_token_j),
        "regime": prediction.regime.value,
        "elasticity": prediction.elasticity,
        "inside_domain": not (prediction.outside or prediction.transferred),
        "outside": list(prediction.outside),
        "transferred": list(prediction.transferred),
        "least_energy": None if optimum is None else asdict(optimum),
        "origin": asdict(prediction.origin),
    }


def print_prediction(
    console: Console,
    calibration: Calibration,
    prediction: Prediction,
    optimum: Optimum | None = None,
) -> None:
    """Print what was asked, the figures with their 95% intervals, the regime and the origin.

    ``optimum`` is the clock of least energy, where that was asked for.
    """
    step = prediction.step
    length = "prompt" if step.phase is Phase.PREFILL else "context"
    asked = "stock clock" if math.isinf(step.requested_mhz) else f"{step.requested_mhz:,g} MHz"
    console.print(
        f"{step.phase} of {step.model} in {step.engine} on {calibration.gpu.name}: "
        f"batch {step.batch:g}, {length} {step.tokens:,g} tokens, {asked}",
        style="bold",
        markup=False,
    )
    table = Table(show_edge=False, pad_edge=False)
    for name in ("", "", "95% interval"):
        table.add_column(name, justify="left" if not table.columns else "right")
    for name, figure, unit, scale in (
        ("SM clock", prediction.sm_mhz, "MHz", 1.0),
        ("time", prediction.time_s, *_scaled(prediction.time_s, "s")),
        ("power", prediction.power_w, "W", 1.0),
        ("energy", prediction.energy_j, "J", 1.0),
        (
            "energy per token",
            prediction.energy_per_token_j,
            *_scaled(prediction.energy_per_token_j, "J"),
        ),
    ):
        table.add_row(name, f"{_number(figure.value * scale)} {unit}", _interval(figure, scale))
    console.print(table)
    console.print(
        f"{prediction.regime}: 1% less clock costs {prediction.elasticity:.2f}% time", markup=False
    )
    if optimum is not None:
        console.print(as_text(optimum), markup=False)
    for line in prediction.outside:
        console.print(f"! extrapolated: {line}", markup=False)
    for line in prediction.transferred:
        console.print(f"! transferred: {line}", markup=False)
    if not prediction.outside and not prediction.transferred:
        console.print("inside the calibrated domain")
    origin = prediction.origin
    console.print(f"{origin.kind}: {origin.source}", style="dim", markup=False)


def as_text(optimum: Optimum) -> str:
    """Return the clock of least energy in words."""
    lowest = ", the lowest of them" if optimum.at_lowest else ""
    return (
        f"least energy of the clocks {optimum.from_mhz:,g} to {optimum.to_mhz:,g} MHz{lowest}; 95% "
        f"interval of that clock {optimum.low_mhz:,.0f} to {optimum.high_mhz:,.0f} MHz; saves "
        f"{optimum.saving:.1%} and takes {optimum.slowdown:.1%} longer than at the untouched "
        f"{optimum.stock_mhz:,.0f} MHz"
    )


def _scaled(figure: Figure, unit: str) -> tuple[str, float]:
    """Return the unit, or its thousandth where the figure is small, and how many go into one."""
    return (f"m{unit}", 1e3) if figure.value < 1 else (unit, 1.0)


def _interval(figure: Figure, scale: float) -> str:
    if figure.low == figure.high:
        return ""
    return f"{_number(figure.low * scale)} to {_number(figure.high * scale)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
