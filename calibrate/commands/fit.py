"""``calibrate fit``: a table of measurements, or the log of a run, becomes a calibration."""

import gzip
from dataclasses import replace
from pathlib import Path

import click

from calibrate.measurements import Study
from phasewatt.console import note, print_json
from phasewatt.errors import BadOption, BadTable
from phasewatt.files import write_text


@click.command("fit")
@click.argument(
    "measurements", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="FILE..."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Write here.")
@click.option(
    "--about", type=click.Path(path_type=Path), help="TOML about the table: GPU, provenance."
)
@click.option("--name", help="Name of the calibration; that of the table or the GPU if absent.")
@click.option("--licence", help="Licence of figures from logs, to stand in the calibration.")
@click.option("--gpu", help="Which GPU's rows to take, where the table holds several.")
@click.option("-v", "--verbose", is_flag=True, help="Add the forms tried and residual tests.")
@click.option("--json", "as_json", is_flag=True, help="Print the fit as JSON, for machines.")
def command(
    measurements: tuple[Path, ...],
    output: Path,
    about: Path | None,
    name: str | None,
    licence: str | None,
    gpu: str | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Fit a calibration from a CSV table, or from JSONL logs of `calibrate run`.

    Several logs must be of one kind of GPU; they may be compressed (.gz). Forms are chosen by
    hold-out error. The columns of a table are in docs/tables.md.
    """
    from calibrate.fit import fit_study
    from calibrate.show import describe, print_calibration
    from model.calibration import dump
    from phasewatt.console import out

    study = _study(measurements, about, gpu)
    if name is not None:
        study = replace(study, name=name)
    if licence is not None:
        study = replace(study, provenance=replace(study.provenance, licence=licence))
    calibration = fit_study(study)
    write_text(output, dump(calibration))
    if as_json:
        print_json(describe(calibration))
    else:
        print_calibration(out(), calibration, verbose)
        note(f"wrote {output}")


def _study(paths: tuple[Path, ...], about: Path | None, gpu: str | None) -> Study:
    logs = [_is_log(path) for path in paths]
    if all(logs):
        from calibrate.study import study_of_logs

        if about is not None or gpu is not None:
            raise BadOption("--about and --gpu go with a table; a log says both itself")
        return study_of_logs(paths)
    if len(paths) > 1:
        raise BadOption(f"{paths[logs.index(False)]}: is a table; expected it alone, or logs only")
    from calibrate.table import read_study

    return read_study(paths[0], about, gpu)


def _is_log(path: Path) -> bool:
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            return bytes(file.read(64)).lstrip().startswith(b"{")
    except FileNotFoundError:
        raise BadTable(
            f"{path}: no such file; expected a table of measurements or the log of a run"
        ) from None
    except OSError as error:
        raise BadTable(f"{path}: cannot be read: {error.strerror}") from error
