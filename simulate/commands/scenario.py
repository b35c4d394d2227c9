"""``simulate scenario``: files that say what a command line says, written and checked."""

from pathlib import Path
from typing import Any

import click

from phasewatt.console import note, print_json
from phasewatt.errors import BadOption
from phasewatt.files import write_text
from simulate.options import REPLAY, epilog, said
from simulate.topics import ByTopic
from simulate.words import command_line


@click.group("scenario")
def command() -> None:
    """Write or check a file that says what a command line says, for `--scenario`."""


def _fill(context: click.Context, _option: click.Parameter, path: Path | None) -> None:
    if path is not None and not context.resilient_parsing:
        from simulate.scenario_file import words_of_summary

        context.default_map = words_of_summary(path)


@command.command(
    "init", cls=ByTopic, epilog=epilog(), short_help="Write one, with the options given filled in."
)
@click.option(
    *("-o", "--to"),
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the file here; print it if absent.",
)
@click.option(
    *("--from", "origin"),
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_fill,
    metavar="DIR|FILE",
    help="Say what made this result: a directory of results, or its summary.json.",
)
@said(*REPLAY)
def init(to: Path | None, **words: Any) -> None:
    """Write a scenario file: every option with its help, and those given here filled in."""
    from simulate.scenario_text import scenario_text

    if to is None:
        click.echo(scenario_text(words), nl=False)
        return
    if to.exists():
        raise BadOption(f"{to}: is there already; expected the name of a new file")
    write_text(to, scenario_text(words, to.parent))
    note(f"wrote {to}: simulate --scenario {to}")


@command.command("check", short_help="Say that one is right, or in which line it is not.")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, for machines.")
def check(file: Path, as_json: bool) -> None:
    """Say that a scenario file is right, or in which line it is not; nothing is replayed."""
    from simulate.scenario_check import check_scenario_file

    checked = check_scenario_file(file)
    if as_json:
        print_json(checked.document)
        return
    click.echo(f"{file} is right. It says:\n  {command_line(checked.words)}")
    if checked.trace is None:
        click.echo("It names no trace: that is left to the command line, and little was checked.")
    else:
        click.echo(
            f"{checked.requests:,} requests of {checked.trace}; replicas that serve: "
            f"{checked.replicas}."
        )
