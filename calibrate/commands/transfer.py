"""``calibrate transfer``: curves of a model that was not measured, from its geometry."""

from pathlib import Path

import click

from phasewatt.console import note, out, print_json
from phasewatt.files import write_text


@click.command("transfer")
@click.argument("calibration")
@click.option(
    "--geometry",
    type=click.Path(path_type=Path),
    required=True,
    help="The model's config.json, as its makers publish it.",
)
@click.option("--name", help="What to call the model; by default as its config.json does.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Write here.")
@click.option("--json", "as_json", is_flag=True, help="Print what was added as JSON.")
def command(
    calibration: str, geometry: Path, name: str | None, output: Path, as_json: bool
) -> None:
    """Add a model to CALIBRATION (a file or a name) from its shape, without measuring it.

    Its curves are labelled transferred; their intervals are wider by how far predictions of each
    measured model from the others were off.
    """
    from dataclasses import replace

    from calibrate.hf_config import read_geometry
    from calibrate.show import describe, print_calibration
    from model.calibration import dump, load
    from model.transfer import transfer

    loaded = load(calibration)
    shape = read_geometry(geometry, name)
    extended = transfer(loaded, shape)
    write_text(output, dump(extended))
    added = tuple(c for c in extended.curves if c.model == shape.name)
    shown = replace(extended, curves=added, geometries=(shape,))
    if as_json:
        print_json(describe(shown))
    else:
        print_calibration(out(), shown)
        for curves in added:
            note(
                f"transferred: {curves.engine} {curves.phase}, from model to model time differs by "
                f"{curves.time.scale_sd:.2%} and power by {curves.power.scale_sd:.2%} "
                "(standard deviation)"
            )
        note(f"wrote {output}")
