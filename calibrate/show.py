"""A calibration as a person reads it, and as a machine does.

In: a calibration. Out: tables for the terminal (domain, coefficients, errors, provenance), or one
document of plain values.
"""

import math
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from calibrate.below import below, describe_below, table_below
from calibrate.walls import as_text, as_values, walls
from model.calibration import Calibration
from model.curves import Curves
from model.fitted import FittedForm
from model.shape import Coefficient
from model.work import Phase


def describe(calibration: Calibration) -> dict[str, Any]:
    """Return the calibration without its points as a document of plain values."""
    return {
        "schema": "phasewatt-calibration-summary",
        "name": calibration.name,
        "gpu": asdict(calibration.gpu),
        "provenance": asdict(calibration.provenance),
        "curves": [
            {
                "model": curves.model,
                "engine": curves.engine,
                "phase": curves.phase.value,
                "origin": asdict(curves.origin),
                "points": len(curves.points.sm_mhz),
                "domain": asdict(curves.domain),
                "measured_mhz": list(curves.measured_mhz),
                "governor_limit_w": curves.governor_limit_w,
                "time": _form(curves.time),
                "power": _form(curves.power),
                "regimes": as_values(found),
            }
            for curves, found in zip(calibration.curves, walls(calibration), strict=True)
        ],
        "transferred": describe_below(below(calibration)),
    }


def print_calibration(console: Console, calibration: Calibration, verbose: bool = False) -> None:
    """Print what the calibration covers, how well it fits and where it comes from.

    ``verbose`` adds the forms that were tried and the diagnostics of the residuals.
    """
    gpu, provenance = calibration.gpu, calibration.provenance
    idle = "unknown" if gpu.idle_power_w is None else f"{gpu.idle_power_w:g} W"
    console.print(f"[bold]{calibration.name}[/bold]: {gpu.name}")
    console.print(f"power limit {gpu.power_limit_w:g} W, idle {idle}")
    host = calibration.host
    if host is not None:
        console.print(
            f"host {host.idle_w:.0f} W idle, {host.active_w:.0f} W active, for {host.gpus} GPUs"
        )
    console.print()
    console.print(_errors(calibration))
    console.print("hold-out: mean absolute error of points that the fit did not see (MAPE)")
    console.print()
    console.print(_regimes(calibration))
    console.print("what sets the pace at the highest calibrated clock, as the size grows")
    console.print()
    beyond = below(calibration)
    if beyond:
        console.print(table_below(beyond))
        console.print(
            "transferred: time and power of the smallest step at clocks below the measured ones, "
            "over those at the lowest measured clock, by the shapes of public GPUs"
        )
        console.print()
    console.print("coefficients, each with the half-width of its 95% interval", style="italic")
    _print_coefficients(console, calibration, verbose)
    console.print()
    for name, origin in sorted(gpu.origins.items()):
        console.print(f"{name}: {origin.kind}; {origin.source}", style="dim", markup=False)
    console.print(f"{provenance.kind}: {provenance.source}", style="dim", markup=False)
    console.print(f"how: {provenance.method}; {provenance.date}", style="dim", markup=False)
    versions = ", ".join(f"{name} {version}" for name, version in provenance.software.items())
    console.print(
        f"software: {versions or 'not told'}; licence: {provenance.licence}",
        style="dim",
        markup=False,
    )
    for line in provenance.notes:
        console.print(f"! {line}", style="dim", markup=False)


def _errors(calibration: Calibration) -> Table:
    table = _table(calibration)
    for name in ("SM MHz", "batch", "tokens", "points", "time\nhold-out", "power\nhold-out"):
        table.add_column(name, justify="right", no_wrap=True)
    for curves in calibration.curves:
        table.add_row(
            curves.model,
            curves.engine,
            curves.phase.value,
            _span(curves.measured_mhz),
            _span(curves.domain.batch),
            _span(_lengths(curves)),
            str(len(curves.points.sm_mhz)),
            f"{curves.time.errors.holdout_mape:.2%}",
            f"{curves.power.errors.holdout_mape:.2%}",
        )
    return table


def _regimes(calibration: Calibration) -> Table:
    """Return a table of how each series' regime changes with batch, at each end of its lengths."""
    table = _table(calibration)
    table.add_column("tokens", justify="right", no_wrap=True)
    table.add_column("batch", justify="right", no_wrap=True)
    table.add_column("regime")
    for curves, found in zip(calibration.curves, walls(calibration), strict=True):
        series = (curves.model, curves.engine, curves.phase.value)
        for edge in found.edges:
            if edge.along == "batch":
                sizes = f"{edge.fixed:,.0f}", _span((edge.start, edge.end))
                table.add_row(*series, *sizes, as_text(edge))
        if not found.edges:
            table.add_row(*series, "", "", "no calibrated clock holds under the power limit")
    return table


def _table(calibration: Calibration) -> Table:
    """Return a table that begins with the series; models are folded beyond 24 characters only."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    longest = max((len(curves.model) for curves in calibration.curves), default=0)
    table.add_column("model", overflow="fold", min_width=min(longest, _UNFOLDED))
    for name in ("engine", "phase"):
        table.add_column(name, no_wrap=True)
    return table


_UNFOLDED = 24


def _print_coefficients(console: Console, calibration: Calibration, verbose: bool) -> None:
    """Print each fitted form once, under all the curves that share it."""
    fits: dict[str, tuple[FittedForm, list[str]]] = {}
    for curves in calibration.curves:
        owner = f"{curves.model} {curves.engine} {curves.phase}"
        for figure, form in (("time", curves.time), ("power", curves.power)):
            key = f"{figure} {form.form} {form.coefficients} {form.covariance}"
            fits.setdefault(key, (form, []))[1].append(f"{figure} of {owner}")
    for form, owners in fits.values():
        console.print("; ".join(owners), style="bold", markup=False)
        console.print(
            f"  {form.definition.formula}; x = SM clock / {form.reference_mhz:,.0f} MHz",
            markup=False,
        )
        rows = Table.grid(padding=(0, 2))
        for index, coefficient in enumerate(form.definition.coefficients):
            half = float(form.half_widths()[index])
            rows.add_row(
                "",
                coefficient.name,
                _number(_rested(form, index)),
                "on its bound" if _on_bound(form, index) else f"+- {_number(half)}",
                coefficient.unit,
                coefficient.meaning,
            )
        console.print(rows, markup=False)
        if verbose:
            _print_checks(console, form)


def _print_checks(console: Console, form: FittedForm) -> None:
    errors, tests = form.errors, form.diagnostics
    tried = ", ".join(f"{name} {error:.2%}" for name, error in errors.candidates.items())
    console.print(f"  hold-out of the forms tried: {tried}", markup=False)
    console.print(
        f"  {errors.points} points at {errors.clocks} clocks; fit {errors.fit_mape:.2%}, worst "
        f"{errors.worst:.2%}; residuals: Durbin-Watson {_or_dash(tests.durbin_watson)}, normality "
        f"p {_or_dash(tests.normality_p)}, constant variance p "
        f"{_or_dash(tests.constant_variance_p)}",
        markup=False,
    )


def _form(form: FittedForm) -> dict[str, Any]:
    half = form.half_widths()
    return {
        "form": form.form,
        "formula": form.definition.formula,
        "reference_mhz": form.reference_mhz,
        "coefficients": [
            {
                "name": c.name,
                "unit": c.unit,
                "meaning": c.meaning,
                "value": float(form.theta[i]),
                "half_width_95": float(half[i]),
                "on_bound": _on_bound(form, i),
            }
            for i, c in enumerate(form.definition.coefficients)
        ],
        "residual_sd": form.residual_sd,
        "errors": asdict(form.errors),
        "diagnostics": asdict(form.diagnostics),
    }


def _on_bound(form: FittedForm, index: int) -> bool:
    """Whether a coefficient rests on its bound, or lies so near that rounding alone parts them."""
    known: Coefficient = form.definition.coefficients[index]
    value, room = float(form.theta[index]), _ROUNDING * (known.upper - known.lower)
    resting = value - known.lower <= room or known.upper - value <= room
    return resting or not float(form.covariance_matrix[index, index])


def _rested(form: FittedForm, index: int) -> float:
    """Return a coefficient, or the bound that it rests on but for rounding."""
    known, value = form.definition.coefficients[index], float(form.theta[index])
    if not _on_bound(form, index):
        return value
    return min((known.lower, known.upper), key=lambda bound: abs(value - bound))


_ROUNDING = 1e-12
"""Of the range between its bounds; far below any coefficient that points could tell."""


def _lengths(curves: Curves) -> tuple[float, float]:
    domain = curves.domain
    span = domain.prompt_tokens if curves.phase is Phase.PREFILL else domain.context_tokens
    return span or (math.nan, math.nan)


def _span(span: tuple[float, float]) -> str:
    low, high = span
    return f"{low:,.0f}" if low == high else f"{low:,.0f}-{high:,.0f}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _or_dash(value: float | None) -> str:
    return "-" if value is None else _number(value)
