"""A run by model, by task or by window of time: the figures of each part.

In: an outcome, what its requests are, which parts. Out: a row for each part.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phasewatt.errors import BadOption
from simulate.metrics import Latencies, Slo, attainment, latencies, parse_seconds, phase_joules
from simulate.outcome import Outcome
from simulate.power import clipped, peaks_w, percentiles_w

Mask = NDArray[np.bool_]

MOST_WINDOWS = 1000
"""Windows that a run may be cut into."""

NO_TASK = "(no task)"


@dataclass(frozen=True)
class By:
    """What a run is broken down by: ``model``, ``task``, or windows of ``window_s`` seconds."""

    what: str
    window_s: float | None = None

    @property
    def label(self) -> str:
        """How a report names it."""
        return self.what if self.window_s is None else f"{self.what}:{self.window_s:g}s"


@dataclass(frozen=True)
class Power:
    """What the replicas of a part drew while it lasted, idle or not."""

    energy_j: float
    mean_w: float
    power_w: dict[str, float]
    peak_w: dict[str, float | None]


@dataclass(frozen=True)
class PartMetrics:
    """The figures of one part.

    ``own_j`` is what its requests drew themselves: their prefills, decodes and switches, no idle
    time. ``power`` is that of the fleet within a window, or of the replicas of a model; None for a
    task, whose requests share their replicas with others. Rates are over ``span_s``, which is the
    run but for windows.
    """

    part: str
    requests: int
    rejected: int
    failed: int
    prompt_tokens: int
    output_tokens: int
    span_s: float
    latencies: Latencies
    slo_attainment: dict[str, float] | None
    goodput_per_s: float | None
    output_tokens_per_s: float
    own_j: float
    prefill_token_j: float | None
    decode_token_j: float | None
    power: Power | None


@dataclass(frozen=True)
class _Part:
    name: str
    kept: Mask
    from_s: float
    to_s: float
    replicas: Mask | None


def parse_by(text: str) -> By:
    """Read ``model``, ``task`` or ``window:TIME``.

    Raises:
        BadOption: none of them, or not a time.
    """
    what, colon, size = text.partition(":")
    if what == "window" and colon:
        return By(what, parse_seconds("--by window", size))
    if text not in ("model", "task"):
        raise BadOption(f"--by: found {text!r}; expected model, task or window:TIME")
    return By(text)


def require_parts(by: By, has_tasks: bool, last_arrival_s: float) -> None:
    """Raise :class:`BadOption` where a trace cannot be broken down so."""
    if by.what == "task" and not has_tasks:
        raise BadOption("--by task: the trace holds no tasks; expected a column 'task'")
    if by.window_s is not None and last_arrival_s / by.window_s >= MOST_WINDOWS:
        raise BadOption(
            f"--by window: arrivals over {last_arrival_s:,.0f} s make more than {MOST_WINDOWS:,} "
            f"windows of {by.window_s:g} s; expected a longer window"
        )


def break_down(
    outcome: Outcome,
    by: By,
    tasks: Sequence[str | None] | None = None,
    slo: Slo | None = None,
    since_s: float = 0.0,
) -> tuple[PartMetrics, ...]:
    """Return the figures of each part of ``outcome`` from ``since_s`` on.

    A request belongs to the window in which it arrives; windows count from 0 s, and the last goes
    on to the end of the run.
    """
    return tuple(_measure(outcome, part, slo) for part in _parts(outcome, by, tasks, since_s))


def _parts(
    outcome: Outcome, by: By, tasks: Sequence[str | None] | None, since_s: float
) -> Iterator[_Part]:
    kept, end_s = outcome.arrival_s >= since_s, outcome.makespan_s
    all_replicas = np.ones(outcome.replicas, dtype=np.bool_)
    if by.window_s is not None:
        first, last = (int(moment // by.window_s) for moment in (since_s, outcome.arrival_s[-1]))
        window = (outcome.arrival_s // by.window_s).astype(np.int64)
        for index in range(first, last + 1):
            from_s = max(index * by.window_s, since_s)
            to_s = end_s if index == last else (index + 1) * by.window_s
            name = f"{from_s:,.6g} to {to_s:,.6g} s"
            yield _Part(name, kept & (window == index), from_s, to_s, all_replicas)
        return
    if by.what == "model":
        models = [group.model for group in outcome.groups]
        for name in dict.fromkeys(models):
            mine = np.array([model == name for model in models])
            requests, replicas = mine[outcome.group_of], mine[outcome.group_of_replica]
            yield _Part(name, kept & requests, since_s, end_s, replicas)
        return
    assert tasks is not None
    named = np.array([NO_TASK if task is None else task for task in tasks], dtype=np.object_)
    for name in sorted(set(named[kept].tolist())):
        yield _Part(name, kept & (named == name), since_s, end_s, None)


def _measure(outcome: Outcome, part: _Part, slo: Slo | None) -> PartMetrics:
    kept, served = part.kept, part.kept & outcome.served
    requests, span_s = int(kept.sum()), part.to_s - part.from_s
    replayed = outcome.replayed
    met = attainment(outcome, slo, kept) if slo is not None and requests else None
    tokens = int(outcome.output_tokens[served].sum())
    prefill_token_j, decode_token_j = phase_joules(outcome, kept)
    own_j = replayed.prefill_j + replayed.decode_j + replayed.switching_j
    return PartMetrics(
        part=part.name,
        requests=requests,
        rejected=int(replayed.rejected[kept].sum()),
        failed=int(replayed.failed[kept].sum()),
        prompt_tokens=int(outcome.prompt_tokens[served].sum()),
        output_tokens=tokens,
        span_s=span_s,
        latencies=latencies(outcome, kept),
        slo_attainment=met,
        goodput_per_s=None if met is None else met["all"] * requests / span_s,
        output_tokens_per_s=tokens / span_s,
        own_j=math.fsum(own_j[kept].tolist()),
        prefill_token_j=prefill_token_j,
        decode_token_j=decode_token_j,
        power=None if part.replicas is None else _power(outcome, part, part.replicas),
    )


def _power(outcome: Outcome, part: _Part, replicas: Mask) -> Power:
    intervals = clipped(outcome.replayed.intervals, part.from_s, part.to_s)
    if not replicas.all():
        intervals = intervals.of(replicas[intervals.replica])
    energy_j = math.fsum(intervals.energy_j.tolist())
    return Power(
        energy_j,
        energy_j / (part.to_s - part.from_s),
        percentiles_w(intervals),
        peaks_w(intervals),
    )
