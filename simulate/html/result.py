"""A directory of results as the page reads it.

In: a directory that ``simulate -o`` wrote. Out: its documents, checked to be whole and of one run,
or one line that says what is wrong.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from phasewatt.errors import BadResult
from simulate.curves_document import CURVES_SCHEMA, CURVES_VERSION
from simulate.document import SUMMARY_VERSION
from simulate.html.plan_part import PLAN_VERSION
from simulate.html.sweep_part import SWEEP_VERSION

SUMMARY_SCHEMA = "phasewatt-summary"

TABLES = ("requests.parquet", "power.parquet")

_ALSO = {"plan.json": PLAN_VERSION, "sweep.json": SWEEP_VERSION}
"""Documents of other commands, each with the version of its schema."""

_NEEDED = (
    *("versions", "command", "words", "scenario", "replicas", "trace", "groups", "policies"),
    *("warnings", "costs"),
)

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """One directory of results.

    Attributes:
        directory: where it is.
        name: as the page calls it, where it shows several.
        summary: ``summary.json``; empty where the directory holds no replay.
        curves: ``curves.json``; empty likewise.
        also: documents of other commands that are there, by file name.
    """

    directory: Path
    name: str
    summary: Document
    curves: Document
    also: Mapping[str, Document]

    @property
    def policies(self) -> list[str]:
        """The policies that were replayed, the baseline first."""
        return [each["policy"] for each in self.summary.get("policies", ())]


def read_results(directories: Sequence[Path]) -> list[Result]:
    """Return what each of ``directories`` holds, each called by its last name where that tells.

    Raises:
        BadResult: one is named twice, or as :func:`read_result` says.
    """
    for index, directory in enumerate(directories):
        if directory.resolve() in [other.resolve() for other in directories[:index]]:
            raise BadResult(f"{directory}: named twice; expected directories that differ")
    if len(directories) == 1:
        return [read_result(directories[0])]
    last = [directory.resolve().name for directory in directories]
    unique = len(set(last)) == len(last)
    names = last if unique else [str(directory) for directory in directories]
    return [read_result(*named) for named in zip(directories, names, strict=True)]


def read_result(directory: Path, name: str = "") -> Result:
    """Return what ``directory`` holds; tables are opened, not read.

    Raises:
        BadResult: it is no directory of results, lacks a part, or is of another schema.
    """
    if not directory.is_dir():
        found = "a file" if directory.exists() else "nothing"
        raise BadResult(f"{directory}: found {found}; expected a directory of `simulate -o`")
    also = {
        file: _document(directory / file, f"phasewatt-{Path(file).stem}", version)
        for file, version in _ALSO.items()
        if (directory / file).is_file()
    }
    if not (directory / "summary.json").is_file():
        if also:
            return Result(directory, name, {}, {}, also)
        raise BadResult(
            f"{directory}: holds no summary.json; expected a directory that `simulate -o` wrote"
        )
    summary = _document(directory / "summary.json", SUMMARY_SCHEMA, SUMMARY_VERSION)
    curves = _document(directory / "curves.json", CURVES_SCHEMA, CURVES_VERSION)
    for lacking in (name for name in _NEEDED if name not in summary):
        raise BadResult(f"{directory / 'summary.json'}: lacks {lacking!r}: replay again")
    result = Result(directory, name, summary, curves, also)
    for file in TABLES:
        _require_table(directory / file)
    rows = pq.read_metadata(directory / TABLES[0]).num_rows
    wanted = summary["trace"]["requests"] * len(result.policies)
    if rows != wanted:
        raise BadResult(
            f"{directory / TABLES[0]}: found {rows:,} rows; expected {wanted:,}, as summary.json "
            "tells: these files are of different runs"
        )
    return result


def _require_table(path: Path) -> None:
    try:
        pq.read_metadata(path)
    except FileNotFoundError:
        raise BadResult(f"{path}: is missing; copy the whole directory") from None
    except (OSError, pa.ArrowException):
        raise BadResult(
            f"{path}: cannot be read as Parquet; copy the whole directory again"
        ) from None


def _document(path: Path, schema: str, version: int) -> Document:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadResult(f"{path}: is missing; copy the whole directory") from None
    except OSError as error:
        raise BadResult(f"{path}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise BadResult(
            f"{path}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}"
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise BadResult(f"{path}: not JSON text") from None
    if not isinstance(document, dict) or document.get("schema") != schema:
        raise BadResult(f'{path}: found no "schema" of "{schema}", as `simulate -o` writes')
    found = document.get("schema_version")
    if found != version:
        raise BadResult(
            f"{path}: schema_version is {found!r}; expected {version}: "
            + (
                "it was written by a newer phasewatt: update this one"
                if isinstance(found, int) and found > version
                else "it was written by an older phasewatt: replay again"
            )
        )
    return document
