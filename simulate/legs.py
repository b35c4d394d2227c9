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

from simulate.meter import Intervals
from simulate.replay import Replayed, together
from simulate.tokens import TokenTimes

Leg = tuple[Replayed, Sequence[int]]
"""A run, and what the fleet calls its replicas, in the order of their numbers in the run."""


def both_answers(first: Leg, second: Leg, again: NDArray[np.int64]) -> Replayed:
    """Return both runs as one; they end at one time, and ``first`` holds all queries.

    A query that is answered again gets its tokens from the second model; it starts with the first,
    and both runs' joules are its own. Where the second model's replicas reject it, or lose it once
    too often, the first answer stands. ``again`` are the queries of ``second``, shape (k,).
    """
    (before, _), (after, _) = first, second
    places = [np.asarray(numbers, dtype=np.int32) for _, numbers in (first, second)]
    taken = ~(after.rejected | after.failed)
    rows = again[taken]
    columns: dict[str, Any] = {"replica": places[0][before.replica]}
    columns["replica"][rows] = places[1][after.replica[taken]]
    for name in ("first_token_s", "finish_s", "found_tokens"):
        columns[name] = getattr(before, name).copy()
        columns[name][rows] = getattr(after, name)[taken]
    for name in ("prefill_j", "decode_j", "switching_j", "wasted_j", "losses"):
        columns[name] = getattr(before, name).copy()
        columns[name][again] += getattr(after, name)
    return replace(
        before,
        **columns,
        intervals=_both_metered(before.intervals, after.intervals, places),
        batches=together([before.batches, after.batches]),
        tokens=_tokens(before.tokens, after.tokens, taken, again),
    )


def _tokens(
    before: TokenTimes | None,
    after: TokenTimes | None,
    taken: NDArray[np.bool_],
    again: NDArray[np.int64],
) -> TokenTimes | None:
    """Return the tokens of the answers that stand, where both runs kept them."""
    if before is None or after is None:
        return None
    stand = ~np.isin(before.request, again[taken]), taken[after.request]
    return TokenTimes.joined(
        [
            TokenTimes(before.request[stand[0]], before.time_s[stand[0]]),
            TokenTimes(again[after.request[stand[1]]].astype(np.int32), after.time_s[stand[1]]),
        ]
    )


def _both_metered(
    before: Intervals, after: Intervals, places: Sequence[NDArray[np.int32]]
) -> Intervals:
    parts = [
        replace(met, replica=place[met.replica])
        for met, place in zip((before, after), places, strict=True)
    ]
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])
    }
    order = np.argsort(columns["start_s"] + columns["duration_s"], kind="stable")
    return Intervals(**{name: column[order] for name, column in columns.items()})
