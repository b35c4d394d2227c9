"""Disaggregated serving: one pool of replicas prefills, another decodes, and caches cross a link.

In: requests, prices of steps, limits, two pools, a link. Out: one :class:`Replayed` of both pools.
Nothing flows back from the second pool, so that each is replayed once, one after the other.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.pricing import StepPrices
from model.work import Array
from policies.governor import Governor
from simulate.batching import BLOCK_TOKENS, Limits
from simulate.engine import replay_batched
from simulate.fleet import Fleet
from simulate.meter import Intervals, State
from simulate.replay import Batches, Replayed
from simulate.service import Lengths


@dataclass(frozen=True)
class Pools:
    """Two pools and the link between them.

    Attributes:
        prefill: the replicas that prefill, numbered first.
        decode: the replicas that decode.
        token_bytes: KV cache of one token.
        link_bytes_per_s: bandwidth of the link, over which caches go one after another.
    """

    prefill: Fleet
    decode: Fleet
    token_bytes: float
    link_bytes_per_s: float


class Governed(NamedTuple):
    """What the steps of a pool cost, and what asks for their clocks."""

    prices: StepPrices
    governor: Governor


def replay_pools(
    arrival_s: Array,
    lengths: Lengths,
    first_pool: Governed,
    second_pool: Governed,
    limits: Limits,
    pools: Pools,
    advance: Callable[[int], None] = lambda _n: None,
) -> Replayed:
    """Prefill every request in one pool and decode it in the other.

    A request's cache crosses the link when its prefill is done and the caches before it have
    crossed; then it arrives at the second pool, chosen by the same routing, and decodes from its
    second token on. Requests of fewer than two tokens end in the first pool. ``replica`` is where
    a request was prefilled; transfers draw no power.

    ``first_pool`` and ``second_pool`` say what prices and governs the steps of each.

    Args and errors: see :func:`simulate.engine.replay_batched`.
    """
    longest = lengths.prompt_tokens + lengths.decode_steps
    fits = -(-longest // BLOCK_TOKENS) <= limits.kv_blocks
    moves = fits & (lengths.decode_steps > 0)
    first = _Stage.of(np.flatnonzero(fits), arrival_s)
    prompts = Lengths(lengths.prompt_tokens, np.minimum(lengths.output_tokens, 1))
    prefilled = first.replay(prompts, first_pool, limits, pools.prefill, advance)
    token_s = first.spread(prefilled.finish_s, np.nan, arrival_s.size)

    ready = np.flatnonzero(moves)
    ready = ready[np.argsort(token_s[ready], kind="stable")]
    token_crosses_s = pools.token_bytes / pools.link_bytes_per_s
    crossing_s = lengths.prompt_tokens[ready].astype(np.float64) * token_crosses_s
    second = _Stage(ready, _one_after_another(token_s[ready], crossing_s))
    decoded = second.replay(
        lengths, second_pool, limits, pools.decode, first_token_s=token_s[ready]
    )
    return _merged(arrival_s.size, pools, (first, prefilled), (second, decoded))


@dataclass(frozen=True)
class _Stage:
    """Requests of one pool, in the order of their arrival there."""

    requests: NDArray[np.intp]
    arrival_s: Array

    @staticmethod
    def of(requests: NDArray[np.intp], arrival_s: Array) -> "_Stage":
        return _Stage(requests, arrival_s[requests])

    def replay(
        self,
        lengths: Lengths,
        governed: Governed,
        limits: Limits,
        fleet: Fleet,
        advance: Callable[[int], None] = lambda _n: None,
        first_token_s: Array | None = None,
    ) -> Replayed:
        mine = Lengths(lengths.prompt_tokens[self.requests], lengths.output_tokens[self.requests])
        return replay_batched(
            self.arrival_s, mine, *governed, limits, fleet, advance, first_token_s
        )

    def spread(self, column: Array, absent: float, size: int) -> Array:
        """Return ``column`` of this pool's requests as one of all requests, shape (size,)."""
        whole = np.full(size, float(absent))
        whole[self.requests] = column
        return whole


def _one_after_another(ready_s: Array, crossing_s: Array) -> Array:
    """Return when each of a line has crossed: each starts when ready and the link is free."""
    passed_s = np.cumsum(crossing_s)
    free_s = np.maximum.accumulate(ready_s - (passed_s - crossing_s))
    return np.asarray(free_s + passed_s)


def _merged(
    size: int, pools: Pools, first: tuple[_Stage, Replayed], second: tuple[_Stage, Replayed]
) -> Replayed:
    (stage, prefilled), (later, decoded) = first, second
    finish_s = stage.spread(prefilled.finish_s, np.nan, size)
    finish_s[later.requests] = decoded.finish_s
    end_s = max(prefilled.end_s, decoded.end_s)
    return Replayed(
        stage.spread(prefilled.replica.astype(np.float64), 0, size).astype(np.int32),
        stage.spread(prefilled.start_s, np.nan, size),
        stage.spread(prefilled.first_token_s, np.nan, size),
        finish_s,
        stage.spread(prefilled.prefill_j, 0, size) + later.spread(decoded.prefill_j, 0, size),
        later.spread(decoded.decode_j, 0, size),
        stage.spread(prefilled.switching_j, 0, size) + later.spread(decoded.switching_j, 0, size),
        np.isnan(finish_s),
        _both_metered(pools, prefilled, decoded, end_s),
        end_s,
        _both_batched(prefilled.batches, decoded.batches),
    )


def _both_metered(pools: Pools, first: Replayed, second: Replayed, end_s: float) -> Intervals:
    """Return the intervals of both pools; the one that ended first idles until ``end_s``."""
    columns = []
    offset = 0
    for run, fleet in ((first, pools.prefill), (second, pools.decode)):
        met = run.intervals
        columns.append((met.replica + offset, *_columns(met)))
        if end_s > run.end_s:
            replicas = np.arange(offset, offset + fleet.replicas, dtype=np.int32)
            idle = np.full(fleet.replicas, int(State.IDLE), dtype=np.int8)
            start_s, watts, clock = (
                np.full(fleet.replicas, value) for value in (run.end_s, fleet.idle_power_w, np.nan)
            )
            columns.append((replicas, idle, start_s, end_s - start_s, clock, watts))
        offset += fleet.replicas
    merged = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    order = np.argsort(merged[2] + merged[3], kind="stable")
    replica, state, start_s, duration_s, sm_mhz, power_w = (column[order] for column in merged)
    return Intervals(
        replica.astype(np.int32), state.astype(np.int8), start_s, duration_s, sm_mhz, power_w
    )


def _columns(met: Intervals) -> tuple[NDArray[np.int8], Array, Array, Array, Array]:
    return met.state, met.start_s, met.duration_s, met.sm_mhz, met.power_w


def _both_batched(first: Batches | None, second: Batches | None) -> Batches:
    assert first is not None
    assert second is not None
    return Batches(
        np.concatenate([first.gap_s, second.gap_s]),
        np.concatenate([first.gap_tokens, second.gap_tokens]),
        first.steps + second.steps,
        first.preemptions + second.preemptions,
        first.recomputed_tokens + second.recomputed_tokens,
        max(first.kv_blocks_peak, second.kv_blocks_peak),
        first.kv_blocks_left + second.kv_blocks_left,
    )


def pools_of(
    fleet: Fleet,
    decode_replicas: int,
    decode_idle_mhz: float | None,
    token_bytes: float,
    link_bytes_per_s: float,
) -> Pools:
    """Return ``fleet`` split in two; the last ``decode_replicas`` decode."""
    return Pools(
        replace(fleet, replicas=fleet.replicas - decode_replicas),
        replace(fleet, replicas=decode_replicas, idle_mhz=decode_idle_mhz),
        token_bytes,
        link_bytes_per_s,
    )
