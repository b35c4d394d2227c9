"""The prior of shapes and its check, as a person reads them, and as a machine does.

In: a prior and how well left-out clocks were predicted. Out: tables, a document, a file's text.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from rich import box
from rich.console import Console
from rich.table import Table

from calibrate.shapes import TOP_SHARE, LeftOut
from model.clock_shape import ShapePrior


def prior_text(prior: ShapePrior) -> str:
    """Return the prior as the JSON text that is shipped."""
    return TypeAdapter(ShapePrior).dump_json(prior, indent=1).decode() + "\n"


def describe(prior: ShapePrior, checked: Sequence[LeftOut]) -> dict[str, Any]:
    """Return both as a document of plain values."""
    return {
        "schema": "phasewatt-clock-shapes",
        "prior": asdict(prior),
        "left_out_below": TOP_SHARE,
        "left_out": [asdict(one) for one in checked],
        "time_inside": _share(checked, "time_inside"),
        "power_inside": _share(checked, "power_inside"),
    }


def print_shapes(console: Console, prior: ShapePrior, checked: Sequence[LeftOut]) -> None:
    """Print the parameters of the prior, then how each series' left-out clocks were predicted."""
    console.print(
        f"what {prior.series} series of {', '.join(prior.gpus)} show below their measured clocks",
        style="bold",
    )
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("", "mean", "sd"):
        table.add_column(name, justify="right" if table.columns else "left", no_wrap=True)
    table.add_column("")
    for name, known, meaning in (
        ("log p", prior.time.log_sharpness, "sharpness of time's bend; 0 where less"),
        ("turn of time", prior.time.turn, "change of elasticity at the edge"),
        ("knee", prior.power.knee, "voltage is level below this share of the highest clock"),
        ("dynamic share", prior.power.dynamic, "of the power at the edge, at most"),
        ("turn of power", prior.power.turn, "change of elasticity at the edge"),
    ):
        table.add_row(name, f"{known.mean:.3f}", f"{known.sd:.3f}", meaning)
    console.print(table)
    console.print()
    console.print(
        f"clocks below {TOP_SHARE:.0%} of the highest left out, predicted from the rest and the "
        "other kinds of GPU",
        style="bold",
    )
    console.print(_checks(checked))
    console.print(
        "in 95%: share of the clocks left out that lie within their 95% interval; off: mean error; "
        "factor: half the interval at the lowest clock"
    )


def _checks(checked: Sequence[LeftOut]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("GPU", no_wrap=True)
    table.add_column("series", no_wrap=True)
    figures = [f"{what}\n{figure}" for what in ("time", "power") for figure in _FIGURES]
    for name in ("fitted\nfrom MHz", "left out\nfrom MHz", "clocks", *figures):
        table.add_column(name, justify="right", no_wrap=True)
    for one in checked:
        table.add_row(
            one.gpu,
            one.name,
            f"{one.measured_mhz[0]:,.0f}",
            f"{one.lowest_mhz:,.0f}",
            str(one.points),
            *_figures(one.time_inside, one.time_off, one.time_half),
            *_figures(one.power_inside, one.power_off, one.power_half),
        )
    table.add_section()
    table.add_row(
        "all",
        "",
        "",
        "",
        str(sum(one.points for one in checked)),
        f"{_share(checked, 'time_inside'):.0%}",
        "",
        "",
        f"{_share(checked, 'power_inside'):.0%}",
        "",
        "",
    )
    return table


_FIGURES = ("in 95%", "off", "factor")

_MOST_FACTOR = 10.0
"""Three clocks with one degree of freedom tell next to nothing: such intervals are not printed."""


def _figures(inside: float, off: float, half: float) -> tuple[str, str, str]:
    factor = 1 + half
    text = f"{factor:.2f}" if factor < _MOST_FACTOR else f"> {_MOST_FACTOR:.0f}"
    return f"{inside:.0%}", f"{off:.1%}", text


def _share(checked: Sequence[LeftOut], name: str) -> float:
    points = [one.points for one in checked]
    return float(np.average([getattr(one, name) for one in checked], weights=points))
