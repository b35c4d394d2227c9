"""The rows that are done, kept in a directory so that no point runs twice.

In: rows as they are finished, by their digests. Out: Parquet parts under ``points/``, each written
whole or not at all; and, for whoever comes again, the rows that they hold.
"""

import hashlib
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from phasewatt.errors import Unwritable
from phasewatt.files import whole_file
from simulate.sweep.figures import SCHEMA
from simulate.sweep.task import Row

POINTS = "points"

_FLUSH_S = 1.0
"""Rows wait this long for others: what is lost when the machine stops at once."""

_ROWS_PER_PART = 1024


class Store:
    """Rows under ``directory``; in memory alone where it is None.

    A part that cannot be read, or holds other columns, is passed over: its points run again.

    Raises:
        Unwritable: ``directory`` is a file, or cannot be written.
    """

    def __init__(self, directory: Path | None) -> None:
        self._rows: dict[str, Row] = {}
        self._fresh: list[Row] = []
        self._flushed_s = time.monotonic()
        self._parts = None if directory is None else _made(directory)
        self.unreadable = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.flush()

    def read(self, digests: Collection[str]) -> None:
        """Take the rows of ``digests`` that parts hold into memory."""
        wanted = set(digests)
        for path in () if self._parts is None else sorted(self._parts.glob("*.parquet")):
            try:
                table = pq.read_table(path)
            except (pa.ArrowException, OSError):
                self.unreadable += 1
                continue
            if table.schema.equals(SCHEMA):
                self._rows.update(
                    (r["digest"], r) for r in table.to_pylist() if r["digest"] in wanted
                )

    def __contains__(self, digest: str) -> bool:
        return digest in self._rows

    def __getitem__(self, digest: str) -> Row:
        return self._rows[digest]

    def keep(self, row: Row) -> None:
        """Keep ``row``, on disk within a second or with the next one."""
        self._rows[row["digest"]] = row
        if self._parts is None:
            return
        self._fresh.append(row)
        waited_s = time.monotonic() - self._flushed_s
        if waited_s >= _FLUSH_S or len(self._fresh) >= _ROWS_PER_PART:
            self.flush()

    def flush(self) -> None:
        """Write what is not yet on disk, as one part.

        Raises:
            Unwritable: the directory cannot be written any more.
        """
        self._flushed_s = time.monotonic()
        if self._parts is None or not self._fresh:
            return
        names = "".join(row["digest"] for row in self._fresh)
        name = hashlib.sha256(names.encode()).hexdigest()[:32]
        with whole_file(self._parts / f"{name}.parquet") as path:
            pq.write_table(pa.Table.from_pylist(self._fresh, SCHEMA), path, compression="zstd")
        self._fresh.clear()


def _made(directory: Path) -> Path:
    if directory.exists() and not directory.is_dir():
        raise Unwritable(f"{directory}: is a file; expected a directory to write results into")
    parts = directory / POINTS
    try:
        parts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unwritable(f"{directory}: cannot write here: {error.strerror}") from error
    return parts
