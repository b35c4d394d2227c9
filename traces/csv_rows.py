"""CSV: a header and blocks of rows become columns of strings.

In: the bytes of a CSV file. Out: its header, its first record, and chunks whose columns hold the
text of each field. Blank lines are no rows; everything else that is not a row is reported.
"""

import csv
import io
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from numpy.typing import NDArray

from phasewatt.errors import BadTrace
from traces.chunk import Broken, Chunk, in_turn, listed, shown
from traces.content import Block, Content


@dataclass(frozen=True, slots=True)
class CsvRows:
    """A CSV file whose header has been read: ``columns`` on ``line``, the first record, blocks."""

    line: int
    columns: tuple[str, ...]
    first: Mapping[str, str]
    blocks: Iterator[Block]

    def chunks(self, reads: Callable[[str], bool]) -> Iterator[Chunk]:
        """The rows, with the columns for which ``reads`` is true."""
        wanted = [column for column in self.columns if reads(column)]
        for block in self.blocks:
            chunk = _quickly(block, self.columns, wanted)
            yield chunk or _one_by_one(block, self.columns, wanted)


def open_csv(content: Content) -> CsvRows:
    """Read the header of ``content``.

    Raises:
        BadTrace: the header is not UTF-8, names a column twice, or no row follows it.
    """
    blocks = content.blocks()
    block = next(blocks)
    line, first_line = block.data, block.first_line
    while True:
        head, _, line = line.partition(b"\n")
        first_line += 1
        if head.strip():
            break
    columns = _header(f"{content.path}: line {first_line - 1}", head)
    rest = [Block(first_line, line)] if line.strip() else list(itertools.islice(blocks, 1))
    if not rest:
        raise BadTrace(
            f"{content.path}: line {first_line - 1}: found a header without rows, expected at "
            "least one row"
        )
    return CsvRows(first_line - 1, columns, _first(rest[0], columns), itertools.chain(rest, blocks))


def _header(where: str, head: bytes) -> tuple[str, ...]:
    try:
        text = head.decode("utf-8").rstrip("\r")
    except UnicodeDecodeError:
        raise BadTrace(f"{where}: found {shown(head)}, expected a header in UTF-8") from None
    rows = [row for _, row in itertools.islice(_records(1, text), 2)]
    if len(rows) > 1:
        raise BadTrace(
            f"{where}: found a lone carriage return in the header, expected lines that end in a "
            "line feed"
        )
    columns = tuple(column.strip() for column in rows[0])
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise BadTrace(f"{where}: found column '{twice[0]}' twice, expected each column once")
    return columns


def _first(block: Block, columns: tuple[str, ...]) -> Mapping[str, str]:
    line = next(line for line in block.data.split(b"\n") if line.strip())
    rows = _records(block.first_line, line.decode("utf-8", "replace"))
    return next((dict(zip(columns, row, strict=False)) for _, row in rows), {})


def _quickly(block: Block, columns: tuple[str, ...], wanted: list[str]) -> Chunk | None:
    data = block.data
    try:
        data.decode("utf-8")
        table = pc.read_csv(
            pa.BufferReader(data),
            read_options=pc.ReadOptions(
                column_names=list(columns), use_threads=False, block_size=len(data) + 1
            ),
            parse_options=pc.ParseOptions(newlines_in_values=True),
            convert_options=pc.ConvertOptions(
                column_types={column: pa.large_string() for column in wanted},
                include_columns=wanted,
                check_utf8=False,
                strings_can_be_null=False,
            ),
        )
    except (UnicodeDecodeError, pa.ArrowInvalid):
        return None
    n = table.num_rows
    one_line_each = n == data.count(b"\n") + (not data.endswith(b"\n"))
    return Chunk(
        n,
        {column: _joined(table.column(column)) for column in wanted},
        in_turn(block.first_line, n) if one_line_each else _lines_of(block),
    )


def _lines_of(block: Block) -> Callable[[], NDArray[np.int64]]:
    return lambda: np.array(
        [line for line, _ in _records(block.first_line, block.data.decode("utf-8"))],
        dtype=np.int64,
    )


def _joined(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _one_by_one(block: Block, columns: tuple[str, ...], wanted: list[str]) -> Chunk:
    places = [columns.index(column) for column in wanted]
    kept: list[list[str]] = [[] for _ in wanted]
    lines: list[int] = []
    broken: list[Broken] = []
    text = block.data.decode("utf-8", "surrogateescape")
    for line, row in _records(block.first_line, text):
        fault = _fault(line, row, columns)
        if fault is not None:
            broken.append(fault)
            continue
        lines.append(line)
        for values, place in zip(kept, places, strict=True):
            values.append(row[place])
    arrays = {
        column: pa.array(values, type=pa.large_string())
        for column, values in zip(wanted, kept, strict=True)
    }
    return Chunk(len(lines), arrays, listed(lines), broken)


def _records(first_line: int, text: str) -> Iterator[tuple[int, list[str]]]:
    largest = csv.field_size_limit(sys.maxsize)
    try:
        rows = csv.reader(io.StringIO(text, newline=""))
        line = first_line
        for row in rows:
            if row:
                yield line, row
            line = first_line + rows.line_num
    finally:
        csv.field_size_limit(largest)


def _fault(line: int, row: list[str], columns: tuple[str, ...]) -> Broken | None:
    if len(row) != len(columns):
        found = f"{len(row)} field{'' if len(row) == 1 else 's'}"
        return Broken(line, None, found, f"{len(columns)} fields as in the header")
    for column, value in zip(columns, row, strict=True):
        if not value.isascii() and any("\udc80" <= letter <= "\udcff" for letter in value):
            raw = value.encode("utf-8", "surrogateescape")
            return Broken(line, column, shown(raw), "text in UTF-8")
    return None
