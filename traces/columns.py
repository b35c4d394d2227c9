"""One raw column of a file becomes numbers, with a mask of the values that are not what they must.

In: an arrow array of strings (from CSV) or of the wanted type (from JSON lines and Parquet). Out:
a numpy array of the same length and the mask; a masked value is a placeholder.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from traces.formats.format import Clock
from traces.trace import Floats, Integers

Mask = NDArray[np.bool_]

_INTEGER = r"^-?[0-9]{1,18}$"
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_UNKNOWN = r"^(|(?i:nan))$"
_LOCAL = r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?$"
_OFFSET = r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d(:?\d\d)?)$"

_LARGEST = 10**18
_DTYPES = {pa.uint8(): np.bool_, pa.int64(): np.int64, pa.float64(): np.float64}

EXPECTED_ARRIVAL = {
    "number": "a finite number of {unit} >= 0",
    "local": "a date and time such as 2023-11-16 18:15:46.6805900",
    "offset": "a date and time with offset such as 2024-05-10 00:00:00.009930+00:00",
}


def integers(raw: pa.Array, least: int) -> tuple[Integers, Mask]:
    """Integers of at least ``least``, and where ``raw`` holds none."""
    if pa.types.is_large_string(raw.type):
        written = pc.match_substring_regex(raw, _INTEGER)
        values = _numpy(pc.cast(_or(raw, written, "0"), pa.int64()))
        return values, ~_numpy(written) | (values < least)
    values = _numpy(pc.fill_null(raw, 0))
    return values, ~_numpy(pc.is_valid(raw)) | (values < least)


def priorities(raw: pa.Array) -> tuple[Integers, Mask]:
    """Integers, 0 where nothing is said, and where ``raw`` holds something else."""
    if not pa.types.is_large_string(raw.type):
        return _numpy(pc.fill_null(raw, 0)), np.zeros(len(raw), dtype=np.bool_)
    values, wrong = integers(raw, -_LARGEST)
    return values, wrong & ~_numpy(pc.equal(raw, ""))


def per_model(raw: pa.Array, name: str) -> tuple[Floats, Mask, str]:
    """Figures of one model, NaN where nothing is known; where something else is; what is expected.

    ``name`` is the trace's: quality in [0, 1], confidence, or whole answer_tokens.
    """
    if pa.types.is_large_string(raw.type):
        unknown = pc.match_substring_regex(raw, _UNKNOWN)
        written = pc.match_substring_regex(raw, _NUMBER)
        values = _numpy(pc.cast(_or(raw, written, "nan"), pa.float64()))
        wrong = ~(_numpy(written) | _numpy(unknown))
    else:
        values = _numpy(pc.fill_null(pc.cast(raw, pa.float64()), np.nan))
        wrong = np.zeros(len(values), dtype=np.bool_)
    wrong = wrong | np.isinf(values)
    if name == "quality":
        wrong |= (values < 0) | (values > 1)
        return values, wrong, "a number in [0, 1], or nothing for unknown"
    if name == "confidence":
        return values, wrong, "a number, or nothing for unknown"
    wrong |= (values < 0) | (np.floor(values) < values)
    return values, wrong, "an integer >= 0, or nothing for unknown"


def strings(raw: pa.Array) -> pa.Array:
    """Strings, null where a CSV field is empty."""
    empty = pc.equal(raw, "")
    if pc.any(empty).as_py():
        return pc.if_else(empty, pa.scalar(None, pa.large_string()), raw)
    return raw


def times(raw: pa.Array, clock: Clock) -> tuple[Floats | Integers, Mask]:
    """Arrivals in the clock's own unit (date-times as int64 nanoseconds), and where none is."""
    if clock.kind != "number":
        return _datetimes(raw, clock)
    if pa.types.is_large_string(raw.type):
        written = pc.match_substring_regex(raw, _NUMBER)
        values = _numpy(pc.cast(_or(raw, written, "0"), pa.float64()))
        wrong = ~_numpy(written)
    else:
        values = _numpy(pc.fill_null(pc.cast(raw, pa.float64()), np.nan))
        wrong = np.zeros(len(values), dtype=np.bool_)
    with np.errstate(invalid="ignore"):
        wrong = wrong | ~np.isfinite(values) | ~(values >= 0)
    return values, wrong


def seconds(ticks: Floats | Integers, clock: Clock) -> Floats:
    """Arrivals in seconds since the trace's start, from those in the clock's own unit."""
    if clock.rebase:
        ticks = ticks - ticks[0]
    return np.asarray(ticks / (clock.per_s if clock.kind == "number" else 1e9), dtype=np.float64)


def expected_arrival(clock: Clock) -> str:
    """What an error says is expected in the column of arrivals."""
    return EXPECTED_ARRIVAL[clock.kind].format(
        unit="seconds" if clock.per_s == 1 else "milliseconds"
    )


def _datetimes(raw: pa.Array, clock: Clock) -> tuple[Integers, Mask]:
    local = clock.kind == "local"
    kind = pa.timestamp("ns") if local else pa.timestamp("ns", "UTC")
    written = pc.match_substring_regex(raw, _LOCAL if local else _OFFSET)
    epoch = "1970-01-01 00:00:00" if local else "1970-01-01 00:00:00Z"
    values = _or(raw, written, epoch)
    wrong = ~_numpy(written)
    try:
        stamps = pc.cast(values, kind)
    except pa.ArrowInvalid:
        # A date such as February 30 looks right and still is none: find which, one by one.
        wrong |= np.array([not _casts(value, kind) for value in values])
        stamps = pc.cast(pc.if_else(pa.array(wrong), epoch, values), kind)
    return _numpy(pc.cast(stamps, pa.int64())), wrong


def _casts(value: Any, kind: pa.DataType) -> bool:
    try:
        pc.cast(value, kind)
    except pa.ArrowInvalid:
        return False
    return True


def _or(raw: pa.Array, written: pa.Array, otherwise: str) -> pa.Array:
    return raw if pc.all(written).as_py() else pc.if_else(written, raw, otherwise)


def _numpy(array: pa.Array) -> Any:
    # Not to_numpy: that imports pandas wherever it is installed, which takes longer than a read.
    if array.type == pa.bool_():
        array = pc.cast(array, pa.uint8())
    dtype = _DTYPES[array.type]
    if not len(array):
        return np.empty(0, dtype=dtype)
    return np.frombuffer(array.buffers()[1], dtype=dtype)[array.offset :][: len(array)]
