"""The figures by which serving people judge a run.

In: an outcome and, perhaps, service-level objectives. Out: a flat value with units in its names.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phasewatt.errors import BadOption
from simulate.meter import SERVING
from simulate.outcome import Outcome
from simulate.percentiles import NONE, Percentiles, percentiles, weighted_percentiles
from simulate.power import (
    Proportionality,
    by_state,
    clipped,
    peaks_w,
    percentiles_w,
    proportionality,
)

JOULES_PER_KWH = 3.6e6

_UNITS_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Slo:
    """Service-level objectives in seconds; None leaves one out."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None


@dataclass(frozen=True)
class Latencies:
    """The latencies of some requests; ``itl`` is every gap between two of their tokens."""

    ttft: Percentiles
    tpot: Percentiles
    itl: Percentiles
    e2e: Percentiles
    queue: Percentiles


@dataclass(frozen=True)
class Metrics:
    """Totals of one run, or of what of it comes after its warm-up, from ``since_s`` on.

    Then requests, their tokens, latencies and own joules are of those that arrive from then on, and
    energies, powers, times and rates are of the fleet from then to the end; counts of steps,
    preemptions and blocks stay those of the whole run, as ``makespan_s`` does.

    ``output_token_j`` and ``request_j`` are the fleet's whole energy, idle time included, per
    generated token and per request served; ``prefill_token_j`` and ``decode_token_j`` what the
    phases drew per prompt token and per token after each request's first. ``found_prompt_share`` is
    the share of prompt tokens that were found cached. ``utilisation`` is the
    share of replica time that serves. ``wasted_j`` is what attempts at requests drew that were lost
    with replicas that broke, ``retries`` how many others they led to, ``failed`` how many requests
    were lost once too often. ``itl`` counts every gap between two tokens of a request,
    under batching. ``slo_attainment`` is the share of requests that meet each objective, and all
    of them; ``goodput_per_s`` the rate of those that meet all. ``peak_power_w`` is the highest
    mean power of the fleet over any such window; None where the run is shorter. ``power_w`` is what
    the fleet's mean power of a second stays at or below for that share of the time.
    """

    since_s: float
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
    found_prompt_share: float | None
    mean_power_w: float
    power_w: dict[str, float]
    peak_power_w: dict[str, float | None]
    proportionality: Proportionality | None
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


def measure(outcome: Outcome, slo: Slo | None = None, since_s: float = 0.0) -> Metrics:
    """Return the metrics of ``outcome`` from ``since_s`` on, before its last arrival."""
    replayed, batches = outcome.replayed, outcome.replayed.batches
    kept = outcome.arrival_s >= since_s
    intervals = replayed.intervals
    if since_s > 0:
        intervals = clipped(intervals, since_s, outcome.makespan_s)
    span_s, arrived = outcome.makespan_s - since_s, int(kept.sum())
    energies, times = by_state(intervals, intervals.energy_j), by_state(intervals)
    energy_j = math.fsum(energies.values())
    served = kept & outcome.served
    tokens, requests = int(outcome.output_tokens[served].sum()), int(served.sum())
    prefill_token_j, decode_token_j = phase_joules(outcome, kept)
    prompts = int(outcome.prompt_tokens[served].sum())
    found_tokens = float(replayed.found_tokens[served].sum())
    failed = int(replayed.failed[kept].sum())
    met = None if slo is None else attainment(outcome, slo, kept)
    return Metrics(
        since_s=since_s,
        requests=arrived,
        rejected=int(replayed.rejected[kept].sum()),
        failed=failed,
        retries=int(replayed.losses[kept].sum()) - failed,
        wasted_j=float(replayed.wasted_j[kept].sum()),
        output_tokens=tokens,
        makespan_s=outcome.makespan_s,
        energy_j=energy_j,
        energy_kwh=energy_j / JOULES_PER_KWH,
        output_token_j=energy_j / tokens if tokens else None,
        request_j=energy_j / requests if requests else None,
        prefill_token_j=prefill_token_j,
        decode_token_j=decode_token_j,
        found_prompt_share=found_tokens / prompts if batches is not None and prompts else None,
        mean_power_w=energy_j / span_s,
        power_w=percentiles_w(intervals),
        peak_power_w=peaks_w(intervals),
        proportionality=proportionality(intervals, outcome.replicas),
        energy_by_state_j={s.label: e for s, e in energies.items()},
        time_by_state_s={s.label: t for s, t in times.items()},
        **vars(latencies(outcome, kept)),
        requests_per_s=requests / span_s,
        output_tokens_per_s=tokens / span_s,
        utilisation=sum(times[state] for state in SERVING) / (outcome.replicas * span_s),
        slo_attainment=met,
        goodput_per_s=None if met is None else met["all"] * arrived / span_s,
        engine_steps=None if batches is None else batches.steps,
        preemptions=None if batches is None else batches.preemptions,
        kv_blocks_peak=None if batches is None else batches.kv_blocks_peak,
    )


def latencies(outcome: Outcome, kept: NDArray[np.bool_]) -> Latencies:
    """Return the latencies of the requests ``kept``, a mask of shape (n,).

    Of some requests only, gaps between tokens are known where the times of all tokens were kept.
    """
    tokens, batches = outcome.replayed.tokens, outcome.replayed.batches
    itl = NONE
    if batches is not None and kept.all():
        itl = weighted_percentiles(batches.gap_s, batches.gap_tokens)
    elif tokens is not None:
        itl = percentiles(tokens.gaps_s(kept))
    ttft, tpot, e2e, queue = (
        percentiles(values_s[kept])
        for values_s in (outcome.ttft_s, outcome.tpot_s, outcome.e2e_s, outcome.queue_s)
    )
    return Latencies(ttft, tpot, itl, e2e, queue)


def phase_joules(outcome: Outcome, kept: NDArray[np.bool_]) -> tuple[float | None, float | None]:
    """Return the joules per prompt token and per token after each first of the requests ``kept``.

    What prefills and decodes drew for them, no idle time and no switches; None without such tokens.
    """
    served = kept & outcome.served
    prompts = int(outcome.prompt_tokens[served].sum())
    decoded = int(np.maximum(outcome.output_tokens[served] - 1, 0).sum())
    prefill_j = float(outcome.replayed.prefill_j[kept].sum())
    decode_j = float(outcome.replayed.decode_j[kept].sum())
    return prefill_j / prompts if prompts else None, decode_j / decoded if decoded else None


def attainment(
    outcome: Outcome, slo: Slo, kept: NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """Return the share of requests that meet each given objective, and ``all`` of them.

    ``kept`` leaves the others out, a mask of shape (n,) with one request at least.

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
    met["all"] = np.logical_and.reduce(list(met.values()))
    if kept is not None:
        met = {name: good[kept] for name, good in met.items()}
    return {name: float(np.mean(good)) for name, good in met.items()}


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
    """Read ``1.5``, ``1.5s``, ``50ms``, ``2m``, ``3h`` or ``4d`` as seconds.

    Raises:
        BadOption: not a finite time of more than zero.
    """
    number = text.rstrip("mshd")
    unit = text[len(number) :] or "s"
    try:
        seconds = float(number) * _UNITS_S[unit]
    except (ValueError, KeyError):
        seconds = float("nan")
    if not 0 < seconds < float("inf"):
        raise BadOption(f"{option}: found {text!r}; expected a time such as 0.2, 200ms or 2m")
    return seconds
