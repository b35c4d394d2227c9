"""Time series of prices or carbon intensities, as a user writes them in a file.

In: a CSV of moments and values, and where in it a run begins. Out: a signal in the run's seconds.
"""

import csv
import math
from datetime import datetime
from pathlib import Path

from model.provenance import Kind, Origin
from phasewatt.errors import BadOption
from simulate.costs.signal import Signal
from simulate.metrics import parse_seconds

_TIMES = ("time_s", "timestamp")


def read_series(option: str, file: str, begin: str | None, wraps: bool) -> Signal:
    """Read the CSV ``file``: columns ``time_s`` or ``timestamp`` (ISO 8601), and ``value``.

    Each value holds until the next row's moment, the last one as long as the one before it did.
    The run begins at ``begin``, a timestamp or a time; at the first row's if None for timestamps,
    at 0 s for seconds.

    Raises:
        BadOption: the file cannot be read; a row is not as it should be, with its line and field.
    """
    found = f"{option} {file}"
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadOption(f"{option}: {file} cannot be read: {error}") from error
    rows = csv.reader(text.splitlines())
    header = [name.strip() for name in next(rows, [])]
    if sorted(header) not in [sorted((time, "value")) for time in _TIMES]:
        raise BadOption(
            f"{found}:1: found columns {', '.join(header) or 'none'}; expected time_s or "
            "timestamp, and value"
        )
    dated = "timestamp" in header
    time, value = header.index("timestamp" if dated else "time_s"), header.index("value")
    moments: list[float] = []
    values: list[float] = []
    zones: set[bool] = set()
    for row in rows:
        if not row:
            continue
        at = f"{found}:{rows.line_num}"
        if len(row) != 2:
            raise BadOption(f"{at}: found {len(row)} fields; expected 2")
        moment, aware = _moment(at, header[time], row[time], dated)
        zones.add(aware)
        if len(zones) > 1:
            raise BadOption(f"{at}: timestamp: some rows have a time zone; expected all or none")
        if moments and moment <= moments[-1]:
            raise BadOption(
                f"{at}: {header[time]}: found {row[time]!r}; expected later than the row before"
            )
        moments.append(moment)
        values.append(_value(at, row[value]))
    if len(moments) < 2:
        raise BadOption(
            f"{found}: found {len(moments)} rows; expected 2 or more, or a plain number for a "
            "constant"
        )
    run_s = _begin(option, begin, dated, zones, moments)
    end = moments[-1] + (moments[-1] - moments[-2])
    return Signal(
        found,
        tuple(values),
        tuple(moment - run_s for moment in moments),
        end - run_s,
        wraps,
        Origin(Kind.ASSUMED, f"given: {Path(file).name}, {len(values)} values"),
    )


def _moment(at: str, column: str, text: str, dated: bool) -> tuple[float, bool]:
    try:
        if dated:
            found = datetime.fromisoformat(text.strip())
            return _seconds(found), found.tzinfo is not None
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        expected = "an ISO 8601 timestamp" if dated else "seconds"
        raise BadOption(f"{at}: {column}: found {text!r}; expected {expected}")
    return seconds, False


def _value(at: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadOption(f"{at}: value: found {text!r}; expected a number")
    return value


def _begin(
    option: str, begin: str | None, dated: bool, zones: set[bool], moments: list[float]
) -> float:
    """Return where in the file's seconds the run begins."""
    if begin is None:
        return moments[0] if dated else 0.0
    if not dated:
        return 0.0 if begin == "0" else parse_seconds(f"{option} from", begin)
    try:
        found = datetime.fromisoformat(begin)
    except ValueError as error:
        raise BadOption(
            f"{option} from: found {begin!r}; expected a timestamp as in the file"
        ) from error
    if {found.tzinfo is not None} != zones:
        raise BadOption(f"{option} from: found {begin!r}; expected a time zone as in the file")
    return _seconds(found)


def _seconds(moment: datetime) -> float:
    """Return seconds since 1970, of a timestamp without a zone as if it were UTC's."""
    naive = datetime(1970, 1, 1)
    if moment.tzinfo is None:
        return (moment - naive).total_seconds()
    return moment.timestamp()
