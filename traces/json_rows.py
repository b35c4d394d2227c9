"""JSON lines: one object a line becomes typed columns.

In: the bytes of a JSON lines file. Out: its fields, its first record, and chunks whose columns are
integers, numbers, strings or lists of integers. Blank lines are no rows; everything else that is
not a row is reported.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.json as pj

from phasewatt.errors import BadTrace
from traces.chunk import Broken, Chunk, in_turn, listed, shown
from traces.content import Block, Content

_LARGEST_INTEGER = 2**63
_EXPECTED = {
    pa.int64(): "an integer",
    pa.float64(): "a number",
    pa.large_string(): "a string or null",
    pa.list_(pa.int64()): "a list of integers or null",
}


@dataclass(frozen=True, slots=True)
class JsonRows:
    """A JSON lines file whose first record has been read."""

    columns: tuple[str, ...]
    first: Mapping[str, str]
    blocks: Iterator[Block]

    def chunks(
        self, types: Mapping[str, pa.DataType], number: Callable[[str], bool]
    ) -> Iterator[Chunk]:
        """The rows, with the fields in ``types`` and those numbers for which ``number`` is true."""
        for block in self.blocks:
            yield _quickly(block, types, number) or _one_by_one(block, types, number)


def open_json(content: Content, *, skip_bad_rows: bool) -> JsonRows:
    """Read the first record of ``content``.

    Raises:
        BadTrace: the first line that is not blank is not a JSON object; with ``skip_bad_rows``,
            none of the first 4 MiB is.
    """
    blocks = content.blocks()
    block = next(blocks)
    records = (_parsed(line, raw) for line, raw in _lines(block))
    record = broken = next(records)
    while isinstance(record, Broken) and skip_bad_rows:
        record = next(records, None)
    if not isinstance(record, dict):
        raise BadTrace(
            f"{content.path}: line {broken.line}: found {broken.found}, expected {broken.expected}"
        )
    first = {key: str(value) for key, value in record.items()}
    return JsonRows(tuple(record), first, itertools.chain((block,), blocks))


def _quickly(
    block: Block, types: Mapping[str, pa.DataType], number: Callable[[str], bool]
) -> Chunk | None:
    lines = block.data.count(b"\n") + (not block.data.endswith(b"\n"))
    try:
        block.data.decode("utf-8")
        table = pj.read_json(
            pa.BufferReader(block.data),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(block.data) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior="infer"
            ),
        )
    except (UnicodeDecodeError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if table.num_rows != lines:
        return None
    columns = {}
    for name in table.column_names:
        if name in types or number(name):
            columns[name] = table.column(name).combine_chunks()
    if any(_suspect(values, types.get(name)) for name, values in columns.items()):
        return None
    return Chunk(lines, columns, in_turn(block.first_line, lines))


def _suspect(values: pa.Array, wanted: pa.DataType | None) -> bool:
    found = values.type
    if wanted is not None:
        return bool(found != wanted or (pa.types.is_list(found) and values.flatten().null_count))
    return not (pa.types.is_integer(found) or pa.types.is_floating(found) or found == pa.null())


def _one_by_one(
    block: Block, types: Mapping[str, pa.DataType], number: Callable[[str], bool]
) -> Chunk:
    kept: dict[str, list[Any]] = {name: [] for name in types}
    lines: list[int] = []
    broken: list[Broken] = []
    for line, raw in _lines(block):
        record = _parsed(line, raw)
        fault = record if isinstance(record, Broken) else _fault(line, record, types, number)
        if fault is not None:
            broken.append(fault)
            continue
        for name in record:
            if name not in kept and number(name):
                kept[name] = [None] * len(lines)
        lines.append(line)
        for name, values in kept.items():
            values.append(record.get(name))
    arrays = {
        name: pa.array(values, type=types.get(name, pa.float64())) for name, values in kept.items()
    }
    return Chunk(len(lines), arrays, listed(lines), broken)


def _lines(block: Block) -> Iterator[tuple[int, bytes]]:
    for line, raw in enumerate(block.data.split(b"\n"), block.first_line):
        if raw.strip():
            yield line, raw


def _parsed(line: int, raw: bytes) -> Any:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Broken(line, None, shown(raw[error.start : error.start + 20]), "text in UTF-8")
    try:
        record = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return Broken(line, None, shown(text.strip()), "one JSON object with each field once")
    if not isinstance(record, dict):
        return Broken(line, None, shown(text.strip()), "one JSON object with each field once")
    return record


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError
    return record


def _fault(
    line: int,
    record: dict[str, Any],
    types: Mapping[str, pa.DataType],
    number: Callable[[str], bool],
) -> Broken | None:
    for name, value in record.items():
        wanted = types.get(name) or (pa.float64() if number(name) else None)
        if wanted is not None and value is not None and not _is(value, wanted):
            return Broken(line, name, shown(value), _EXPECTED[wanted])
    return None


def _is(value: Any, wanted: pa.DataType) -> bool:
    if wanted == pa.int64():
        return type(value) is int and -_LARGEST_INTEGER <= value < _LARGEST_INTEGER
    if wanted == pa.float64():
        return type(value) is float or (type(value) is int and abs(value) < _LARGEST_INTEGER)
    if wanted == pa.large_string():
        return isinstance(value, str) and (value.isascii() or _encodable(value))
    return isinstance(value, list) and all(_is(each, pa.int64()) for each in value)


def _encodable(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
