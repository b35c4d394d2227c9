"""``calibrate optimum``: the clocks of least energy, and those of public GPUs beside them."""

import click

from phasewatt.console import out, print_json


@click.command("optimum")
@click.argument("calibration")
@click.option(
    "--phase",
    type=click.Choice(["prefill", "decode"]),
    default="decode",
    show_default=True,
    help="Which phase.",
)
@click.option(
    "--beyond-measured",
    is_flag=True,
    help="Look below the measured clocks too, where curves are transferred.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, for machines.")
def command(calibration: str, phase: str, beyond_measured: bool, as_json: bool) -> None:
    """Say at which clock each model of CALIBRATION (a file or a name) takes the least energy.

    At the corners of the measured batches and lengths, with 95% intervals; below them the same of
    public measurements on the same kind of GPU, or on all where there are none.
    """
    from calibrate.optimum import describe, of_the_same_kind, optima, print_optima, public_optima
    from calibrate.public_clocks import read_clocks
    from model.beyond import beyond_measured as reach_beyond
    from model.calibration import load
    from model.work import Phase

    loaded = load(calibration)
    if beyond_measured:
        loaded = reach_beyond(loaded)
    found, public = (
        optima(loaded, Phase(phase)),
        public_optima(of_the_same_kind(read_clocks(), loaded.gpu.name)),
    )
    if as_json:
        print_json(describe(loaded, found, public))
    else:
        print_optima(out(), loaded, found, public)
