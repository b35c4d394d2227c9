"""``calibrate doctor``: one table of what this machine allows, and what to do about each no."""

import click

from calibrate.doctor import Answer, Row
from phasewatt.console import out, print_json


@click.command("doctor")
@click.option("--gpu", default="0", show_default=True, help="Index, UUID, or a twin: twin:h100.")
@click.option(
    "--probe-lock",
    is_flag=True,
    help="Prove the permission to lock clocks by a lock that is given back at once.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON, for machines.")
def command(gpu: str, probe_lock: bool, as_json: bool) -> None:
    """Say what this machine allows, and what to do about each no.

    Nothing is changed, unless --probe-lock asks for a lock.
    """
    from calibrate.doctor import diagnose
    from calibrate.rig import open_gpu

    rows = diagnose(lambda: open_gpu(gpu), probe_lock)
    if as_json:
        print_json({"schema": "phasewatt-doctor", "checks": [_document(row) for row in rows]})
    else:
        _print(rows)


def _document(row: Row) -> dict[str, str]:
    return {
        "check": row.check,
        "answer": row.answer.value,
        "detail": row.detail,
        "remedy": row.remedy,
    }


_STYLES = {Answer.YES: "green", Answer.NO: "red", Answer.UNKNOWN: "yellow"}


def _print(rows: tuple[Row, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False, pad_edge=False)
    for heading in ("check", "", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        answer = Text(row.answer.value, _STYLES[row.answer])
        table.add_row(Text(row.check), answer, Text(row.detail), Text(row.remedy))
    out().print(table)
