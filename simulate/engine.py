"""Engines that batch: what they hold at once, what a request adds, and their replicas.

In: lengths, prices of steps, a governor, limits. Out: replicas that write what became of requests
into shared columns.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.pricing import StepPrices
from model.work import Array
from policies import Governor
from simulate.asking import asks_of
from simulate.batch_replica import BatchReplica
from simulate.batching import BLOCK_TOKENS, Limits
from simulate.columns import Views
from simulate.course import Course
from simulate.fleet import Fleet
from simulate.marginal import marginal_joules
from simulate.replay import Group, Replayed, replay
from simulate.routing import Marginal
from simulate.scheduler import Scheduler
from simulate.service import Lengths


@dataclass(frozen=True)
class BatchEngine:
    """Batches within ``limits``, in steps that cost ``prices`` at the clocks of ``governor``.

    A replica that is free plans a step as soon as all that arrives at one moment has arrived; what
    arrives at the very end of a step has not arrived when the next is planned.

    The clock is asked for step by step: prefill's where the step computes any prompt token,
    otherwise decode's. A governor that looks (:class:`policies.Looking`) is shown the replica's
    situation at every step, or says for how many its answer stands where nothing arrives. A change
    of the requested clock stalls the replica before the step, at the larger of the powers before
    and after. While the dwell forbids a change, whole steps run at the old clock. Idle
    replicas are those of :class:`simulate.replica.AloneEngine`.

    Energy belongs to requests as :class:`simulate.accounts.Accounts` says.

    Attributes:
        lengths: of the requests.
        prices: what steps cost.
        governor: what asks for clocks.
        limits: what the scheduler works within.
        at_once: requests that a replica runs together at most, as far as was measured.
        prefilled: whether requests come with their prompts cached and their first token made; all
            of them then have more to decode.

    Running it raises :class:`OutOfRange` where a clock that would hold lies outside the calibrated
    domain.
    """

    lengths: Lengths
    prices: StepPrices
    governor: Governor
    limits: Limits
    at_once: int
    prefilled: bool = False

    def fits(self) -> NDArray[np.bool_]:
        """Return which requests fit an empty KV cache to their last token, shape (n,)."""
        longest = self.lengths.prompt_tokens + self.lengths.decode_steps
        return np.asarray(-(-longest // BLOCK_TOKENS) <= self.limits.kv_blocks)

    def marginal(self, fleet: Fleet) -> Marginal:
        """Return the joules that a request adds to a batch; see :func:`marginal_joules`."""
        return marginal_joules(
            self.lengths, self.prices, self.governor, fleet.idle_power_w, self.prefilled
        )

    def replicas(
        self, course: Course, fleet: Fleet, views: Views, first: int
    ) -> list[BatchReplica]:
        """Return the replicas of ``fleet``, numbered from ``first`` on."""
        lengths, limits = self.lengths, self.limits
        prompts, outputs = lengths.prompt_tokens.tolist(), lengths.output_tokens.tolist()
        priority = None if lengths.priority is None else lengths.priority.tolist()
        prefixes = None if self.prefilled else lengths.prefixes

        def scheduler() -> Scheduler:
            return Scheduler(prompts, outputs, limits, self.prefilled, priority, prefixes)

        asks = asks_of(self.governor, self.prices, course, fleet)
        replicas = [
            BatchReplica(
                *(first + index, course, fleet, views, scheduler),
                *(limits, self.prices, asks[index], self.prefilled),
            )
            for index in range(fleet.replicas)
        ]
        for replica in replicas:
            replica.peers = [other for other in replicas if other is not replica]
        return replicas


def replay_batched(
    arrival_s: Array,
    lengths: Lengths,
    prices: StepPrices,
    governor: Governor,
    limits: Limits,
    fleet: Fleet,
    advance: Callable[[int], None] = lambda _n: None,
    first_token_s: Array | None = None,
    tokens: bool = False,
) -> Replayed:
    """Serve every request in batches on one group of replicas; see :class:`BatchEngine`.

    ``first_token_s`` says when each request got its first token elsewhere, shape (n,); requests
    then arrive with their prompts cached. With ``tokens``, the time of every token is kept.
    """
    prefilled = first_token_s is not None
    engine = BatchEngine(lengths, prices, governor, limits, limits.sequences, prefilled)
    return replay(
        *(arrival_s, lengths, [Group(fleet, engine)], advance),
        first_token_s=first_token_s,
        tokens=tokens,
    )
