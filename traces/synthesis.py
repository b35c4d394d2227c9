"""Synthetic arrivals and lengths.

In: an explicit numpy generator and the parameters of a process or distribution. Out: arrays of
arrival times or token counts.
"""

import math
from collections.abc import Callable

import numpy as np

from phasewatt.errors import BadTrace
from traces.trace import Floats, Integers, Trace

LARGEST_N = 100_000_000


def poisson_arrivals(
    rng: np.random.Generator,
    *,
    rate_per_s: float,
    n: int | None = None,
    duration_s: float | None = None,
) -> Floats:
    """Arrivals in seconds with independent exponential gaps of mean 1 / ``rate_per_s``.

    Exactly one of ``n`` (how many arrivals) and ``duration_s`` (all before that time) is given.

    Raises:
        BadTrace: a parameter is out of its range, or no query arrives within ``duration_s``.
    """
    _check("rate", rate_per_s)
    return _arrivals(lambda k: rng.exponential(1 / rate_per_s, k), rate_per_s, n, duration_s)


def gamma_arrivals(
    rng: np.random.Generator,
    *,
    rate_per_s: float,
    cv: float,
    n: int | None = None,
    duration_s: float | None = None,
) -> Floats:
    """Arrivals in seconds with gamma gaps of mean 1 / ``rate_per_s`` and coefficient of variation.

    ``cv`` above 1 is burstier than Poisson, 1 is Poisson, below 1 is more regular. Exactly one of
    ``n`` and ``duration_s`` is given, as for :func:`poisson_arrivals`.

    Raises:
        BadTrace: a parameter is out of its range, or no query arrives within ``duration_s``.
    """
    _check("rate", rate_per_s)
    _check("cv", cv)
    shape, scale = 1 / cv**2, cv**2 / rate_per_s
    return _arrivals(lambda k: rng.gamma(shape, scale, k), rate_per_s, n, duration_s)


def diurnal_arrivals(
    rng: np.random.Generator,
    *,
    rate_per_s: float,
    peak_to_mean: float,
    period_s: float = 86400.0,
    n: int | None = None,
    duration_s: float | None = None,
) -> Floats:
    """Arrivals in seconds of a Poisson process whose rate is a sinusoid, drawn by thinning.

    The rate at time t is ``rate_per_s * (1 - (peak_to_mean - 1) * cos(2 pi t / period_s))``: it
    starts at its lowest, and over whole periods its mean is ``rate_per_s``. Exactly one of ``n``
    and ``duration_s`` is given, as for :func:`poisson_arrivals`.

    Raises:
        BadTrace: a parameter is out of its range, or no query arrives within ``duration_s``.
    """
    _check("rate", rate_per_s)
    _check("period", period_s)
    if not 1 <= peak_to_mean <= 2:
        raise BadTrace(f"peak: found {peak_to_mean:g}, expected peak over mean rate in [1, 2]")
    swing = peak_to_mean - 1

    def candidates(k: int) -> Floats:
        return rng.exponential(1 / (rate_per_s * peak_to_mean), k)

    def kept(arrival_s: Floats) -> Floats:
        relative = (1 - swing * np.cos(2 * np.pi * arrival_s / period_s)) / peak_to_mean
        return arrival_s[rng.random(len(arrival_s)) < relative]

    return _arrivals(candidates, rate_per_s, n, duration_s, kept)


def constant_tokens(tokens: int, n: int) -> Integers:
    """(n,) times the same number of tokens."""
    return np.full(n, tokens, dtype=np.int64)


def lognormal_tokens(rng: np.random.Generator, *, mean: float, cv: float, n: int) -> Integers:
    """(n,) lognormal token counts of this mean and coefficient of variation.

    They are rounded to integers and raised to at least 1, which lifts a mean of a few tokens.

    Raises:
        BadTrace: ``mean`` is below 1, ``cv`` is not positive, or a draw is no usable count.
    """
    if not (math.isfinite(mean) and mean >= 1):
        raise BadTrace(f"lognormal mean: found {mean:g}, expected a finite number of tokens >= 1")
    _check("lognormal cv", cv)
    variance = math.log1p(cv**2)
    drawn = np.rint(rng.lognormal(math.log(mean) - variance / 2, math.sqrt(variance), n))
    if drawn.max(initial=0) > 2**53:
        raise BadTrace(f"lognormal mean {mean:g}, cv {cv:g}: found lengths above 2**53 tokens")
    return np.maximum(drawn, 1).astype(np.int64)


def resampled(rng: np.random.Generator, rows: Trace, arrival_s: Floats) -> Trace:
    """Whole rows of ``rows``, drawn with replacement, one for each time in ``arrival_s`` (n,).

    Lengths, text, task, quality and block hashes of a row stay together. Query ids and sessions
    are left out, as a row drawn twice is neither the same query nor the same conversation.
    """
    index = rng.integers(len(rows), size=len(arrival_s))
    return rows.permuted(index, arrival_s=arrival_s).without("query_id", "session")


def _arrivals(
    gaps: Callable[[int], Floats],
    rate_per_s: float,
    n: int | None,
    duration_s: float | None,
    kept: Callable[[Floats], Floats] = lambda arrival_s: arrival_s,
) -> Floats:
    if (n is None) == (duration_s is None):
        raise BadTrace("found both or neither of n and duration, expected exactly one of them")
    end_s = math.inf if duration_s is None else duration_s
    if n is None:
        _check("duration", end_s)
    size = rate_per_s * end_s if n is None else n
    if not (0 if n is None else 1) <= size <= LARGEST_N:
        raise BadTrace(f"found {size:g} queries to draw, expected 1 to {LARGEST_N:,}")
    parts: list[Floats] = []
    count, now_s = 0, 0.0
    while now_s < end_s if n is None else count < n:
        arrival_s = now_s + np.cumsum(gaps(max(int(size) - count, 256)))
        now_s = float(arrival_s[-1])
        parts.append(kept(arrival_s))
        count += len(parts[-1])
    whole = np.concatenate(parts)
    whole = whole[whole < end_s][:n]
    if not len(whole):
        raise BadTrace(f"found no arrival within {end_s:g} s at {rate_per_s:g} a second")
    return whole


def _check(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise BadTrace(f"{name}: found {value:g}, expected a finite number > 0")
