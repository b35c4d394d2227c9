"""The reading loop: chunks of raw rows are checked column by column and become one trace.

In: a path, perhaps a format, and whether to leave broken rows out. Out: a ``Trace``, or a
``BadTrace`` that names file, line, column, value and expectation of the first broken row.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from phasewatt.errors import BadTrace
from traces import columns
from traces.chunk import Broken, Chunk, shown
from traces.content import Content
from traces.csv_rows import open_csv
from traces.formats import format_named, recognise
from traces.formats.format import Format
from traces.json_rows import open_json
from traces.nearest import suggestion
from traces.parquet_rows import open_parquet
from traces.trace import Source, Trace


def read_trace(
    path: Path,
    *,
    format: str | None = None,
    skip_bad_rows: bool = False,
    name: str | None = None,
    source: Source | None = None,
) -> Trace:
    """Read the trace file at ``path``.

    Args:
        path: a file in any known format, plain or compressed with gzip or zstd.
        format: the name of its format; without it the content decides.
        skip_bad_rows: leave broken rows out and count them in ``trace.source.skipped``.
        name: what to call the trace; the file's name without it.
        source: where the trace comes from; what is known of its format without it.

    Raises:
        BadTrace: the file or one of its rows is broken, or no row is left.
    """
    wanted = None if format is None else format_named(format)
    with closing(Content(path)) as content:
        if wanted is not None and content.container not in wanted.containers:
            raise BadTrace(
                f"{path}: found {_WORDS[content.container]}, expected "
                f"{' or '.join(_WORDS[each] for each in wanted.containers)} for the format "
                f"'{wanted.name}'"
            )
        if content.container == "csv":
            chosen, chunks = _csv(content, wanted)
        elif content.container == "jsonl":
            chosen, chunks = _jsonl(content, wanted, skip_bad_rows=skip_bad_rows)
        else:
            chosen, chunks = _parquet(content, wanted)
        unit = "row" if content.container == "parquet" else "line"
        rows = _Rows(f"{path}: {unit}", chosen, skip_bad_rows=skip_bad_rows)
        for chunk in chunks:
            rows.add(chunk)
    return rows.trace(path, name or path.name, source or chosen.source)


class _Rows:
    def __init__(self, where: str, format: Format, *, skip_bad_rows: bool) -> None:
        self.where = where
        self.format = format
        self.skip_bad_rows = skip_bad_rows
        self.skipped: Counter[str] = Counter()
        self.rows = 0
        self.kept: dict[str, list[Any]] = {}
        self.latest: Any = None
        self.latest_raw: object = None

    def add(self, chunk: Chunk) -> None:
        """Check ``chunk`` and keep its good rows."""
        kept, faults = self._checked(chunk)
        bad = np.zeros(chunk.n, dtype=np.bool_)
        for _, _, wrong in faults:
            bad |= wrong
        clock = self.format.clock
        ticks = kept[clock.column]
        late = self._late(ticks, bad)
        order = "arrival times that never decrease"
        if late.any():
            faults.append((clock.column, order, late))
            bad |= late
        if bad.any() or chunk.broken:
            if not self.skip_bad_rows:
                self._refuse(chunk, faults, bad, order)
            self._count(chunk, faults, bad)
            good = ~bad
            mask = pa.array(good)
            kept = {
                column: values[good] if isinstance(values, np.ndarray) else values.filter(mask)
                for column, values in kept.items()
            }
            if good.any():
                self._remember(chunk, kept[clock.column], int(np.flatnonzero(good)[-1]))
        elif len(ticks):
            self._remember(chunk, ticks, len(ticks) - 1)
        self._keep(kept)

    def trace(self, path: Path, name: str, source: Source) -> Trace:
        """The rows kept so far as one trace."""
        skipped = tuple(self.skipped.items())
        if self.rows == 0:
            reasons = "; ".join(f"{count} x {reason}" for reason, count in skipped)
            raise BadTrace(f"{path}: found no usable row, expected at least one: {reasons}")
        form = self.format
        ticks = self._whole(form.clock.column)
        per_model: dict[str, dict[str, Any]] = {name: {} for name in form.per_model}
        for column in sorted(self.kept):
            of = form.model_of(column)
            if of is not None:
                per_model[of[0]][of[1]] = self._whole(column)
        optional: dict[str, Any] = {
            **{field: self._some(column) for field, column in form.texts.items()},
            **per_model,
        }
        priority = self._whole(form.priority) if form.priority in self.kept else None
        if priority is not None and priority.any():
            optional["priority"] = priority
        return Trace(
            name=name,
            arrival_s=_shared(columns.seconds(ticks, form.clock)),
            prompt_tokens=self._whole(form.prompt_tokens),
            output_tokens=self._whole(form.output_tokens),
            block_hashes=self._some(form.block_hashes),
            source=replace(source, skipped=skipped),
            **optional,
        )

    def _checked(self, chunk: Chunk) -> tuple[dict[str, Any], list[tuple[str, str, Any]]]:
        form, kept = self.format, {}
        faults = []
        for column, raw in chunk.columns.items():
            values: Any = raw
            wrong, expected = None, ""
            if column == form.clock.column:
                values, wrong = columns.times(raw, form.clock)
                expected = columns.expected_arrival(form.clock)
            elif column == form.prompt_tokens:
                values, wrong = columns.integers(raw, 1)
                expected = "an integer >= 1"
            elif column == form.output_tokens:
                values, wrong = columns.integers(raw, form.least_output)
                expected = form.expected_output
            elif column in form.always_one:
                values, wrong = columns.integers(raw, 1)
                wrong |= values > 1
                expected = "1 (a batch of several prompts cannot be replayed as one query)"
            elif column == form.priority:
                values, wrong = columns.priorities(raw)
                expected = "an integer, or nothing for 0"
            elif (of := form.model_of(column)) is not None:
                values, wrong, expected = columns.per_model(raw, of[0])
            elif column in form.texts.values():
                values = columns.strings(raw)
            kept[column] = values
            if wrong is not None and wrong.any():
                faults.append((column, expected, wrong))
        return kept, faults

    def _late(self, ticks: Any, bad: Any) -> Any:
        if not len(ticks):
            return bad
        lowest = ticks.dtype.type(-np.inf) if ticks.dtype.kind == "f" else np.iinfo(np.int64).min
        first = lowest if self.latest is None else self.latest
        usable = np.where(bad, lowest, ticks) if bad.any() else ticks
        before = np.empty_like(usable)
        before[0] = first
        np.maximum(np.maximum.accumulate(usable[:-1]), first, out=before[1:])
        return ~bad & (ticks < before)

    def _remember(self, chunk: Chunk, ticks: Any, row: int) -> None:
        self.latest = ticks[-1]
        self.latest_raw = chunk.columns[self.format.clock.column][row].as_py()

    def _refuse(self, chunk: Chunk, faults: list[Any], bad: Any, order: str) -> NoReturn:
        broken = min(chunk.broken, key=lambda each: each.line, default=None)
        if bad.any():
            row = int(np.argmax(bad))
            line = int(chunk.lines()[row])
            if broken is None or line < broken.line:
                column, expected, _ = next(each for each in faults if each[2][row])
                found = shown(chunk.columns[column][row].as_py())
                if expected is order:
                    raw = chunk.columns[column][row - 1].as_py() if row else self.latest_raw
                    found += f" after {shown(raw)}"
                broken = Broken(line, column, found, expected)
        assert broken is not None
        column = "" if broken.column is None else f": column '{broken.column}'"
        raise BadTrace(
            f"{self.where} {broken.line}{column}: found {broken.found}, expected {broken.expected}"
        )

    def _count(self, chunk: Chunk, faults: list[Any], bad: Any) -> None:
        self.skipped.update(each.reason for each in chunk.broken)
        counted = np.zeros(len(bad), dtype=np.bool_)
        for column, expected, wrong in faults:
            count = int((wrong & ~counted).sum())
            if count:
                self.skipped[Broken(0, column, "", expected).reason] += count
            counted |= wrong

    def _keep(self, kept: dict[str, Any]) -> None:
        n = len(kept[self.format.clock.column])
        for column in kept:
            if column not in self.kept:
                self.kept[column] = [_missing(kept[column], self.rows)] if self.rows else []
        for column, values in self.kept.items():
            values.append(kept[column] if column in kept else _missing(values[0], n))
        self.rows += n

    def _whole(self, column: str) -> Any:
        return _shared(np.concatenate(self.kept.pop(column)))

    def _some(self, column: str | None) -> pa.Array | None:
        if column not in self.kept:
            return None
        whole = pa.concat_arrays(self.kept.pop(column))
        return None if whole.null_count == len(whole) else whole


def _missing(like: Any, n: int) -> Any:
    return np.full(n, np.nan) if isinstance(like, np.ndarray) else pa.nulls(n, like.type)


def _shared(values: Any) -> Any:
    values.setflags(write=False)
    return values


def _csv(content: Content, wanted: Format | None) -> tuple[Format, Iterator[Chunk]]:
    rows = open_csv(content)
    where = f"{content.path}: line {rows.line}"
    chosen = wanted or recognise(where, "csv", rows.columns, rows.first)
    _check_columns(where, chosen, rows.columns)
    return chosen, rows.chunks(chosen.reads)


def _jsonl(
    content: Content, wanted: Format | None, *, skip_bad_rows: bool
) -> tuple[Format, Iterator[Chunk]]:
    rows = open_json(content, skip_bad_rows=skip_bad_rows)
    chosen = wanted or recognise(str(content.path), "jsonl", rows.columns, rows.first)
    return chosen, rows.chunks(_types(chosen), lambda column: chosen.model_of(column) is not None)


def _parquet(content: Content, wanted: Format | None) -> tuple[Format, Iterator[Chunk]]:
    rows = open_parquet(content)
    chosen = wanted or recognise(str(content.path), "parquet", rows.columns, {})
    _check_columns(str(content.path), chosen, rows.columns)
    return chosen, rows.chunks(_types(chosen), lambda column: chosen.model_of(column) is not None)


def _types(form: Format) -> dict[str, pa.DataType]:
    types = {
        form.clock.column: pa.float64(),
        form.prompt_tokens: pa.int64(),
        form.output_tokens: pa.int64(),
        **dict.fromkeys(form.texts.values(), pa.large_string()),
    }
    if form.priority is not None:
        types[form.priority] = pa.int64()
    if form.block_hashes is not None:
        types[form.block_hashes] = pa.list_(pa.int64())
    return types


def _check_columns(where: str, form: Format, seen: tuple[str, ...]) -> None:
    unread = [column for column in seen if not form.reads(column)]
    for column in form.required:
        if column not in seen:
            raise BadTrace(
                f"{where}: column '{column}': found columns {', '.join(seen)}"
                f"{suggestion(column, unread)}, expected '{column}' for the format '{form.name}'"
            )


_WORDS = {"csv": "CSV", "jsonl": "JSON lines", "parquet": "Parquet"}
