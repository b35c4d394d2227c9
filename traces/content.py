"""The bytes of a trace file: decompressed, and cut into blocks of whole records.

In: a path to a plain, gzip'd or zstd'd file, told apart by its first bytes. Out: a ``Content``
whose ``blocks`` come with the number of their first line in the decompressed file.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Literal, NoReturn

import pyarrow as pa

from phasewatt.errors import BadTrace

Container = Literal["csv", "jsonl", "parquet"]

BLOCK_BYTES = 1 << 22
LARGEST_RECORD_BYTES = 1 << 26
_READ_BYTES = 1 << 16
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Block:
    """Whole records: their bytes and the number, from 1, of the first one's line in the file."""

    first_line: int
    data: bytes


class Content:
    """An open trace file. ``container`` says which of CSV, JSON lines or Parquet it holds.

    Raises:
        BadTrace: the file is missing, unreadable, empty, or breaks off within its compression.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._line = 1
        with ExitStack() as opened:
            # One handle, read once from front to end: the path may be a pipe.
            file = opened.enter_context(_opened(path))
            magic = file.peek(4)
            self.compression = next((_MAGIC[m] for m in _MAGIC if magic.startswith(m)), None)
            self._stream = (
                pa.CompressedInputStream(file, self.compression) if self.compression else file
            )
            opened.callback(self._stream.close)
            self._head = self._read().removeprefix(_BYTE_ORDER_MARK)
            while not self._head.strip() and (more := self._read()):
                self._head += more
            self.container = self._container()
            self._open = opened.pop_all()

    def blocks(self) -> Iterator[Block]:
        """The records as blocks of about 4 MiB, each ending at the end of a record.

        A record is a line; in CSV a line break between double quotes does not end it.

        Raises:
            BadTrace: the compression breaks off, or a record is longer than 64 MiB.
        """
        quoted = self.container == "csv"
        parts, size = [self._head], len(self._head)
        rest = b""
        while parts:
            while size < BLOCK_BYTES and (more := self._read()):
                parts.append(more)
                size += len(more)
            data = rest + b"".join(parts)
            ended = size < BLOCK_BYTES
            cut = len(data) if ended else _end_of_records(data, quoted=quoted)
            if cut:
                yield Block(self._line, data[:cut])
                self._line += data.count(b"\n", 0, cut)
            rest = data[cut:]
            if len(rest) > LARGEST_RECORD_BYTES:
                raise BadTrace(
                    f"{self.path}: line {self._line}: found a record of over "
                    f"{LARGEST_RECORD_BYTES >> 20} MiB, expected shorter ones (an unclosed quote?)"
                )
            more = b"" if ended else self._read()
            parts, size = ([more], len(more)) if more else ([], 0)
        if rest:
            yield Block(self._line, rest)

    def seekable(self) -> IO[Any] | Path:
        """The decompressed file as something that can be read at any place, until ``close``."""
        if self.compression is None and self.path.is_file():
            return self.path
        whole = self._open.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        whole.write(self._head)
        try:
            shutil.copyfileobj(self._stream, whole)
        except OSError as error:
            self._broken_off(error)
        whole.seek(0)
        return whole

    def close(self) -> None:
        """Close the file and what was unpacked of it."""
        self._open.close()

    def _container(self) -> Container:
        if self._head.startswith(b"PAR1"):
            return "parquet"
        start = self._head.lstrip()[:1]
        if not start:
            raise BadTrace(f"{self.path}: found an empty file, expected a trace")
        return "jsonl" if start in (b"{", b"[") else "csv"

    def _read(self) -> bytes:
        try:
            data: bytes = self._stream.read(_READ_BYTES)
        except OSError as error:
            self._broken_off(error)
        return data

    def _broken_off(self, error: OSError) -> NoReturn:
        if self.compression is None:
            raise BadTrace(f"{self.path}: cannot read: {error}") from error
        raise BadTrace(
            f"{self.path}: in or after line {self._line}: found a {self.compression} stream that "
            "is damaged or breaks off, expected a whole one"
        ) from error


def _opened(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise BadTrace(f"{path}: found no such file, expected a trace file") from None
    except IsADirectoryError:
        raise BadTrace(f"{path}: found a directory, expected a trace file") from None
    except OSError as error:
        raise BadTrace(f"{path}: cannot read: {error.strerror}") from error


def _end_of_records(data: bytes, *, quoted: bool) -> int:
    cut = data.rfind(b"\n") + 1
    while quoted and cut and data.count(b'"', 0, cut) % 2:
        cut = data.rfind(b"\n", 0, data.rfind(b'"', 0, cut)) + 1
    return cut
