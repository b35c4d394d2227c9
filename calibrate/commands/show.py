"""``calibrate show``: what a calibration covers, how well it fits, where it comes from."""

from pathlib import Path

import click

from phasewatt.console import note, out, print_json
from phasewatt.files import whole_file


@click.command("show")
@click.argument("calibration")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Draw the curves with their points (PNG)."
)
@click.option(
    "--beyond-measured",
    is_flag=True,
    help="Add what the curves say below their measured clocks, by the shapes of public GPUs.",
)
@click.option("-v", "--verbose", is_flag=True, help="Add the forms tried and residual tests.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, for machines.")
def command(
    calibration: str, plot: Path | None, beyond_measured: bool, verbose: bool, as_json: bool
) -> None:
    """Print the domain, errors, coefficients and provenance of CALIBRATION (a file or a name)."""
    from calibrate.show import describe, print_calibration
    from model.beyond import beyond_measured as reach_beyond
    from model.calibration import load

    loaded = load(calibration)
    if beyond_measured:
        loaded = reach_beyond(loaded)
    if plot is not None:
        from calibrate.plots import plot_calibration

        with whole_file(plot) as temporary:
            plot_calibration(loaded, temporary)
    if as_json:
        print_json(describe(loaded))
    else:
        print_calibration(out(), loaded, verbose)
    if plot is not None:
        note(f"wrote {plot}")
