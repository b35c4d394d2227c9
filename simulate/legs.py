"""Queries that two models answer, one after the other: two runs of a fleet's parts as one.

In: the run of the replicas that answer first, and that of those that answer again, whose arrivals
are the ends of the first answers. Out: one run. The parts share no replica, so that nothing of the
second run could have changed the first.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.work import Array
from simulate.meter import Intervals, State
from simulate.replay import Replayed, together
from simulate.tokens import TokenTimes


def together_in_time(
    first: Replayed,
    second: Replayed,
    again: NDArray[np.int64],
    numbers: tuple[Sequence[int], Sequence[int]],
    idle_w: Array,
) -> Replayed:
    """Return both runs as one, which ends when the later one does; until then replicas idle.

    A query that is answered again gets its tokens from the second model; it starts with the first,
    and both runs' joules are its own. Where the second model's replicas reject it, the first answer
    stands.

    Args:
        first: the run of all queries.
        second: the run of those that are answered again.
        again: which queries those are, one for each row of ``second``, shape (k,).
        numbers: of each run's replicas in the fleet, in the order of their numbers there.
        idle_w: what an idle replica draws, by its number in the fleet.
    """
    stands = second.rejected
    rows, taken = again[~stands], ~stands
    columns: dict[str, Any] = {
        name: _with(getattr(first, name), rows, getattr(second, name)[taken])
        for name in ("first_token_s", "finish_s", "found_tokens")
    }
    for name in ("prefill_j", "decode_j", "switching_j"):
        columns[name] = getattr(first, name).copy()
        columns[name][again] += getattr(second, name)
    places = [np.asarray(part, dtype=np.int32) for part in numbers]
    replica = places[0][first.replica]
    replica[rows] = places[1][second.replica[taken]]
    end_s = max(first.end_s, second.end_s)
    parts = [
        _until(run.intervals, place, run.end_s, end_s, idle_w)
        for run, place in zip((first, second), places, strict=True)
    ]
    return replace(
        first,
        **columns,
        replica=replica,
        intervals=_by_end(parts),
        end_s=end_s,
        batches=together([first.batches, second.batches]),
        tokens=_tokens(first.tokens, second.tokens, rows, again),
    )


def _tokens(
    first: TokenTimes | None,
    second: TokenTimes | None,
    rows: NDArray[np.int64],
    again: NDArray[np.int64],
) -> TokenTimes | None:
    """Return the tokens of the answers that stand, where both runs kept them."""
    if first is None or second is None:
        return None
    stands = ~np.isin(first.request, rows)
    return TokenTimes.joined(
        [
            TokenTimes(first.request[stands], first.time_s[stands]),
            TokenTimes(again[second.request].astype(np.int32), second.time_s),
        ]
    )


def _with(column: Array, rows: NDArray[np.int64], values: Array) -> Array:
    changed = column.copy()
    changed[rows] = values
    return changed


def _until(
    intervals: Intervals, place: NDArray[np.int32], ended_s: float, end_s: float, idle_w: Array
) -> Intervals:
    """Return ``intervals`` under the fleet's numbers, and idleness from ``ended_s`` on."""
    count = place.size if end_s > ended_s else 0
    filled = {
        "replica": place[:count],
        "state": np.full(count, int(State.IDLE), dtype=np.int8),
        "start_s": np.full(count, ended_s),
        "duration_s": np.full(count, end_s - ended_s),
        "sm_mhz": np.full(count, np.nan),
        "power_w": idle_w[place[:count]],
    }
    numbered = replace(intervals, replica=place[intervals.replica])
    return Intervals(
        **{name: np.concatenate([getattr(numbered, name), more]) for name, more in filled.items()}
    )


def _by_end(parts: Sequence[Intervals]) -> Intervals:
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])
    }
    order = np.argsort(columns["start_s"] + columns["duration_s"], kind="stable")
    return Intervals(**{name: column[order] for name, column in columns.items()})
