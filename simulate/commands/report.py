"""``simulate report``: result directories as one page, built again or compared."""

from pathlib import Path

import click

from phasewatt.console import note


@click.command("report")
@click.argument(
    "directories", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the page here. [default: report.html, in DIR where there is one]",
)
def command(directories: tuple[Path, ...], output: Path | None) -> None:
    """Build the page of each DIR, which `simulate -o` wrote, from its files; or compare several.

    Several DIRs make one page: their policies side by side, and what the runs were told
    differently. The page needs no network.
    """
    from simulate.results import write_report

    alone = directories[0] if len(directories) == 1 else Path()
    path = alone / "report.html" if output is None else output
    write_report(directories, path)
    note(f"wrote {path}")
