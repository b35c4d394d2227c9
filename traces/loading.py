"""One way in: whatever names a trace becomes a ``Trace``.

In: a shipped name, a path, or a recipe that starts with ``synthetic:``. Out: a ``Trace``.
"""

from pathlib import Path

from phasewatt.errors import BadTrace
from traces.formats import FORMATS, format_named
from traces.nearest import suggestion
from traces.reading import read_trace
from traces.recipe import PREFIX, parse_recipe
from traces.shipped import SHIPPED
from traces.trace import Trace


def load(
    spec: str | Path, *, format: str | None = None, skip_bad_rows: bool = False, seed: int = 0
) -> Trace:
    """Load the trace that ``spec`` names.

    Args:
        spec: a shipped name (``known_traces()``), the path of a trace file, or a recipe such as
            ``synthetic:poisson,rate=3,n=1000,prompt=512,output=lognormal:128:0.9``.
        format: the format of the file (``known_formats()``); without it the content decides.
        skip_bad_rows: leave broken rows out and count them in ``trace.source.skipped`` instead
            of refusing the file.
        seed: the seed >= 0 of a synthetic trace; the same seed gives the same bytes.

    Raises:
        BadTrace: nothing has that name, the file or a row of it is broken, or the recipe is
            malformed. The message is one line.
    """
    words = str(spec)
    if words.startswith(PREFIX):
        recipe = parse_recipe(words)
        rows = None if recipe.lengths_from is None else load(recipe.lengths_from)
        return recipe.draw(seed, rows)
    if format is not None:
        format_named(format)
    shipped = SHIPPED.get(words)
    if shipped is not None and format in (None, shipped.format):
        return read_trace(shipped.path, format=shipped.format, name=words, source=shipped.source)
    path = Path(spec)
    if shipped is not None and not _exists(path):
        raise BadTrace(f"{words}: found format {format!r}, expected {shipped.format!r} or none")
    if not _exists(path):
        raise BadTrace(
            f"{words}: found no such file or shipped trace{suggestion(words, SHIPPED)}; shipped "
            f"traces: {', '.join(SHIPPED)}; or {PREFIX}..."
        )
    return read_trace(path, format=format, skip_bad_rows=skip_bad_rows)


def known_traces() -> tuple[str, ...]:
    """The names of the shipped traces."""
    return tuple(SHIPPED)


def known_formats() -> tuple[str, ...]:
    """The names that ``format=`` takes."""
    return tuple(FORMATS)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name too long for any file
        return False
