"""The whole reproduction: every sheet, as a value, a document and on the terminal.

In: the name of the paper. Out: sheets in the order of the page; ``-o`` files.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from model.calibration import Calibration, dump
from phasewatt import __version__
from phasewatt.errors import BadOption
from simulate.reproduction.measured import measured_sheet, shipped_casts
from simulate.reproduction.published import published
from simulate.reproduction.routing import mixture_sheet, pattern_sheet
from simulate.reproduction.sheet import Sheet, cell
from simulate.reproduction.side_by_side import (
    phase_aware,
    table_xi,
    table_xii,
    table_xvi,
    table_xvii,
    table_xviii,
)
from simulate.reproduction.tables import Paper, paper, pools

PAPERS = ("2501.08219",)


@dataclass(frozen=True)
class Reproduction:
    """A paper's figures, the calibration made of them, and every sheet."""

    paper: Paper
    calibration: Calibration
    sheets: tuple[Sheet, ...]

    def sheet(self, key: str) -> Sheet:
        """Return the sheet called ``key``."""
        return next(sheet for sheet in self.sheets if sheet.key == key)


def reproduce(name: str) -> Reproduction:
    """Run the paper ``name`` again.

    Raises:
        BadOption: its tables are not kept here.
    """
    if name not in PAPERS:
        raise BadOption(f"found paper {name!r}; expected {' or '.join(PAPERS)}")
    figures = paper()
    calibration = published(figures)
    sides = (table_xi, table_xii, table_xvi, phase_aware, table_xvii, table_xviii)
    return Reproduction(
        figures,
        calibration,
        (
            *(side(figures, calibration) for side in sides),
            pattern_sheet(figures, pools()),
            mixture_sheet(figures, calibration, pools()),
            *(measured_sheet(figures, cast) for cast in shipped_casts()),
        ),
    )


def print_reproduction(console: Console, reproduction: Reproduction) -> None:
    """Print every sheet with its notes."""
    for sheet in reproduction.sheets:
        console.print(f"[bold]{sheet.title}[/bold]")
        console.print(_table(sheet))
        for note in sheet.notes:
            console.print(f"- {note}", style="dim", markup=False)
        console.print()
    console.print(
        f"Figures of the paper: {reproduction.paper.name}. Ours are reckoned from them, unless a "
        "table says otherwise.",
        style="dim",
    )


def document(reproduction: Reproduction) -> dict[str, Any]:
    """Return every sheet as plain values."""
    return {
        "schema": "phasewatt-reproduction",
        "schema_version": 1,
        "phasewatt": __version__,
        "paper": reproduction.paper.name,
        "sheets": {sheet.key: sheet.document() for sheet in reproduction.sheets},
    }


def write_reproduction(reproduction: Reproduction, directory: Path) -> None:
    """Write the sheets, the calibration made of the paper, and the picture into ``directory``."""
    from simulate.reproduction.plot import plot_reproduction  # matplotlib takes its time

    text = json.dumps(document(reproduction), indent=2, allow_nan=False) + "\n"
    (directory / "reproduction.json").write_text(text, encoding="utf-8")
    (directory / "published.json").write_text(dump(reproduction.calibration), encoding="utf-8")
    plot_reproduction(reproduction, directory / "reproduction.png")


def _table(sheet: Sheet) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("")
    for column in sheet.columns:
        table.add_column(column.heading.strip(), justify="right", overflow="fold")
    for label, pairs in sheet.rows.items():
        table.add_row(label, *map(cell, sheet.columns, pairs))
    return table
