"""``calibrate shapes``: what clocks do below a measured range, learnt from public GPUs."""

from pathlib import Path

import click

from phasewatt.console import note, out, print_json
from phasewatt.files import whole_file


@click.command("shapes")
@click.option(
    "--table",
    type=click.Path(path_type=Path),
    help="Measurements to learn from (CSV). [default: the shipped public ones]",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write the prior here."
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, for machines.")
def command(table: Path | None, output: Path | None, as_json: bool) -> None:
    """Learn from public GPUs what clocks do below a measured range, and check it on each.

    Of every series the clocks below 70% of its highest are left out, and predicted from the rest
    and from what all other kinds of GPU show.
    """
    from calibrate.public_clocks import TABLE, read_clocks
    from calibrate.shape_report import describe, print_shapes, prior_text
    from calibrate.shapes import derive, leave_out

    series = read_clocks(TABLE if table is None else table)
    prior = derive(series)
    checked = leave_out(series)
    if output is not None:
        with whole_file(output) as temporary:
            temporary.write_text(prior_text(prior), encoding="utf-8")
    if as_json:
        print_json(describe(prior, checked))
    else:
        print_shapes(out(), prior, checked)
    if output is not None:
        note(f"wrote {output}")
