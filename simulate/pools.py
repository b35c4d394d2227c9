"""Disaggregated serving: one pool of replicas prefills, another decodes, and caches cross a link.

In: requests, prices of steps, limits, two pools, a link. Out: one :class:`Replayed` of both pools.
Nothing flows back from the second pool, so that each is replayed once, one after the other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.work import Array
from simulate.engine import BatchEngine
from simulate.fleet import Fleet
from simulate.meter import Intervals
from simulate.replay import Group, Ran, Replayed, run, together
from simulate.service import Lengths
from simulate.tokens import TokenTimes


@dataclass(frozen=True)
class Pools:
    """Two pools of one model and the link between them.

    Attributes:
        prefill: the replicas that prefill.
        decode: the replicas that decode.
        prefilling: how the first serve.
        decoding: how the second serve.
        token_bytes: KV cache of one token.
        link_bytes_per_s: bandwidth of the link, over which caches go one after another.
    """

    prefill: Fleet
    decode: Fleet
    prefilling: BatchEngine
    decoding: BatchEngine
    token_bytes: float
    link_bytes_per_s: float


def replay_pools(
    arrival_s: Array, lengths: Lengths, pools: Sequence[Pools], tokens: bool = False
) -> Replayed:
    """Return what :func:`run_pools` comes to, at its end."""
    ran = run_pools(arrival_s, lengths, pools, tokens=tokens)
    return ran.replayed(ran.end_s)


def run_pools(
    arrival_s: Array,
    lengths: Lengths,
    pools: Sequence[Pools],
    advance: Callable[[int], None] = lambda _n: None,
    may: NDArray[np.bool_] | None = None,
    tokens: bool = False,
) -> "RanPools":
    """Prefill every request in one pool and decode it in the other.

    Arrivals are routed among the prefilling replicas of all ``pools``. A request's cache crosses
    its link when its prefill is done and the caches before it have crossed; then it arrives at the
    decoding replicas beside, chosen by the same routing, and decodes from its second token on.
    Requests of fewer than two tokens end in the first pool. Prefilling replicas are numbered before
    all that decode; ``replica`` is where a request was prefilled; transfers draw no power.

    Args and errors: see :func:`simulate.replay.replay`.
    """
    held = np.column_stack([each.decoding.fits() for each in pools])
    held &= True if may is None else may
    fits = held.any(axis=1)
    first = _Stage.of(np.flatnonzero(fits), arrival_s)
    prompts = replace(lengths, output_tokens=np.minimum(lengths.output_tokens, 1))
    prefilled = first.run(
        prompts,
        [(each.prefill, each.prefilling) for each in pools],
        held,
        advance,
        tokens=tokens,
    )
    token_s = first.spread(prefilled.columns.finish_s, np.nan, arrival_s.size)
    ends = np.cumsum([each.prefill.replicas for each in pools])
    group = np.zeros(arrival_s.size, dtype=np.int64)
    group[first.requests] = np.searchsorted(ends, prefilled.served_by, side="right")

    ready = np.flatnonzero(fits & (lengths.decode_steps > 0) & ~np.isnan(token_s))
    ready = ready[np.argsort(token_s[ready], kind="stable")]
    crossed_s = np.zeros(ready.size)
    for index, each in enumerate(pools):
        mine = group[ready] == index
        token_crosses_s = each.token_bytes / each.link_bytes_per_s
        crossing_s = lengths.prompt_tokens[ready[mine]].astype(np.float64) * token_crosses_s
        crossed_s[mine] = _one_after_another(token_s[ready[mine]], crossing_s)
    order = np.argsort(crossed_s, kind="stable")
    ready, crossed_s = ready[order], crossed_s[order]
    second = _Stage(ready, crossed_s)
    decoded = second.run(
        lengths,
        [(each.decode, each.decoding) for each in pools],
        group[:, None] == np.arange(len(pools)),
        first_token_s=token_s[ready],
        tokens=tokens,
    )
    prefilling = sum(each.prefill.replicas for each in pools)
    return RanPools(arrival_s.size, prefilling, (first, prefilled), (second, decoded))


@dataclass(frozen=True)
class RanPools:
    """A run of pools whose last request is done: both stages, and their requests."""

    size: int
    prefilling: int
    first: "tuple[_Stage, Ran]"
    second: "tuple[_Stage, Ran]"

    @property
    def end_s(self) -> float:
        """When the last replica comes to rest."""
        return max(self.first[1].end_s, self.second[1].end_s)

    @property
    def finish_s(self) -> Array:
        """When each request was done, shape (n,); NaN where it never was."""
        return _finish_s(self.size, self.first, self.second)

    def replayed(self, end_s: float) -> Replayed:
        """Return what happened until ``end_s``; see :meth:`simulate.replay.Ran.replayed`."""
        (stage, prefilled), (later, decoded) = self.first, self.second
        return _merged(
            self.size,
            self.prefilling,
            (stage, prefilled.replayed(end_s)),
            (later, decoded.replayed(end_s)),
        )


@dataclass(frozen=True)
class _Stage:
    """Requests of one pool, in the order of their arrival there."""

    requests: NDArray[np.intp]
    arrival_s: Array

    @staticmethod
    def of(requests: NDArray[np.intp], arrival_s: Array) -> "_Stage":
        return _Stage(requests, arrival_s[requests])

    def run(
        self,
        lengths: Lengths,
        groups: Sequence[tuple[Fleet, BatchEngine]],
        may: NDArray[np.bool_],
        advance: Callable[[int], None] = lambda _n: None,
        first_token_s: Array | None = None,
        tokens: bool = False,
    ) -> Ran:
        mine = lengths.take(self.requests)
        prefilled = first_token_s is not None
        of_stage = [
            Group(fleet, replace(engine, lengths=mine, prefilled=prefilled))
            for fleet, engine in groups
        ]
        return run(
            *(self.arrival_s, mine, of_stage, advance, may[self.requests], first_token_s, tokens)
        )

    def spread(self, column: NDArray[Any], absent: float, size: int) -> Array:
        """Return ``column`` of this pool's requests as one of all requests, shape (size,)."""
        whole = np.full(size, float(absent))
        whole[self.requests] = column
        return whole


def _one_after_another(ready_s: Array, crossing_s: Array) -> Array:
    """Return when each of a line has crossed: each starts when ready and the link is free."""
    passed_s = np.cumsum(crossing_s)
    free_s = np.maximum.accumulate(ready_s - (passed_s - crossing_s))
    return np.asarray(free_s + passed_s)


class _Finished(Protocol):
    """What knows when its requests were done."""

    @property
    def finish_s(self) -> Array:
        """When each was, NaN where it never was."""
        ...


def _finish_s(
    size: int, first: tuple[_Stage, _Finished], second: tuple[_Stage, _Finished]
) -> Array:
    finish_s = first[0].spread(first[1].finish_s, np.nan, size)
    finish_s[second[0].requests] = second[1].finish_s
    return finish_s


def _merged(
    size: int,
    prefilling: int,
    first: tuple[_Stage, Replayed],
    second: tuple[_Stage, Replayed],
) -> Replayed:
    (stage, prefilled), (later, decoded) = first, second
    finish_s = _finish_s(size, first, second)
    failed = (stage.spread(prefilled.failed, 0, size) + later.spread(decoded.failed, 0, size)) > 0
    losses = stage.spread(prefilled.losses, 0, size) + later.spread(decoded.losses, 0, size)
    return Replayed(
        stage.spread(prefilled.replica.astype(np.float64), 0, size).astype(np.int32),
        stage.spread(prefilled.start_s, np.nan, size),
        stage.spread(prefilled.first_token_s, np.nan, size),
        finish_s,
        stage.spread(prefilled.prefill_j, 0, size) + later.spread(decoded.prefill_j, 0, size),
        later.spread(decoded.decode_j, 0, size),
        stage.spread(prefilled.switching_j, 0, size) + later.spread(decoded.switching_j, 0, size),
        stage.spread(prefilled.found_tokens, 0, size),
        np.isnan(finish_s) & ~failed,
        _both_metered(prefilling, prefilled.intervals, decoded.intervals),
        decoded.end_s,
        stage.spread(prefilled.wasted_j, 0, size) + later.spread(decoded.wasted_j, 0, size),
        losses.astype(np.int64),
        failed,
        together([prefilled.batches, decoded.batches]),
        _all_tokens([(stage, prefilled), (later, decoded)]),
    )


def _all_tokens(stages: Sequence[tuple[_Stage, Replayed]]) -> TokenTimes | None:
    """Return the tokens of all stages, by the numbers that requests have in all of the trace."""
    parts = [
        TokenTimes(stage.requests[run.tokens.request].astype(np.int32), run.tokens.time_s)
        for stage, run in stages
        if run.tokens is not None
    ]
    return TokenTimes.joined(parts) if parts else None


def _both_metered(prefilling: int, first: Intervals, second: Intervals) -> Intervals:
    """Return the intervals of both pools; the second's come after ``prefilling`` replicas."""
    columns = [(first.replica, *_columns(first)), (second.replica + prefilling, *_columns(second))]
    merged = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    order = np.argsort(merged[2] + merged[3], kind="stable")
    replica, state, start_s, duration_s, sm_mhz, power_w = (column[order] for column in merged)
    return Intervals(
        replica.astype(np.int32), state.astype(np.int8), start_s, duration_s, sm_mhz, power_w
    )


def _columns(met: Intervals) -> tuple[NDArray[np.int8], Array, Array, Array, Array]:
    return met.state, met.start_s, met.duration_s, met.sm_mhz, met.power_w
