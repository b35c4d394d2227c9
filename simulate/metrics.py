"""The figures by which serving people judge a run.

In: an outcome and, perhaps, service-level objectives. Out: a flat value with units in its names.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.work import Array
from phasewatt.errors import BadOption
from simulate.meter import SERVING, Intervals
from simulate.outcome import Outcome
from simulate.replay import Batches

JOULES_PER_KWH = 3.6e6

WINDOWS_S = {"100ms": 0.1, "1s": 1.0, "10s": 10.0, "60s": 60.0}
"""Windows over which power peaks are told, in seconds."""

_UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Slo:
    """Service-level objectives in seconds; None leaves one out."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None


@dataclass(frozen=True)
class Percentiles:
    """Mean and percentiles of a latency in seconds; None where no query has it."""

    mean_s: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None


@dataclass(frozen=True)
class Metrics:
    """Totals of one run.

    ``output_token_j`` and ``request_j`` are the fleet's whole energy, idle time included, per
    generated token and per request served; ``prefill_token_j`` and ``decode_token_j`` what the
    phases drew per prompt token and per token after each request's first. ``utilisation`` is the
    share of replica time that serves. ``wasted_j`` is what attempts at requests drew that were lost
    with replicas that broke, ``retries`` how many others they led to, ``failed`` how many requests
    were lost once too often. ``itl`` counts every gap between two tokens of a request,
    under batching. ``slo_attainment`` is the share of requests that meet each objective, and all
    of them; ``goodput_per_s`` the rate of those that meet all. ``peak_power_w`` is the highest
    mean power of the fleet over any such window; None where the run is shorter.
    """

    requests: int
    rejected: int
    failed: int
    retries: int
    wasted_j: float
    output_tokens: int
    makespan_s: float
    energy_j: float
    energy_kwh: float
    output_token_j: float | None
    request_j: float | None
    prefill_token_j: float | None
    decode_token_j: float | None
    mean_power_w: float
    peak_power_w: dict[str, float | None]
    energy_by_state_j: dict[str, float]
    time_by_state_s: dict[str, float]
    ttft: Percentiles
    tpot: Percentiles
    itl: Percentiles
    e2e: Percentiles
    queue: Percentiles
    requests_per_s: float
    output_tokens_per_s: float
    utilisation: float
    slo_attainment: dict[str, float] | None
    goodput_per_s: float | None
    engine_steps: int | None
    preemptions: int | None
    kv_blocks_peak: int | None


def measure(outcome: Outcome, slo: Slo | None = None) -> Metrics:
    """Return the metrics of ``outcome``."""
    energy_j, makespan_s = outcome.energy_j, outcome.makespan_s
    served, replayed = outcome.served, outcome.replayed
    tokens, requests = int(outcome.output_tokens[served].sum()), int(served.sum())
    prompted = int(outcome.prompt_tokens[served].sum())
    decoded = int(np.maximum(outcome.output_tokens[served] - 1, 0).sum())
    times, batches = outcome.time_by_state_s, replayed.batches
    met = None if slo is None else attainment(outcome, slo)
    return Metrics(
        requests=outcome.arrival_s.size,
        rejected=int(replayed.rejected.sum()),
        failed=int(replayed.failed.sum()),
        retries=int(replayed.losses.sum() - replayed.failed.sum()),
        wasted_j=float(replayed.wasted_j.sum()),
        output_tokens=tokens,
        makespan_s=makespan_s,
        energy_j=energy_j,
        energy_kwh=energy_j / JOULES_PER_KWH,
        output_token_j=energy_j / tokens if tokens else None,
        request_j=energy_j / requests if requests else None,
        prefill_token_j=float(replayed.prefill_j.sum()) / prompted if prompted else None,
        decode_token_j=float(replayed.decode_j.sum()) / decoded if decoded else None,
        mean_power_w=energy_j / makespan_s,
        peak_power_w=peaks_w(replayed.intervals),
        energy_by_state_j={s.label: e for s, e in outcome.energy_by_state_j.items()},
        time_by_state_s={s.label: t for s, t in times.items()},
        ttft=percentiles(outcome.ttft_s),
        tpot=percentiles(outcome.tpot_s),
        itl=_gap_percentiles(batches),
        e2e=percentiles(outcome.e2e_s),
        queue=percentiles(outcome.queue_s),
        requests_per_s=requests / makespan_s,
        output_tokens_per_s=tokens / makespan_s,
        utilisation=sum(times[state] for state in SERVING) / (outcome.replicas * makespan_s),
        slo_attainment=met,
        goodput_per_s=None if met is None else met["all"] * outcome.arrival_s.size / makespan_s,
        engine_steps=None if batches is None else batches.steps,
        preemptions=None if batches is None else batches.preemptions,
        kv_blocks_peak=None if batches is None else batches.kv_blocks_peak,
    )


def percentiles(values_s: Array) -> Percentiles:
    """Return mean, p50, p95 and p99 of the values that are not NaN."""
    known = values_s[~np.isnan(values_s)]
    if known.size == 0:
        return Percentiles(None, None, None, None)
    p50, p95, p99 = np.percentile(known, [50, 95, 99]).tolist()
    return Percentiles(float(known.mean()), p50, p95, p99)


def weighted_percentiles(values_s: Array, weights: NDArray[np.int64]) -> Percentiles:
    """Return what :func:`percentiles` gives for each value repeated ``weights`` times.

    Both of shape (k,); weights are 1 or more.
    """
    if values_s.size == 0:
        return Percentiles(None, None, None, None)
    order = np.argsort(values_s)
    values_s, last = values_s[order], np.cumsum(weights[order])
    places = np.array([0.5, 0.95, 0.99]) * (last[-1] - 1)
    below = np.floor(places)
    low, high = (
        values_s[np.minimum(np.searchsorted(last, at, "right"), last.size - 1)]
        for at in (below, below + 1)
    )
    p50, p95, p99 = (low + (places - below) * (high - low)).tolist()
    return Percentiles(float(np.average(values_s, weights=weights[order])), p50, p95, p99)


def peaks_w(intervals: Intervals) -> dict[str, float | None]:
    """Return the fleet's highest mean power over any window of each of :data:`WINDOWS_S`.

    Within an interval power is level. None where the run is shorter than the window.
    """
    moments_s, energy_j = _energy_until(intervals)
    return {
        label: _highest_mean_w(moments_s, energy_j, window_s)
        for label, window_s in WINDOWS_S.items()
    }


def attainment(outcome: Outcome, slo: Slo) -> dict[str, float]:
    """Return the share of requests that meet each given objective, and ``all`` of them.

    A request of fewer than two tokens has no TPOT and meets any objective on it; one that was
    rejected meets none.
    """
    met = {}
    for name, limit_s, values_s in (
        ("ttft", slo.ttft_s, outcome.ttft_s),
        ("tpot", slo.tpot_s, outcome.tpot_s),
        ("e2e", slo.e2e_s, outcome.e2e_s),
    ):
        if limit_s is not None:
            met[name] = outcome.served & (np.isnan(values_s) | (values_s <= limit_s))
    shares = {name: float(np.mean(good)) for name, good in met.items()}
    shares["all"] = float(np.mean(np.logical_and.reduce(list(met.values()))))
    return shares


def parse_slo(text: str) -> Slo:
    """Read ``ttft=1s,tpot=50ms,e2e=30``; a bare number is seconds.

    Raises:
        BadOption: an unknown or repeated objective, or a value that is not a positive time.
    """
    given: dict[str, float] = {}
    for part in text.split(","):
        key, _, value = part.strip().partition("=")
        if key not in ("ttft", "tpot", "e2e") or key in given:
            raise BadOption(f"--slo: found {part!r}; expected ttft=, tpot= and e2e=, each once")
        given[key] = parse_seconds(f"--slo {key}", value)
    return Slo(given.get("ttft"), given.get("tpot"), given.get("e2e"))


def parse_seconds(option: str, text: str) -> float:
    """Read ``1.5``, ``1.5s``, ``50ms`` or ``2m`` as seconds.

    Raises:
        BadOption: not a finite time of more than zero.
    """
    number = text.rstrip("ms")
    unit = text[len(number) :] or "s"
    try:
        seconds = float(number) * _UNITS_S[unit]
    except (ValueError, KeyError):
        seconds = float("nan")
    if not 0 < seconds < float("inf"):
        raise BadOption(f"{option}: found {text!r}; expected a time such as 0.2, 200ms or 2m")
    return seconds


def _energy_until(intervals: Intervals) -> tuple[Array, Array]:
    """Return every moment at which power changes, and the fleet's energy until then.

    In place where it can be: a million requests make eight million moments.
    """
    moments_s = np.concatenate([intervals.start_s, intervals.start_s + intervals.duration_s])
    order = np.argsort(moments_s, kind="stable")
    moments_s = moments_s[order]
    power_w = np.concatenate([intervals.power_w, -intervals.power_w])[order]
    del order
    np.cumsum(power_w, out=power_w)
    energy_j = np.diff(moments_s, prepend=moments_s[:1])
    energy_j[1:] *= power_w[:-1]
    np.cumsum(energy_j, out=energy_j)
    return moments_s, energy_j


_MOMENTS_AT_ONCE = 1 << 18


def _highest_mean_w(moments_s: Array, energy_j: Array, window_s: float) -> float | None:
    """Return the highest mean power over any window; None where the run is shorter than it.

    The mean over a sliding window is highest where one of its ends meets a change of power.
    """
    latest_s = moments_s[-1] - window_s
    if latest_s < 0:
        return None
    most_j = 0.0
    for first in range(0, moments_s.size, _MOMENTS_AT_ONCE):
        some_s = moments_s[first : first + _MOMENTS_AT_ONCE]
        starts_s = np.clip(np.concatenate([some_s, some_s - window_s]), 0.0, latest_s)
        used_j = np.interp(starts_s + window_s, moments_s, energy_j)
        used_j -= np.interp(starts_s, moments_s, energy_j)
        most_j = max(most_j, float(used_j.max()))
    return most_j / window_s


def _gap_percentiles(batches: Batches | None) -> Percentiles:
    if batches is None:
        return Percentiles(None, None, None, None)
    return weighted_percentiles(batches.gap_s, batches.gap_tokens)
