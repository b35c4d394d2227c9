"""``simulate reproduce``: a paper's tables beside ours."""

from pathlib import Path

import click

from phasewatt.console import note, out, print_json
from simulate.shell import results_in


@click.command("reproduce")
@click.argument("paper", metavar="PAPER")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write results here."
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, for machines.")
def command(paper: str, output: Path | None, as_json: bool) -> None:
    """Run PAPER again: its tables beside ours, and its use case on measured clocks.

    PAPER is 2501.08219, the one that phasewatt starts from.
    """
    from simulate.reproduction.reproduce import (
        document,
        print_reproduction,
        reproduce,
        write_reproduction,
    )

    with results_in(output) as directory:
        reproduction = reproduce(paper)
        if directory is not None:
            write_reproduction(reproduction, directory)
    if as_json:
        print_json(document(reproduction))
    else:
        print_reproduction(out(), reproduction)
    if output is not None:
        note(f"wrote {output}/: reproduction.json, published.json, reproduction.png")
