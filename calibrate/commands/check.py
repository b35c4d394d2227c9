"""``calibrate check``: how far the predictions of a calibration lie from logs."""

from pathlib import Path

import click

from phasewatt.console import out, print_json
from phasewatt.errors import BadOption


@click.command("check")
@click.argument("calibration")
@click.argument("logs", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="LOG...")
@click.option(
    "--hold-out",
    is_flag=True,
    help="Solve the chosen forms again without each fifth of the kinds of step, and predict it.",
)
@click.option(
    "--readings",
    is_flag=True,
    help="Compare the logs' readings instead: both clocks, steps measured twice, steered times.",
)
@click.option("-v", "--verbose", is_flag=True, help="Tell models apart.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, for machines.")
def command(
    calibration: str,
    logs: tuple[Path, ...],
    hold_out: bool,
    readings: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Predict every point of LOGs of `calibrate run` with CALIBRATION (a file or a name).

    Logs that the fit saw say how well it fits; others, and --hold-out, how well it predicts. The
    logs must be of the calibration's kind of GPU.
    """
    if hold_out and readings:
        raise BadOption("--readings: found with --hold-out; expected one of them")
    from calibrate import check_report as report
    from calibrate.check import check, check_held_out, goals
    from calibrate.study import study_of_logs
    from model.calibration import load

    loaded = load(calibration)
    study = study_of_logs(logs)
    missed = check(loaded, study)
    if readings:
        from calibrate.hosted import disturbances
        from calibrate.log import read_log
        from calibrate.readings import clock_readings, repeats, responses

        read = [read_log(path) for path in logs]
        found = clock_readings(read), repeats(read), responses(read), disturbances(read)
        if as_json:
            print_json(report.describe_readings(*found))
        else:
            report.print_readings(out(), *found)
        return
    reached = None
    if hold_out:
        missed = check_held_out(loaded, study)
        reached = goals(missed)
    points = len(study.measurements)
    if as_json:
        print_json(report.describe_misses(loaded, missed, points, reached))
    else:
        report.print_misses(out(), loaded, missed, points, reached, verbose)
