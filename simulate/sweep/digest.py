"""What determines a point, as one short text: equal digests, equal rows.

In: points, and the files that their words name. Out: a digest of each; a file that changes, a
version that changes or a word that changes makes another.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from model.calibration import Calibration, dump
from phasewatt import __version__
from simulate.sweep.plan import Plan, Point
from simulate.words import Words
from traces import Trace
from traces.recipe import PREFIX as RECIPE
from traces.trace import PER_MODEL, TEXT_COLUMNS

ROWS_VERSION = 1
"""What rows hold, and how it is reckoned apart from the version of phasewatt."""

_NAMED = ("trace", "format_", "skip_bad_rows", "calibration")
"""Words that name what is digested by its content."""

_OF_GROUP = re.compile(r"@([^,]+?):\d")


def digest_of_trace(trace: Trace) -> str:
    """Return the digest of every column of ``trace``, of its name and of its source."""
    columns: dict[str, Any] = {
        "arrival_s": trace.arrival_s,
        "prompt_tokens": trace.prompt_tokens,
        "output_tokens": trace.output_tokens,
        "priority": trace.priority,
        "block_hashes": trace.block_hashes,
        **{name: getattr(trace, name) for name in TEXT_COLUMNS},
        **{f"{name} {m}": v for name in PER_MODEL for m, v in getattr(trace, name).items()},
    }
    table = pa.table({name: column for name, column in columns.items() if column is not None})
    whole = hashlib.sha256(repr((trace.name, trace.source)).encode())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    whole.update(sink.getvalue())
    return whole.hexdigest()


def digest_of_calibration(calibration: Calibration) -> str:
    """Return the digest of all that ``calibration`` holds."""
    return hashlib.sha256(dump(calibration).encode()).hexdigest()


def digests_of(
    plan: Plan, traces: Mapping[tuple[Any, ...], str], calibrations: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the digest of each point of ``plan``.

    ``traces`` and ``calibrations`` hold the digests of those that the points name, by
    :func:`name_of_trace` and by what ``--calibration`` says.
    """
    files = cache(_digest_of_file)
    return tuple(
        _digest(point, plan, traces, calibrations, dict(_files(point.words, files)))
        for point in plan.points
    )


def name_of_trace(words: Words) -> tuple[Any, ...]:
    """Return the words that decide which trace is loaded; the seed counts where it is drawn."""
    seed = words["seed"] if words["trace"].startswith(RECIPE) else None
    return (words["trace"], words["format_"], words["skip_bad_rows"], seed)


def _digest(
    point: Point,
    plan: Plan,
    traces: Mapping[tuple[Any, ...], str],
    calibrations: Mapping[str, str],
    files: dict[str, str],
) -> str:
    sized_for = plan.policies if point.words["replicas"] == "auto" else ()
    determined = {
        "rows": ROWS_VERSION,
        "phasewatt": __version__,
        "words": {name: value for name, value in point.words.items() if name not in _NAMED},
        "sized_for": sized_for,
        "trace": traces[name_of_trace(point.words)],
        "calibration": calibrations[point.words["calibration"]],
        "files": files,
    }
    text = json.dumps(determined, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _files(words: Words, digest: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield the files that words name beside trace and calibration, with their digests."""
    named = [words["quality_from"], words["predictor"]]
    for policy in (*words["policies"], words["baseline"]):
        named += [part.strip().partition(":")[0] for part in re.split(r"[+|]", policy)]
    named += [found for group in words["groups"] for found in _OF_GROUP.findall(group)]
    for name in named:
        if name and Path(name).is_file():
            yield name, digest(name)


def _digest_of_file(name: str) -> str:
    return hashlib.sha256(Path(name).read_bytes()).hexdigest()
