"""Outcomes of several models on the same queries: what predictors learn from.

In: arrays, or a CSV file (also .csv.gz). Out: an :class:`OutcomeTable`. Columns of a file:

- ``id``: one of its own for each query; ``task``: optional;
- ``text``, or ``extractor`` (the name of what made the features, the same in every row) with one
  column ``feature:NAME`` each;
- ``right:MODEL`` for every model, 0..1; ``confidence:MODEL``, optional: the model's log-probability
  that its own answer is right, at most 0.
"""

import csv
import gzip
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.difficulty.features import DEFAULT, Features, features_of
from phasewatt.errors import BadPredictor

RIGHT, CONFIDENCE, FEATURE = "right:", "confidence:", "feature:"


@dataclass(frozen=True)
class OutcomeTable:
    """``outcomes`` and ``confidences`` have shape (n, len(models)); the latter may be unknown."""

    ids: NDArray[np.str_] = field(repr=False)
    tasks: NDArray[np.str_] | None = field(repr=False)
    features: Features
    models: tuple[str, ...]
    outcomes: NDArray[np.float64] = field(repr=False)
    confidences: NDArray[np.float64] | None = field(repr=False, default=None)

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, chosen: NDArray[np.int_] | NDArray[np.bool_]) -> "OutcomeTable":
        """Return the rows ``chosen``."""
        return OutcomeTable(
            self.ids[chosen],
            None if self.tasks is None else self.tasks[chosen],
            self.features.rows(chosen),
            self.models,
            self.outcomes[chosen],
            None if self.confidences is None else self.confidences[chosen],
        )

    def column(self, model: str) -> int:
        """Return the column of ``model``.

        Raises:
            BadPredictor: the table does not have it.
        """
        if model not in self.models:
            raise BadPredictor(f"unknown model {model!r}; this table has {', '.join(self.models)}")
        return self.models.index(model)

    def of_models(self, models: Sequence[str]) -> "OutcomeTable":
        """Return the table with ``models`` only, in that order."""
        columns = [self.column(model) for model in models]
        return OutcomeTable(
            self.ids,
            self.tasks,
            self.features,
            tuple(models),
            self.outcomes[:, columns],
            None if self.confidences is None else self.confidences[:, columns],
        )


def read_table(
    path: Path,
    extractor: str = DEFAULT,
    make: Callable[[Sequence[str], str], Features] = features_of,
) -> OutcomeTable:
    """Read a table; where it holds text, ``make`` makes its features as ``extractor`` names them.

    Raises:
        BadPredictor: the file cannot be read, or a line or column is not as the format says.
    """
    lines = csv.reader(io.StringIO(_text(path)))
    header = next(lines, [])
    models = tuple(name.removeprefix(RIGHT) for name in header if name.startswith(RIGHT))
    _require_header(path, header, models)
    at = {name: column for column, name in enumerate(header)}
    rows = [row for row in lines if row]
    if not rows:
        raise BadPredictor(f"{path}: no rows below the header")
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise BadPredictor(
                f"{path}: line {line}: {len(row)} fields; expected {len(header)} as in the header"
            )
    ids = np.array([row[at["id"]] for row in rows], dtype=np.str_)
    _require_own_ids(path, ids)
    confident = [f"{CONFIDENCE}{model}" for model in models]
    return OutcomeTable(
        ids=ids,
        tasks=np.array([row[at["task"]] for row in rows]) if "task" in at else None,
        features=_features(path, at, rows, extractor, make),
        models=models,
        outcomes=_numbers(path, at, rows, [f"{RIGHT}{model}" for model in models], (0.0, 1.0)),
        confidences=(
            _numbers(path, at, rows, confident, (-math.inf, 0.0))
            if all(name in at for name in confident)
            else None
        ),
    )


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise BadPredictor(f"{path}: no such file; expected a table of outcomes") from None
    except (OSError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "broken gzip"
        raise BadPredictor(f"{path}: cannot be read: {reason}") from error
    except UnicodeDecodeError:
        raise BadPredictor(f"{path}: not UTF-8 text; expected a CSV table of outcomes") from None


def _require_header(path: Path, header: list[str], models: tuple[str, ...]) -> None:
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise BadPredictor(f"{path}: column {twice!r} is there twice")
    if "id" not in header:
        raise BadPredictor(f"{path}: no column 'id'; found {', '.join(header[:6]) or 'nothing'}")
    if not models:
        raise BadPredictor(f"{path}: no outcomes; expected columns {RIGHT}MODEL with values 0..1")
    if "text" not in header and "extractor" not in header:
        raise BadPredictor(
            f"{path}: neither text nor features; expected a column 'text', or 'extractor' with "
            f"columns {FEATURE}NAME"
        )


def _require_own_ids(path: Path, ids: NDArray[np.str_]) -> None:
    values, first, counts = np.unique(ids, return_index=True, return_counts=True)
    if (counts > 1).any():
        again = values[counts > 1][0]
        raise BadPredictor(
            f"{path}: id {str(again)!r} is there {counts.max()} times; expected once"
        )
    del first


def _features(
    path: Path,
    at: dict[str, int],
    rows: list[list[str]],
    extractor: str,
    make: Callable[[Sequence[str], str], Features],
) -> Features:
    if "text" in at:
        texts = [row[at["text"]] for row in rows]
        for line, text in enumerate(texts, start=2):
            if not text.strip():
                raise BadPredictor(f"{path}: line {line}: text is missing")
        return make(texts, extractor)
    names = [name for name in at if name.startswith(FEATURE)]
    extractors = sorted({row[at["extractor"]] for row in rows})
    if len(extractors) > 1:
        raise BadPredictor(
            f"{path}: features of {' and '.join(extractors[:2])} are mixed; expected one extractor"
        )
    if not names:
        raise BadPredictor(f"{path}: no features; expected columns {FEATURE}NAME")
    values = _numbers(path, at, rows, names, (-math.inf, math.inf))
    return Features(extractors[0], tuple(n.removeprefix(FEATURE) for n in names), values)


def _numbers(
    path: Path,
    at: dict[str, int],
    rows: list[list[str]],
    names: Sequence[str],
    bounds: tuple[float, float],
) -> NDArray[np.float64]:
    """Return the columns ``names`` as numbers within ``bounds``, shape (n, len(names))."""
    low, high = bounds
    found = np.empty((len(rows), len(names)))
    for column, name in enumerate(names):
        place = at[name]
        for index, row in enumerate(rows):
            try:
                value = float(row[place])
            except ValueError:
                value = math.nan
            if not (low <= value <= high and math.isfinite(value)):
                expected = (
                    "a number"
                    if math.isinf(low) and math.isinf(high)
                    else (f"{low:g}..{high:g}" if math.isfinite(low) else f"at most {high:g}")
                )
                raise BadPredictor(
                    f"{path}: line {index + 2}: {name} is {row[place]!r}; expected {expected}"
                )
            found[index, column] = value
    return found
