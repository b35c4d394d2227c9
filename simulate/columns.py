"""What a run writes down of every query, as columns that all of its replicas share.

In: how many queries. Out: arrays, and views of them that the event loop writes fast.
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, cast

import numpy as np

from model.work import Array

View: TypeAlias = "memoryview[float]"
"""A column as the event loop reads it: indexing one costs a third of indexing an array."""


class Views(NamedTuple):
    """Every query, as replicas write it: what the last attempt took, and what others wasted."""

    start_s: View
    first_token_s: View
    finish_s: View
    prefill_j: View
    decode_j: View
    switching_j: View
    found_tokens: View
    wasted_j: View

    def waste(self, query: int, energy_j: float, prefilled: bool = False) -> None:
        """Let the attempt at ``query``, which took ``energy_j``, have been in vain.

        Where it came ``prefilled``, its first token stays.
        """
        self.wasted_j[query] += energy_j
        nan = float("nan")
        self.start_s[query] = self.finish_s[query] = nan
        if not prefilled:
            self.first_token_s[query] = nan
        for column in (self.prefill_j, self.decode_j, self.switching_j, self.found_tokens):
            column[query] = 0.0


@dataclass(frozen=True)
class Columns:
    """One row a query; times are NaN until they come, and where they never do."""

    start_s: Array
    first_token_s: Array
    finish_s: Array
    prefill_j: Array
    decode_j: Array
    switching_j: Array
    found_tokens: Array
    wasted_j: Array

    @staticmethod
    def of(queries: int, first_token_s: Array | None = None) -> "Columns":
        """Return columns of ``queries`` rows; first tokens may have been made elsewhere."""
        times = [np.full(queries, np.nan) for _ in range(3)]
        if first_token_s is not None:
            times[1] = first_token_s.copy()
        return Columns(*times, *(np.zeros(queries) for _ in range(5)))

    def views(self) -> Views:
        """Return views through which the columns are written."""
        return Views(*(view_of(column) for column in vars(self).values()))


def view_of(column: Array) -> View:
    """Return a view of ``column``, shape (n,); writes to the view of a float array reach it."""
    return cast(View, np.ascontiguousarray(column, dtype=np.float64).data)
