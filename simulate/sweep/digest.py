"""What determines a point, as one short text: equal digests, equal rows.

In: points, the digests of traces and calibrations. Out: a digest of each point; a word, a file that
a word names, or a version that changes makes another.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from phasewatt import __version__
from simulate.topics import Topical
from simulate.words import Words, word_options
from traces.recipe import PREFIX as RECIPE

ROWS_VERSION = 1
"""Of what rows hold; it rises with their columns."""

_BY_CONTENT = ("trace", "format_", "calibration")
"""Words that name what is digested by its content."""


def digest_of(
    words: Words,
    sized_for: tuple[str, ...],
    trace: str,
    calibration: str,
    files: Mapping[str, str | None],
) -> str:
    """Return the digest of a point.

    ``trace`` and ``calibration`` are the digests of those that ``words`` name, ``files`` those of
    :func:`files_of`; ``sized_for`` are the policies that a fleet of ``--replicas auto`` is for.
    """
    determined = {
        "rows": ROWS_VERSION,
        "phasewatt": __version__,
        "words": {name: value for name, value in words.items() if name not in _BY_CONTENT},
        "sized_for": sized_for,
        "trace": trace,
        "calibration": calibration,
        "files": dict(files),
    }
    text = json.dumps(determined, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def name_of_trace(words: Words) -> tuple[Any, ...]:
    """Return the words that decide which trace is loaded; the seed counts where it is drawn."""
    seed = words["seed"] if words["trace"].startswith(RECIPE) else 0
    return (words["trace"], words["format_"], words["skip_bad_rows"], seed)


def files_of(words: Words, sized_for: tuple[str, ...]) -> Iterator[str]:
    """Yield the files that ``words`` and ``sized_for`` name, but for trace and calibration."""
    said_of = {**words, "policies": (*words["policies"], *sized_for)}
    for option in word_options():
        name = str(option.name)
        said = said_of[name]
        if not isinstance(option, Topical) or option.files is None or name in _BY_CONTENT:
            continue
        for text in said if option.multiple else (said,):
            for found in option.files.findall(text or ""):
                if Path(found).is_file():
                    yield found


def digest_of_file(name: str) -> str | None:
    """Return the digest of what the file ``name`` holds; None if it cannot be read."""
    try:
        return hashlib.sha256(Path(name).read_bytes()).hexdigest()
    except OSError:
        return None
