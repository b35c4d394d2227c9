"""The manners of every command: one-line errors, tables, progress, JSON for machines.

In: what a command computed. Out: text on the terminal. Both command lines share this module.
"""

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from phasewatt.errors import UserError

USER_ERROR_EXIT = 2

_PROGRESS_AFTER_S = 2.0


class Commands(click.Group):
    """A click group whose commands end with one line and exit code 2 on a user error or Ctrl-C."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command; see :class:`click.Group`. Its context holds the words as typed."""
        kwargs["standalone_mode"] = False
        typed = args[0] if args else kwargs.get("args")
        kwargs.setdefault("obj", sys.argv[1:] if typed is None else list(typed))
        try:
            with _terminated_like_ctrl_c():
                result = super().main(*args, **kwargs)
        except UserError as error:
            _fail(str(error))
        except click.exceptions.Exit as error:
            sys.exit(error.exit_code)
        except click.exceptions.NoArgsIsHelpError as error:
            # A group that was named without a command: its help is the answer.
            error.show()
            sys.exit(USER_ERROR_EXIT)
        except click.UsageError as error:
            _fail(_one_line(error.format_message()), hint=_help_hint(error))
        except click.ClickException as error:
            _fail(_one_line(error.format_message()))
        except (KeyboardInterrupt, click.Abort):
            _fail("interrupted; nothing was written by the step that was cut off")
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(1)
        sys.exit(result if isinstance(result, int) else 0)


class LazyCommands(Commands):
    """Names every command and imports only the one that is called.

    ``lazy`` maps the name of each command to what it does, in the order in which a user meets them;
    the command itself is ``command`` in the module of that name in ``package``.
    """

    def __init__(self, *args: Any, package: str, lazy: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.package = package
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        del ctx
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command named ``cmd_name``, or None."""
        del ctx
        if cmd_name not in self.lazy:
            return None
        command: click.Command = import_module(f"{self.package}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(self.lazy.items()))


def out() -> Console:
    """Return the console for results: standard output, 100 columns when it is not a terminal."""
    width = None if sys.stdout.isatty() else 100
    return Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False)


def note(message: str) -> None:
    """Print one line for the user on standard error."""
    click.echo(message, err=True)


def print_json(document: Mapping[str, Any]) -> None:
    """Print ``document`` as JSON for machines; NaN and infinities are not allowed in it."""
    click.echo(json.dumps(document, indent=2, allow_nan=False))


@contextlib.contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield ``advance(n)``; a bar shows on a terminal once the work has taken two seconds."""
    import time

    if not sys.stderr.isatty():
        yield lambda _n: None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    )
    task = bar.add_task(label, total=total)
    begun_s = time.monotonic()
    shown = False

    def advance(n: int) -> None:
        nonlocal shown
        bar.update(task, advance=n)
        if not shown and time.monotonic() - begun_s > _PROGRESS_AFTER_S:
            bar.start()
            shown = True

    try:
        yield advance
    finally:
        if shown:
            bar.stop()


@contextmanager
def _terminated_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM unwind as Ctrl-C does, so that half-written outputs are removed."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    in_main_thread = threading.current_thread() is threading.main_thread()
    ours = in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _fail(message: str, hint: str = "") -> None:
    click.echo(f"error: {message}{hint}", err=True)
    sys.exit(USER_ERROR_EXIT)


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _help_hint(error: click.UsageError) -> str:
    if error.ctx is None:
        return ""
    return f" (see '{error.ctx.command_path} --help')"
