"""What a governor that looks sees when a step is planned, and what it answers.

In: the state of one replica, as the event loop fills it in. Out: protocols of governors that look,
and the values that they exchange. A governor that does not look is never shown any of this.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from model.pricing import Step
from model.work import Array
from policies.governor import Governor


@dataclass
class Watch:
    """What one replica has measured so far; it only ever grows.

    Attributes:
        gap_s: gaps between two tokens of one request, in seconds.
        gap_tokens: how many tokens came after each of these gaps.
        ttft_s: for each first token made here, the time since its request arrived here.
        steps: steps made.
        tokens: tokens made.
    """

    gap_s: Sequence[float] = field(default_factory=list)
    gap_tokens: Sequence[int] = field(default_factory=list)
    ttft_s: Sequence[float] = field(default_factory=list)
    steps: int = 0
    tokens: int = 0


class Situation(NamedTuple):
    """One replica at the moment when it plans a step.

    Attributes:
        now_s: the time.
        step: what is about to be computed.
        steps: how often at most it may repeat, each context growing by one token.
        set_mhz: the clock that is set; None before the first.
        waiting: requests in line that this step leaves there.
        prompt_tokens: tokens of prompts that no step has computed, those of this step included.
        first_wait_s: time since its arrival of the first in line; 0 with none.
        last_wait_s: that of the last in line, or with none in line the shortest of the requests
            whose prompts this step computes; 0 with none of either.
        prefill_wait_s: the longest of the requests whose prompts this step computes (after a
            preemption, computes again); None with none.
        kv_used: share of the replica's KV-cache blocks that requests hold.
        watch: what the replica has measured.
    """

    now_s: float
    step: Step
    steps: int
    set_mhz: float | None
    waiting: int
    prompt_tokens: int
    first_wait_s: float
    last_wait_s: float
    prefill_wait_s: float | None
    kv_used: float
    watch: Watch


class Decision(NamedTuple):
    """A clock for a step, for how many of its repetitions it is meant, and perhaps a power limit.

    Asked again at any of those, with nothing changed but contexts and time, a pilot must answer
    the same: it is not asked.
    """

    asked_mhz: float
    steps: int
    cap_w: float | None = None


class Pilot(Protocol):
    """Decides for one replica, and may remember."""

    def decide(self, situation: Situation) -> Decision:
        """Return the clock for the step that is planned."""
        ...

    def rest(self) -> None:
        """Take note that the replica falls idle."""
        ...


@runtime_checkable
class Looking(Governor, Protocol):
    """A governor that looks at the state of replicas.

    Its :meth:`request_mhz` says what it asks for where nobody waits: reports show that.
    """

    @property
    def pressed(self) -> Governor:
        """What it does where requests wait for long: fleets are sized by that."""
        ...

    @property
    def coupled(self) -> bool:
        """Whether what one replica does changes what others may do."""
        ...

    def crew(self, replicas: int, idle_power_w: float) -> Sequence[Pilot]:
        """Return a pilot for each of ``replicas``, whose memories are empty.

        Raises:
            BadPolicy: so many replicas cannot be served.
        """
        ...


class Solo:
    """A pilot that has nothing to do when its replica falls idle."""

    def rest(self) -> None:
        """Do nothing."""


def tail_s(values_s: Sequence[float], first: int, tokens: Sequence[int] | None = None) -> float:
    """Return the 95th percentile of the values from ``first`` on; NaN with none.

    That is the least of them which no more than 5% of them exceed; each counts ``tokens`` times.
    """
    since_s = np.asarray(values_s[first:], dtype=np.float64)
    weights = np.ones(since_s.size) if tokens is None else np.asarray(tokens[first:], np.float64)
    return _quantile(since_s, weights)


def _quantile(values: Array, weights: Array) -> float:
    total = float(weights.sum())
    if not total:
        return float("nan")
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][int(np.searchsorted(reached, 0.95 * total))])
