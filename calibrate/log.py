"""The log of a campaign: one JSON line per thing that happened, never rewritten.

In: a header and records as they come. Out: a file that survives SIGKILL with all that was measured
before, and from which a run resumes and a calibration is fitted; a torn last line is dropped.
"""

import fcntl
import gzip
import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from calibrate.gpu import ClockRange, Identity, Modes, PowerLimit
from calibrate.measure import Measurement
from calibrate.sweep import Cell, Strategy, Sweep
from calibrate.window import Window
from phasewatt.errors import Unwritable, UserError

SCHEMA = "phasewatt-run"
SCHEMA_VERSION = 1


class BadLog(UserError):
    """A log that cannot be read, or belongs to another campaign."""


@dataclass(frozen=True)
class Header:
    """What every line below it belongs to.

    Attributes:
        schema, schema_version: what this file is.
        phasewatt: version that wrote it.
        date: day on which the campaign began, ISO 8601.
        command: the command as typed.
        sweep: the options that change what the figures mean.
        strategy, strategy_reason: how the clock was varied, and why so.
        gpu, clocks, power_limit, modes: the GPU as the driver gave it.
        software: versions of what measures.
        host_gpus: GPUs that NVML lists on the node; None where nobody measures the host.
    """

    schema: str
    schema_version: int
    phasewatt: str
    date: str
    command: str
    sweep: Sweep
    strategy: Strategy
    strategy_reason: str
    gpu: Identity
    clocks: ClockRange
    power_limit: PowerLimit
    modes: Modes
    software: Mapping[str, str]
    host_gpus: int | None = None
    record: Literal["header"] = "header"


@dataclass(frozen=True)
class Moments:
    """When a record began and ended on the clock of the measurement, and how warm the GPU was.

    ``began_s`` counts loading and preparing; ``temperature_c`` is that of the die at the end.
    """

    began_s: float
    ended_s: float
    temperature_c: float


@dataclass(frozen=True)
class Measured:
    """A cell that was measured; ``host_w`` is what the host drew meanwhile, None where unknown."""

    cell: Cell
    measurement: Measurement
    moments: Moments
    host_w: float | None = None
    record: Literal["measured"] = "measured"


@dataclass(frozen=True)
class Idle:
    """What the GPU drew with nothing to do, "before" or "after" the campaign.

    ``host_w`` is what the host drew meanwhile, None where unknown.
    """

    when: Literal["before", "after"]
    window: Window
    moments: Moments
    host_w: float | None = None
    record: Literal["idle"] = "idle"


@dataclass(frozen=True)
class Skipped:
    """A cell that could not be measured, and why.

    ``cause`` is "memory" where larger points of the same series are not tried either, "length"
    where the step is too long to be steered, as are all larger ones.
    """

    cell: Cell
    cause: Literal["memory", "length"]
    note: str
    moments: Moments
    record: Literal["skipped"] = "skipped"


@dataclass(frozen=True)
class Software:
    """What the bench told of itself since the last such line: versions, attention per engine."""

    versions: Mapping[str, str]
    moments: Moments
    record: Literal["software"] = "software"


Record = Measured | Idle | Skipped | Software


@dataclass(frozen=True)
class Log:
    """A log as read."""

    header: Header
    records: tuple[Record, ...]

    @property
    def spent_s(self) -> float:
        """Time that all records took, on the clock of the measurement."""
        return sum(r.moments.ended_s - r.moments.began_s for r in self.records)

    @property
    def software(self) -> dict[str, str]:
        """Everything that is known of the software, the latest word last."""
        told = (record.versions for record in self.records if isinstance(record, Software))
        return {name: text for each in (self.header.software, *told) for name, text in each.items()}

    @property
    def idle(self) -> tuple[Idle, ...]:
        """The idle windows, in order."""
        return tuple(record for record in self.records if isinstance(record, Idle))

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The measured cells, in order."""
        return tuple(record for record in self.records if isinstance(record, Measured))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The skipped cells, in order."""
        return tuple(record for record in self.records if isinstance(record, Skipped))


class Appender:
    """Adds lines to a log that this process alone writes; made by :func:`appending`."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle = handle

    def append(self, line: Header | Record) -> None:
        """Add one line and wait until it is on the disk.

        Raises:
            Unwritable: the disk is full or gone; what was written before stays.
        """
        end = os.fstat(self._handle).st_size
        try:
            _write_all(self._handle, (_line(line) + "\n").encode())
            os.fsync(self._handle)
        except OSError as error:
            _forget(self._handle, end)
            raise Unwritable(
                f"{self._path}: cannot write: {error.strerror}; make room and run the same "
                "command again to resume"
            ) from error


def read_log(path: Path) -> Log:
    """Read a log, compressed if its name ends in .gz; a last line cut short is left out.

    Raises:
        BadLog: no such file, no header, a broken line, a newer schema.
    """
    text = _bytes(path)
    if path.suffix == ".gz":
        try:
            text = gzip.decompress(text)
        except (OSError, EOFError, zlib.error):
            raise BadLog(f"{path}: expected gzip, as its name says") from None
    log = _parse(path, text)
    if log is None:
        raise BadLog(f"{path}: holds no whole line; expected the log of `calibrate run`")
    return log


@contextmanager
def appending(path: Path) -> Iterator[tuple[Log | None, Appender]]:
    """Open a log to go on with it; yield what it holds (None if nothing yet) and its appender.

    Raises:
        BadLog: it is no log, or another run writes it now.
        Unwritable: it cannot be opened for writing.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError as error:
        raise Unwritable(f"{path}: cannot write here: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BadLog(
                f"{path}: another run writes this log: wait for it, or pass --log"
            ) from None
        text = _bytes(path)
        log = _parse(path, text)
        # A torn line would swallow the next one.
        os.ftruncate(handle, text.rfind(b"\n") + 1)
        yield log, Appender(path, handle)
    finally:
        empty = os.fstat(handle).st_size == 0
        os.close(handle)
        if empty:
            path.unlink(missing_ok=True)


_HEADER: TypeAdapter[Header] = TypeAdapter(Header)
_RECORD: TypeAdapter[Record] = TypeAdapter(Annotated[Record, Field(discriminator="record")])


def _line(line: Header | Record) -> str:
    adapter: TypeAdapter[Any] = _HEADER if isinstance(line, Header) else _RECORD
    return json.dumps(_spelled(adapter.dump_python(line, mode="json")), allow_nan=False)


def _spelled(value: Any) -> Any:
    """Return ``value`` with NaN and infinities as words, which JSON has no numbers for."""
    if isinstance(value, dict):
        return {key: _spelled(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadLog(f"{path}: cannot be read: {error.strerror}") from error


def _parse(path: Path, text: bytes) -> Log | None:
    lines = text.split(b"\n")[:-1]
    if not lines:
        if text.strip() and not text.lstrip().startswith(
            b'{"schema": "phasewatt-run"'[: len(text)]
        ):
            raise BadLog(f"{path}: not the log of a run")
        return None
    header = _header(path, lines[0])
    return Log(
        header, tuple(_record(path, number, line) for number, line in enumerate(lines[1:], start=2))
    )


def _header(path: Path, line: bytes) -> Header:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise BadLog(f'{path}: line 1: not the log of a run: expected a "schema" of "{SCHEMA}"')
    version = found.get("schema_version")
    if version != SCHEMA_VERSION:
        raise BadLog(
            f"{path}: line 1: schema_version is {version!r}; this phasewatt reads {SCHEMA_VERSION}"
        )
    try:
        return _HEADER.validate_python(found)
    except ValidationError as error:
        raise BadLog(f"{path}: line 1: {_first(error)}") from None


def _record(path: Path, number: int, line: bytes) -> Record:
    try:
        return _RECORD.validate_json(line)
    except ValidationError as error:
        raise BadLog(f"{path}: line {number}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"field {where}: {first['msg']}" if where else first["msg"]


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _forget(handle: int, end: int) -> None:
    """Cut off half a line; where even that fails, the next start does it."""
    try:
        os.ftruncate(handle, end)
    except OSError:
        return
