"""What every container yields: a stretch of rows as raw columns, and the rows that broke it.

In: nothing. Out: the ``Chunk`` and ``Broken`` that the CSV, JSON lines and Parquet modules fill
and that the reading loop checks.
"""

from collections.abc import Mapping
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
    """``columns`` of n raw values each by the file's own names, and the n ``lines`` they are on."""

    columns: Mapping[str, pa.Array]
    lines: NDArray[np.int64]
    broken: list[Broken] = field(default_factory=list)


def shown(value: object) -> str:
    """``value`` on one line, shortened: text in quotes, a null as nothing."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."
