"""What every container yields: a stretch of rows as raw columns, and the rows that broke it.

In: nothing. Out: the ``Chunk`` and ``Broken`` that the CSV, JSON lines and Parquet modules fill
and that the reading loop checks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that cannot be put into columns: its line, and what was found and expected there."""

    line: int
    column: str | None
    found: str
    expected: str

    @property
    def reason(self) -> str:
        """Why the row is broken, the same text for all rows broken in the same way."""
        where = "row" if self.column is None else f"column '{self.column}'"
        return f"{where}: expected {self.expected}"


@dataclass(frozen=True, slots=True)
class Chunk:
    """``n`` rows: ``columns`` of n raw values each, by the file's own names.

    ``lines()`` gives the (n,) lines they are on. It may have to go through the text again, so it
    is asked only when a row is broken.
    """

    n: int
    columns: Mapping[str, pa.Array]
    lines: Callable[[], NDArray[np.int64]]
    broken: list[Broken] = field(default_factory=list)


def in_turn(first: int, n: int) -> Callable[[], NDArray[np.int64]]:
    """The lines of ``n`` rows of one line each, from line ``first`` on."""
    return lambda: np.arange(first, first + n, dtype=np.int64)


def listed(lines: list[int]) -> Callable[[], NDArray[np.int64]]:
    """The lines of rows that were read one by one."""
    return lambda: np.array(lines, dtype=np.int64)


def shown(value: object) -> str:
    """``value`` on one line, shortened: text in quotes, a null as nothing."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."
