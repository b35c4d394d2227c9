"""Replay options: which part of a trace is replayed, how fast, and in which order of queries.

In: a ``Trace`` and one option each. Out: a new ``Trace`` whose source notes what was done; the
trace that came in is left as it was.
"""

import math
import re
from dataclasses import replace

import numpy as np

from phasewatt.errors import BadTrace
from traces.trace import Trace

_SECONDS_PER = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_TIME = re.compile(r"(\d+\.?\d*|\.\d+)([smh]?)")


def limit(trace: Trace, n: int) -> Trace:
    """The first ``n`` queries of ``trace``; all of them if it holds no more.

    Raises:
        BadTrace: ``n`` is below 1.
    """
    if n < 1:
        raise BadTrace(f"limit: found {n}, expected a number of queries >= 1")
    if n >= len(trace):
        return trace
    return replace(trace.take(slice(0, n)), source=trace.source.after(f"limit {n}"))


def window(trace: Trace, start_s: float, end_s: float) -> Trace:
    """The queries that arrive in [``start_s``, ``end_s``), with ``start_s`` as the new time 0.

    Both bounds are in seconds since the start of the trace; ``end_s`` may be infinite.

    Raises:
        BadTrace: the bounds are not 0 <= start < end, or no query arrives between them.
    """
    if not (0 <= start_s < end_s and math.isfinite(start_s)):
        raise BadTrace(
            f"window: found {start_s:g} s to {end_s:g} s, expected 0 <= start < end in seconds"
        )
    first, last = np.searchsorted(trace.arrival_s, [start_s, end_s], side="left")
    if first == last:
        raise BadTrace(
            f"window {start_s:g} s to {end_s:g} s: found no queries in trace '{trace.name}', "
            f"whose arrivals lie from {trace.arrival_s[0]:g} s to {trace.arrival_s[-1]:g} s"
        )
    part = trace.take(slice(int(first), int(last)))
    return replace(
        part,
        arrival_s=part.arrival_s - start_s,
        source=trace.source.after(f"window {start_s:g} s to {end_s:g} s"),
    )


def scale_rate(trace: Trace, factor: float) -> Trace:
    """The same queries arriving ``factor`` times as fast: every arrival divided by ``factor``.

    Raises:
        BadTrace: ``factor`` is not a positive, finite number.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise BadTrace(f"rate scale: found {factor}, expected a finite number > 0")
    with np.errstate(over="ignore"):
        arrival_s = trace.arrival_s / factor
    if not math.isfinite(arrival_s[-1]):
        raise BadTrace(f"rate scale: found {factor}, too small for arrivals to stay finite")
    return replace(trace, arrival_s=arrival_s, source=trace.source.after(f"rate x {factor:g}"))


def shuffle(trace: Trace, seed: int) -> Trace:
    """The same arrival times with the queries permuted among them, by ``seed`` >= 0.

    Raises:
        BadTrace: ``seed`` is negative.
    """
    if seed < 0:
        raise BadTrace(f"shuffle seed: found {seed}, expected an integer >= 0")
    order = np.random.default_rng(seed).permutation(len(trace))
    shuffled = trace.permuted(order, arrival_s=trace.arrival_s)
    return replace(shuffled, source=trace.source.after(f"shuffle seed {seed}"))


def parse_window(text: str) -> tuple[float, float]:
    """The bounds in seconds of a window written ``START:END``.

    Each bound is a number of seconds, or a number with the suffix s, m or h; an empty start is 0
    and an empty end is infinity. ``"10m:1.5h"`` gives ``(600.0, 5400.0)``.

    Raises:
        BadTrace: the text is not of that form, or the end is not after the start.
    """
    start, colon, end = text.partition(":")
    if not colon:
        raise BadTrace(
            f"window: found {text!r}, expected START:END such as 0:600, 10m:1.5h, or :30m"
        )
    start_s = _seconds(start, text) if start.strip() else 0.0
    end_s = _seconds(end, text) if end.strip() else math.inf
    if not start_s < end_s:
        raise BadTrace(f"window: found {text!r}, expected an end after the start")
    return start_s, end_s


def _seconds(bound: str, text: str) -> float:
    match = _TIME.fullmatch(bound.strip())
    if match is None:
        raise BadTrace(
            f"window: found {bound.strip()!r} in {text!r}, expected a number >= 0 of seconds, "
            "or one with the suffix s, m or h"
        )
    return float(match[1]) * _SECONDS_PER[match[2]]
