"""What the commands of ``simulate`` do around the functions that they call.

In: what was asked of the outputs. Out: a directory to write into, a progress bar, a word about it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from phasewatt.console import note, progress
from phasewatt.files import whole_directory


def results_in(output: Path | None) -> AbstractContextManager[Path | None]:
    """Yield the directory to write results into, found writable before any work; None for none."""
    return nullcontext() if output is None else whole_directory(output)


@contextmanager
def replaying(queries: int, verbose: bool) -> Iterator[Callable[[int], None]]:
    """Yield what tells how many of ``queries`` are done; say at the end how long they took."""
    begun_s = time.monotonic()
    with progress("replaying", queries) as advance:
        yield advance
    say(verbose, f"replayed in {time.monotonic() - begun_s:.1f} s")


def say(verbose: bool, message: str) -> None:
    """Print ``message`` on standard error where ``verbose``."""
    if verbose:
        note(message)
