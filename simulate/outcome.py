"""What a run yields: one row a query, one row a state interval of each replica, and totals.

In: a trace's columns and what the event loop recorded. Out: latencies and energies as columns.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.work import Array
from simulate.meter import State
from simulate.power import by_state
from simulate.replay import Replayed


@dataclass(frozen=True)
class ServedGroup:
    """One group of a fleet: its name, its model, and the numbers of its replicas."""

    name: str
    model: str
    replicas: tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """One policy's run over one trace.

    Attributes:
        policy: the policy's name.
        groups: the fleet's groups; one without a name where all replicas are of a kind.
        arrival_s: arrivals, shape (n,).
        prompt_tokens: prompt lengths, shape (n,).
        output_tokens: generated lengths, shape (n,).
        replayed: what the event loop recorded.
    """

    policy: str
    groups: tuple[ServedGroup, ...]
    arrival_s: Array
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    replayed: Replayed

    @property
    def replicas(self) -> int:
        """Replicas in the fleet."""
        return sum(len(group.replicas) for group in self.groups)

    @cached_property
    def group_of_replica(self) -> NDArray[np.int64]:
        """The index into :attr:`groups` of each replica, shape (replicas,)."""
        found = np.empty(self.replicas, dtype=np.int64)
        for index, group in enumerate(self.groups):
            found[list(group.replicas)] = index
        return found

    @property
    def group_of(self) -> NDArray[np.int64]:
        """The index into :attr:`groups` of the group that each query went to, shape (n,)."""
        return np.asarray(self.group_of_replica[self.replayed.replica])

    @property
    def served(self) -> NDArray[np.bool_]:
        """Which queries were served, neither rejected nor failed, shape (n,)."""
        return ~(self.replayed.rejected | self.replayed.failed)

    @property
    def queue_s(self) -> Array:
        """Time from arrival to the start of service, shape (n,); NaN if rejected."""
        return self.replayed.start_s - self.arrival_s

    @property
    def ttft_s(self) -> Array:
        """Time to first token: from arrival to the end of prefill, shape (n,)."""
        return self.replayed.first_token_s - self.arrival_s

    @property
    def e2e_s(self) -> Array:
        """End-to-end latency: from arrival to the last token, shape (n,)."""
        return self.replayed.finish_s - self.arrival_s

    @property
    def tpot_s(self) -> Array:
        """Time per output token after the first; NaN for queries of fewer than two tokens."""
        steps = self.output_tokens - 1
        decode_s = self.replayed.finish_s - self.replayed.first_token_s
        return np.where(steps > 0, decode_s / np.maximum(steps, 1), np.nan)

    @cached_property
    def energy_by_state_j(self) -> dict[State, float]:
        """Energy of all replicas in each state; their sum is :attr:`energy_j`."""
        return by_state(self.replayed.intervals, self.replayed.intervals.energy_j)

    @cached_property
    def time_by_state_s(self) -> dict[State, float]:
        """Time of all replicas in each state; their sum is replicas x makespan."""
        return by_state(self.replayed.intervals)

    @property
    def energy_j(self) -> float:
        """Energy of the whole fleet from 0 s to the end of the run."""
        return math.fsum(self.energy_by_state_j.values())

    @cached_property
    def energy_by_replica_j(self) -> Array:
        """Energy of each replica, shape (replicas,)."""
        intervals = self.replayed.intervals
        return np.bincount(
            intervals.replica, weights=intervals.energy_j, minlength=self.replicas
        ).astype(np.float64)

    @property
    def makespan_s(self) -> float:
        """Time from 0 s until the fleet is at rest after the last query."""
        return self.replayed.end_s
