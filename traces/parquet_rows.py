"""Parquet: batches of typed columns.

In: a Parquet file. Out: its columns and chunks of at most 65,536 rows; a "line" is a row, from 1.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from phasewatt.errors import BadTrace
from traces.chunk import Chunk, in_turn
from traces.content import Content

_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class ParquetRows:
    """An open Parquet file."""

    path: str
    file: Any
    columns: tuple[str, ...]

    def chunks(
        self, types: Mapping[str, pa.DataType], number: Callable[[str], bool]
    ) -> Iterator[Chunk]:
        """The rows, with the columns in ``types`` and those for which ``number`` is true.

        Raises:
            BadTrace: a column is not of the type that is wanted, or a page cannot be decoded.
        """
        schema = self.file.schema_arrow
        wanted = {
            name: types.get(name, pa.float64())
            for name in self.columns
            if name in types or number(name)
        }
        for name, kind in wanted.items():
            if not _converts(schema.field(name).type, kind):
                raise BadTrace(
                    f"{self.path}: column '{name}': found type {schema.field(name).type}, expected "
                    f"{kind}"
                )
        first_row = 1
        try:
            for batch in self.file.iter_batches(
                batch_size=_ROWS, columns=list(wanted), use_threads=False
            ):
                columns = {name: _plain(batch.column(name), kind) for name, kind in wanted.items()}
                yield Chunk(batch.num_rows, columns, in_turn(first_row, batch.num_rows))
                first_row += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise BadTrace(
                f"{self.path}: in or after row {first_row}: found data that cannot be decoded, "
                f"expected a whole Parquet file: {' '.join(str(error).split())}"
            ) from error


def open_parquet(content: Content) -> ParquetRows:
    """Read the schema of ``content``.

    Raises:
        BadTrace: the file is no whole Parquet file, names a column twice, or holds no row.
    """
    try:
        file = pq.ParquetFile(content.seekable())
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadTrace(
            f"{content.path}: found a damaged Parquet file, expected a whole one: "
            f"{' '.join(str(error).split())}"
        ) from error
    if file.metadata.num_rows == 0:
        raise BadTrace(
            f"{content.path}: found a Parquet schema without rows, expected at least one row"
        )
    columns = tuple(file.schema_arrow.names)
    twice = [column for column in columns if columns.count(column) > 1]
    if twice:
        raise BadTrace(
            f"{content.path}: found column '{twice[0]}' twice, expected each column once"
        )
    return ParquetRows(str(content.path), file, columns)


def _converts(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        found = found.value_type
    if wanted == pa.int64():
        return bool(pa.types.is_integer(found))
    if wanted == pa.float64():
        return bool(pa.types.is_integer(found) or pa.types.is_floating(found))
    if wanted == pa.large_string():
        return bool(
            pa.types.is_string(found) or pa.types.is_large_string(found) or found == pa.null()
        )
    return bool(
        (pa.types.is_list(found) or pa.types.is_large_list(found))
        and pa.types.is_integer(found.value_type)
    )


def _plain(values: pa.Array, kind: pa.DataType) -> pa.Array:
    decoded = values.dictionary_decode() if isinstance(values, pa.DictionaryArray) else values
    plain = decoded.cast(kind)
    # Text is not checked on reading: bytes that are no UTF-8 would only break its first user.
    plain.validate(full=kind == pa.large_string())
    return plain
