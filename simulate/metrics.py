"""The figures by which serving people judge a run.

In: an outcome and, perhaps, service-level objectives. Out: a flat value with units in its names.
"""

from dataclasses import dataclass

import numpy as np

from model.work import Array
from phasewatt.errors import BadOption
from simulate.meter import State
from simulate.outcome import Outcome

JOULES_PER_KWH = 3.6e6

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
    generated token and per request. ``utilisation`` is the share of replica time that serves.
    ``slo_attainment`` is the share of requests that meet each objective, and all of them.
    """

    requests: int
    output_tokens: int
    makespan_s: float
    energy_j: float
    energy_kwh: float
    output_token_j: float | None
    request_j: float
    mean_power_w: float
    energy_by_state_j: dict[str, float]
    time_by_state_s: dict[str, float]
    ttft: Percentiles
    tpot: Percentiles
    e2e: Percentiles
    queue: Percentiles
    requests_per_s: float
    output_tokens_per_s: float
    utilisation: float
    slo_attainment: dict[str, float] | None


def measure(outcome: Outcome, slo: Slo | None = None) -> Metrics:
    """Return the metrics of ``outcome``."""
    energy_j, makespan_s = outcome.energy_j, outcome.makespan_s
    tokens, requests = int(outcome.output_tokens.sum()), outcome.arrival_s.size
    times = outcome.time_by_state_s
    return Metrics(
        requests=requests,
        output_tokens=tokens,
        makespan_s=makespan_s,
        energy_j=energy_j,
        energy_kwh=energy_j / JOULES_PER_KWH,
        output_token_j=energy_j / tokens if tokens else None,
        request_j=energy_j / requests,
        mean_power_w=energy_j / makespan_s,
        energy_by_state_j={s.label: e for s, e in outcome.energy_by_state_j.items()},
        time_by_state_s={s.label: t for s, t in times.items()},
        ttft=percentiles(outcome.ttft_s),
        tpot=percentiles(outcome.tpot_s),
        e2e=percentiles(outcome.e2e_s),
        queue=percentiles(outcome.queue_s),
        requests_per_s=requests / makespan_s,
        output_tokens_per_s=tokens / makespan_s,
        utilisation=1 - times[State.IDLE] / (outcome.replicas * makespan_s),
        slo_attainment=None if slo is None else attainment(outcome, slo),
    )


def percentiles(values_s: Array) -> Percentiles:
    """Return mean, p50, p95 and p99 of the values that are not NaN."""
    known = values_s[~np.isnan(values_s)]
    if known.size == 0:
        return Percentiles(None, None, None, None)
    p50, p95, p99 = np.percentile(known, [50, 95, 99]).tolist()
    return Percentiles(float(known.mean()), p50, p95, p99)


def attainment(outcome: Outcome, slo: Slo) -> dict[str, float]:
    """Return the share of requests that meet each given objective, and ``all`` of them.

    A request of fewer than two tokens has no TPOT and meets any objective on it.
    """
    met = {}
    for name, limit_s, values_s in (
        ("ttft", slo.ttft_s, outcome.ttft_s),
        ("tpot", slo.tpot_s, outcome.tpot_s),
        ("e2e", slo.e2e_s, outcome.e2e_s),
    ):
        if limit_s is not None:
            met[name] = np.isnan(values_s) | (values_s <= limit_s)
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
