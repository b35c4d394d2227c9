"""How far predictions lie from logs, as a person reads it and as a machine does.

In: misses, goals, what logs say of their readings. Out: tables for the terminal, or one document of
plain values.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from calibrate.check import Clock, Goal, Misses, bias, mape
from calibrate.hosted import Disturbance
from calibrate.readings import ClockReading, Repeats, Response
from model.calibration import Calibration
from model.work import Array


def describe_misses(
    calibration: Calibration, found: Misses, points: int, reached: Sequence[Goal] | None
) -> dict[str, Any]:
    """Return the misses of each kind of row, of ``points`` rows in all, as plain values.

    ``reached`` are the goals, where rows were held out; else None.
    """
    return {
        "schema": "phasewatt-check",
        "calibration": calibration.name,
        "gpu": calibration.gpu.name,
        "held_out": reached is not None,
        "points": points,
        "not_predicted": points - found.time.size,
        "outside": int(found.outside.sum()),
        "misses": [
            {
                "model": key[0],
                "engine": key[1],
                "phase": key[2],
                "clock": key[3],
                "points": rows.time.size,
                "time": _values(rows.time, rows.time_inside),
                "power": _values(rows.power, rows.power_inside),
                "energy": _values(rows.energy),
                "settled_sm_mhz": _values(rows.settled_mhz),
                "settled_time": _values(rows.settled_time),
                "settled_energy": _values(rows.settled_energy),
            }
            for key, rows in _kinds(found, by_model=True)
        ],
        "goals": None
        if reached is None
        else [asdict(goal) | {"met": goal.met} for goal in reached],
    }


def print_misses(
    console: Console,
    calibration: Calibration,
    found: Misses,
    points: int,
    reached: Sequence[Goal] | None,
    verbose: bool,
) -> None:
    """Print the misses by engine, phase and clock, then goals; ``verbose`` parts models too."""
    what = "logs" if reached is None else "kinds of step that were held out, a fifth at a time"
    console.print(
        f"predictions of {calibration.name} against {what}: {found.time.size} points on "
        f"{calibration.gpu.name}",
        style="bold",
        markup=False,
    )
    words = ("model",) * verbose + ("engine", "phase", "clock")
    kinds = [(key[not verbose :], rows) for key, rows in _kinds(found, verbose)]
    console.print(_table(words, _COLUMNS, ((key, _cells(rows)) for key, rows in kinds)))
    console.print(
        "miss: mean absolute miss at the clock that was read; bias: mean of predicted over "
        "measured, less one; in 95%: share of points inside the prediction interval. Clocks: free "
        "at the highest, capped by the power limit, set (steered or locked)."
    )
    untouched = [(key, rows) for key, rows in kinds if key[-1] != Clock.SET]
    if untouched:
        console.print()
        cells = ((key, _settled_cells(rows)) for key, rows in untouched)
        console.print(_table(words, ("points", "clock", "time", "energy"), cells))
        console.print(
            "mean absolute miss at the clock that the calibration says the governor holds"
        )
    if points > found.time.size:
        console.print(f"! {points - found.time.size} of {points} points have no curves")
    if np.any(found.outside):
        console.print(
            f"! extrapolated: {int(found.outside.sum())} points lie outside the calibrated "
            "batches, lengths or clocks"
        )
    if reached is not None:
        _print_goals(console, reached)


def describe_readings(
    clocks: Sequence[ClockReading],
    again: Sequence[Repeats],
    answers: Sequence[Response],
    disturbed: Sequence[Disturbance],
) -> dict[str, Any]:
    """Return what logs say of their readings as a document of plain values."""
    return {
        "schema": "phasewatt-readings",
        "clocks": [asdict(one) for one in clocks],
        "repeats": [asdict(one) for one in again],
        "responses": [asdict(one) for one in answers],
        "disturbances": [asdict(one) for one in disturbed],
    }


def print_readings(
    console: Console,
    clocks: Sequence[ClockReading],
    again: Sequence[Repeats],
    answers: Sequence[Response],
    disturbed: Sequence[Disturbance],
) -> None:
    """Print both clocks of a step, how steps differ that were read twice, and what clocks did.

    Last comes how much longer steps took whose host was disturbed.
    """
    console.print("clock read on the device over the middle of NVML's, less one", style="bold")
    table = _plain("engine", "phase", "clock")
    for name in ("points", "mean", "lowest", "highest"):
        table.add_column(name, justify="right")
    for one in clocks:
        figures = (f"{value:+.1%}" for value in (one.mean, one.low, one.high))
        table.add_row(one.engine, one.phase, one.kind, str(one.points), *figures)
    console.print(table)
    console.print()
    _print_repeats(console, again)
    if answers:
        console.print()
        _print_responses(console, answers)
    if disturbed:
        console.print()
        _print_disturbances(console, disturbed)


def _print_repeats(console: Console, again: Sequence[Repeats]) -> None:
    if not again:
        console.print("no untouched step was measured more than once")
        return
    console.print("untouched steps that were measured more than once", style="bold")
    table = _plain("engine", "phase", "machine")
    for name in ("pairs", "time", "power", "clock"):
        table.add_column(name, justify="right")
    for each in again:
        spans = (
            f"{middle:.1%}, {most:.1%}" for middle, most in (each.time, each.power, each.clock)
        )
        table.add_row(each.engine, each.phase, each.machines, str(each.pairs), *spans)
    console.print(table)
    console.print("difference within a pair: median, largest")


def _print_responses(console: Console, answers: Sequence[Response]) -> None:
    console.print("time of steered steps: d ln time / d ln clock", style="bold")
    table = _plain("engine", "phase")
    for name in ("batch", "kinds", "points", "MHz", "slope", "95%"):
        table.add_column(name, justify="right")
    for one in answers:
        table.add_row(
            one.engine,
            one.phase,
            str(one.batch),
            str(one.kinds),
            str(one.points),
            f"{one.low_mhz:,.0f}-{one.high_mhz:,.0f}",
            f"{one.slope:+.2f}",
            f"± {one.half_width:.2f}",
        )
    console.print(table)
    console.print("within kinds of step, each on one machine")


def _print_disturbances(console: Console, disturbed: Sequence[Disturbance]) -> None:
    console.print("steps that the host launches, and what disturbed it", style="bold")
    table = _plain("machine")
    for name in ("points", "longer", "mean\nmoves", "own\nmoves", "idle\nW", "waiting\nW"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in disturbed:
        table.add_row(
            one.machine,
            str(one.points),
            f"{one.longer[0]:.0%}, {one.longer[1]:.0%}",
            *(_percent(share) for share in one.moved or (None, None)),
            *("-" if watts is None else f"{watts:.0f}" for watts in (one.idle_w, one.waiting_w)),
        )
    console.print(table)
    console.print(
        "longer: mean over undisturbed time, less one: middle point, worst; moves: between windows "
        "of a disturbed point, mean and undisturbed time; waiting: power while the GPU waited for "
        "its host"
    )


_COLUMNS = (
    "points",
    "time\nmiss",
    "\nbias",
    "\nin 95%",
    "power\nmiss",
    "\nbias",
    "\nin 95%",
    "energy\nmiss",
)


def _kinds(found: Misses, by_model: bool) -> Iterator[tuple[tuple[str, ...], Misses]]:
    columns = [found.model, found.engine, found.phase, found.clock]
    if not by_model:
        columns[0] = np.full(found.model.shape, "")
    keys = list(zip(*(column.tolist() for column in columns), strict=True))
    order = [clock.value for clock in Clock]
    for key in sorted(set(keys), key=lambda key: (key[1], key[2], key[0], order.index(key[3]))):
        yield key, found.rows(np.array([each == key for each in keys]))


def _cells(rows: Misses) -> list[str]:
    told = np.isfinite(rows.power)
    cells = [str(rows.time.size)]
    for misses, inside in (
        (rows.time, rows.time_inside),
        (rows.power[told], rows.power_inside[told]),
    ):
        share = f"{inside.mean():.0%}" if inside.size else "-"
        cells += [_percent(mape(misses)), _percent(bias(misses), "+"), share]
    return [*cells, _percent(mape(rows.energy))]


def _settled_cells(rows: Misses) -> list[str]:
    told = np.isfinite(rows.settled_mhz)
    figures = (rows.settled_mhz, rows.settled_time, rows.settled_energy)
    return [str(int(told.sum())), *(_percent(mape(misses)) for misses in figures)]


def _values(misses: Array, inside: NDArray[np.bool_] | None = None) -> dict[str, Any]:
    told = np.isfinite(misses)
    values: dict[str, Any] = {"told": int(told.sum()), "mape": mape(misses), "bias": bias(misses)}
    if inside is not None:
        values["inside_95"] = float(inside[told].mean()) if np.any(told) else None
    return values


def _print_goals(console: Console, reached: Sequence[Goal]) -> None:
    console.print()
    table = _plain("engine", "mean absolute miss of")
    for name in ("goal", "found", ""):
        table.add_column(name, justify="right")
    for goal in reached:
        verdict = "-" if goal.found is None else "met" if goal.met else "missed"
        table.add_row(goal.engine, goal.what, f"{goal.value:.0%}", _percent(goal.found), verdict)
    console.print(table)
    console.print("capped prefill: at the clock that the calibration says the governor holds")


def _table(
    words: Sequence[str], figures: Sequence[str], rows: Iterable[tuple[tuple[str, ...], list[str]]]
) -> Table:
    table = _plain(*words)
    for name in figures:
        table.add_column(name, justify="right", no_wrap=True)
    for key, cells in rows:
        table.add_row(*key, *cells)
    return table


def _plain(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for name in names:
        table.add_column(name, no_wrap=True)
    return table


def _percent(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.1%}"
