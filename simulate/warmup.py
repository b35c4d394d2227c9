"""The begin of a run that is left out, as it tells of an empty fleet and not of the load.

In: what ``--warm-up`` says, and latencies in the order of arrival. Out: how much is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.work import Array
from phasewatt.errors import BadOption
from simulate.metrics import parse_seconds
from simulate.outcome import Outcome

BATCH = 5
"""Observations of one batch mean: the 5 of MSER-5."""


@dataclass(frozen=True)
class WarmUp:
    """What is left out: so many seconds; None: as much as MSER-5 says."""

    seconds: float | None = 0.0


@dataclass(frozen=True)
class LeftOut:
    """From when on a run counts, and what a reader must know of that, if anything."""

    since_s: float
    note: str | None


def parse_warm_up(text: str) -> WarmUp:
    """Read ``0``, a time such as ``60s``, or ``auto``.

    Raises:
        BadOption: none of them.
    """
    if text == "auto":
        return WarmUp(None)
    return WarmUp(0.0 if text in ("0", "0s") else parse_seconds("--warm-up", text))


def require_more(warm_up: WarmUp, last_arrival_s: float) -> None:
    """Raise :class:`BadOption` where nothing would be left of a trace."""
    if warm_up.seconds and warm_up.seconds > last_arrival_s:
        raise BadOption(
            f"--warm-up: found {warm_up.seconds:g} s, and the last request arrives at "
            f"{last_arrival_s:g} s: expected less"
        )


def left_out(warm_up: WarmUp, outcomes: Sequence[Outcome]) -> LeftOut:
    """Return from when on all of ``outcomes``, of one trace, count: the same for all.

    ``auto`` asks MSER-5 where the TTFTs of each settle, in the order of arrival, and takes the
    latest of these.
    """
    if warm_up.seconds == 0:
        return LeftOut(0.0, None)
    arrival_s = outcomes[0].arrival_s
    since_s, how = warm_up.seconds, "as given"
    if since_s is None:
        since_s, how = 0.0, "found by MSER-5 in TTFT"
        for outcome in outcomes:
            served = np.flatnonzero(outcome.served)
            dropped = mser5(outcome.ttft_s[served])
            if dropped is None:
                return LeftOut(
                    0.0,
                    f"warm-up: under {outcome.policy}, MSER-5 finds no end of it in the first half "
                    "of the run: nothing is left out; expected a longer trace or --warm-up TIME",
                )
            since_s = max(since_s, float(arrival_s[served[dropped]]) if dropped else 0.0)
        if since_s == 0:
            return LeftOut(0.0, "warm-up: MSER-5 finds none in TTFT: nothing is left out")
    gone = int(np.searchsorted(arrival_s, since_s, "left"))
    return LeftOut(
        since_s,
        f"warm-up ({how}): the first {since_s:,.1f} s and the {gone:,} requests that arrive in "
        "them are left out; steps, preemptions, quality and shares of groups are of the whole run",
    )


def mser5(values: Array) -> int | None:
    """Return how many of ``values``, shape (n,), to leave out at the begin; None: no telling.

    MSER-5 (White, An Effective Truncation Heuristic for Bias Reduction in Simulation Output,
    Simulation 69(6), 1997; with batches of five: White, Cobb and Spratt, Winter Simulation
    Conference 2000): of the means of each five values, leave out as many as make the squared
    standard error of the mean of the rest least. Where that is more than half of them, the run is
    too short for the rule to tell.
    """
    batches = values.size // BATCH
    if batches < 2:
        return None
    means = values[: batches * BATCH].reshape(batches, BATCH).mean(axis=1)
    means = (means - means.mean())[::-1]
    kept = np.arange(1, batches + 1)
    squares = np.cumsum(means**2) - np.cumsum(means) ** 2 / kept
    error = np.maximum(squares, 0.0)[::-1] / kept[::-1] ** 2
    # The last few would seem to agree by chance.
    left_out = int(np.argmin(error[: max(batches - BATCH, 1)]))
    return None if left_out > batches // 2 else left_out * BATCH
