"""``calibrate regimes``: which wall each step of an engine hits."""

from pathlib import Path

import click

from phasewatt.console import note, out, print_json
from phasewatt.files import whole_file


@click.command("regimes")
@click.argument("calibration")
@click.option("--engine", help="Which engine; by default the calibration's first.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Draw a map for each model and phase (PNG)."
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, for machines.")
def command(calibration: str, engine: str | None, plot: Path | None, as_json: bool) -> None:
    """Say where the steps of CALIBRATION (a file or a name) wait.

    Over the measured batches and lengths, with nothing asked of the governor.
    """
    from calibrate.regime_map import describe, print_maps, regime_maps
    from model.calibration import load

    loaded = load(calibration)
    asked = loaded.curves[0].engine if engine is None else engine
    maps = regime_maps(loaded, asked)
    if plot is not None:
        from calibrate.regime_plot import plot_maps

        with whole_file(plot) as temporary:
            plot_maps(f"{loaded.name}, {asked}: what sets the pace of a step", maps, temporary)
    if as_json:
        print_json(describe(loaded, asked, maps))
    else:
        print_maps(out(), loaded, asked, maps)
    if plot is not None:
        note(f"wrote {plot}")
