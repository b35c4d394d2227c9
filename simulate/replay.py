"""A run of a fleet: queries arrive, are routed to replicas of one or more groups, and are served.

In: arrival times and lengths, groups of replicas. Out: when each query started, got its first token
and finished, what it cost, and what every replica did. One SimPy event per arrival, and those of
the engines.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from model.work import Array
from simulate.columns import Columns, Views
from simulate.course import Course, Replica
from simulate.fleet import Fleet
from simulate.meter import Intervals
from simulate.routing import Marginal, Pool, router_of
from simulate.service import Lengths
from simulate.tokens import TokenLog, TokenTimes

T = TypeVar("T")


@dataclass(frozen=True)
class Batches:
    """What an engine that batches did besides: its steps, and every gap between two tokens.

    ``gap_tokens[i]`` tokens came ``gap_s[i]`` after the token before them, of the same attempt at a
    request; both of shape (gaps,). ``lost_tokens`` were made in attempts that were lost.
    """

    gap_s: Array
    gap_tokens: NDArray[np.int64]
    steps: int
    preemptions: int
    recomputed_tokens: int
    kv_blocks_peak: int
    kv_blocks_left: int
    lost_tokens: int = 0


@dataclass(frozen=True)
class Replayed:
    """What happened, as columns: one row a query, and the intervals of every replica.

    ``prefill_j`` and ``decode_j`` are what the phases drew and ``switching_j`` what the clock
    switches on their way did; switches to the idle clock belong to no query. ``found_tokens`` are
    those of its prompt that it found cached when it started. ``wasted_j`` is what attempts drew
    that were lost with replicas that broke, as often as ``losses`` says. A query that was
    ``rejected``, or ``failed`` since it was lost once too often, has NaN times. ``batches`` is None
    where nothing was batched, ``tokens`` where nobody asked for the times of all tokens.
    """

    replica: NDArray[np.int32]
    start_s: Array
    first_token_s: Array
    finish_s: Array
    prefill_j: Array
    decode_j: Array
    switching_j: Array
    found_tokens: Array
    rejected: NDArray[np.bool_]
    intervals: Intervals
    end_s: float
    wasted_j: Array
    losses: NDArray[np.int64]
    failed: NDArray[np.bool_]
    batches: Batches | None = None
    tokens: TokenTimes | None = None


class Served(Replica, Protocol):
    """A replica, as far as whoever reads its results knows it."""

    def batches(self) -> Batches | None:
        """Return what it did as an engine that batches; None where it is none."""
        ...


class Engine(Protocol):
    """How the replicas of one group serve.

    ``at_once`` is how many queries one of them serves together at most, as far as was measured.
    """

    @property
    def at_once(self) -> int:
        """Queries that a replica serves together at most."""
        ...

    def fits(self) -> NDArray[np.bool_]:
        """Return which queries a replica can hold at all, shape (n,)."""
        ...

    def marginal(self, fleet: Fleet) -> Marginal:
        """Return what tells the joules that a query adds to a replica."""
        ...

    def replicas(self, course: Course, fleet: Fleet, views: Views, first: int) -> Sequence[Served]:
        """Return the replicas of ``fleet``, numbered from ``first`` on."""
        ...


@dataclass(frozen=True)
class Group:
    """Replicas of one kind: how many, with what clocks at rest, and how they serve."""

    fleet: Fleet
    engine: Engine


def run(
    arrival_s: Array,
    lengths: Lengths,
    groups: Sequence[Group],
    advance: Callable[[int], None] = lambda _n: None,
    may: NDArray[np.bool_] | None = None,
    first_token_s: Array | None = None,
    tokens: bool = False,
) -> "Ran":
    """Serve every query on the replicas of ``groups``, and meter every replica.

    Routing happens at arrival, as the first group's ``routing`` says, the lowest-numbered of
    equals; replicas are numbered group by group. That takes time in proportion to the fleet for
    each query. What ends at the very moment of an arrival has ended when it is routed. A query goes
    to a group whose replicas can hold it, if there is one among those that it may go to.

    The run begins at 0 s and ends with the last query or stall; replicas rest until then.

    Args:
        arrival_s: arrivals in seconds, >= 0 and non-decreasing, shape (n,).
        lengths: of the queries.
        groups: the replicas, one group or more.
        advance: called with the number of queries finished since the last call.
        may: which groups may serve each query, at least one of them, shape (n, groups); None: any.
        first_token_s: when each query got its first token elsewhere, shape (n,), for engines that
            take queries with their prompts cached.
        tokens: whether to keep the time of every token, which engines that batch know.
    """
    columns = Columns.of(arrival_s.size, first_token_s)
    fleets = [_scaling_by(group) for group in groups]
    sizes = [fleet.replicas for fleet in fleets]
    course = Course(arrival_s, fleets, advance, TokenLog() if tokens else None)
    views = columns.views()
    firsts = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    replicas = [
        replica
        for group, first in zip(groups, firsts[:-1], strict=True)
        for replica in group.engine.replicas(course, group.fleet, views, first)
    ]
    pools, pool_of = _pools(groups, firsts, may)
    router = router_of(
        groups[0].fleet.routing,
        course.outstanding,
        lengths.prompt_tokens + lengths.output_tokens,
        lambda: _spread([group.engine.marginal(group.fleet) for group in groups], sizes),
        _spread([group.fleet.queue_limit or group.engine.at_once for group in groups], sizes),
        lambda number, at_s: replicas[number].rest.waking_j(replicas[number].free_s, at_s),
    )
    served_by = course.run(replicas, router, pools, pool_of)
    end_s = max(replica.free_s for replica in replicas)
    return Ran(course, columns, replicas, served_by, end_s)


def replay(
    arrival_s: Array,
    lengths: Lengths,
    groups: Sequence[Group],
    advance: Callable[[int], None] = lambda _n: None,
    may: NDArray[np.bool_] | None = None,
    first_token_s: Array | None = None,
    tokens: bool = False,
) -> Replayed:
    """Return what :func:`run` comes to, at its end."""
    ran = run(arrival_s, lengths, groups, advance, may, first_token_s, tokens)
    return ran.replayed(ran.end_s)


@dataclass(frozen=True)
class Ran:
    """A run whose last query is done; ``end_s`` is when the last replica comes to rest."""

    course: Course
    columns: Columns
    replicas: Sequence[Served]
    served_by: NDArray[np.int32]
    end_s: float

    @property
    def finish_s(self) -> Array:
        """When each query was done, shape (n,); NaN where it never was."""
        return self.columns.finish_s

    def replayed(self, end_s: float) -> Replayed:
        """Return what happened until ``end_s``, when all replicas have come to rest; call it once.

        Nothing changes any more but that who idles falls asleep.
        """
        course, columns = self.course, self.columns
        course.close(end_s)
        failed = np.zeros(self.served_by.size, dtype=np.bool_)
        failed[course.failed] = True
        return Replayed(
            self.served_by,
            columns.start_s,
            columns.first_token_s,
            columns.finish_s,
            columns.prefill_j,
            columns.decode_j,
            columns.switching_j,
            columns.found_tokens,
            np.isnan(columns.finish_s) & ~failed,
            course.meter.intervals(),
            end_s,
            columns.wasted_j,
            np.array(course.losses, dtype=np.int64),
            failed,
            together([replica.batches() for replica in self.replicas]),
            None if course.tokens is None else course.tokens.tokens(columns.start_s),
        )


def together(parts: Sequence[Batches | None]) -> Batches | None:
    """Return what engines did, as one; None where they do not batch."""
    found = [part for part in parts if part is not None]
    if not found:
        return None
    return Batches(
        np.concatenate([part.gap_s for part in found]),
        np.concatenate([part.gap_tokens for part in found]),
        sum(part.steps for part in found),
        sum(part.preemptions for part in found),
        sum(part.recomputed_tokens for part in found),
        max(part.kv_blocks_peak for part in found),
        sum(part.kv_blocks_left for part in found),
        sum(part.lost_tokens for part in found),
    )


def _pools(
    groups: Sequence[Group], firsts: Sequence[int], may: NDArray[np.bool_] | None
) -> tuple[list[Pool], NDArray[np.int64] | None]:
    """Return the sets of replicas that queries may go to, and which of them each may."""
    if len(groups) == 1:
        return [Pool(list(range(firsts[1])))], None
    fits = np.column_stack([group.engine.fits() for group in groups])
    allowed = np.ones(fits.shape, dtype=np.bool_) if may is None else may
    held = np.asarray(allowed & fits)
    chosen = np.where(held.any(axis=1, keepdims=True), held, allowed)
    sets, pool_of = np.unique(chosen, axis=0, return_inverse=True)
    pools = [
        Pool([n for g in np.flatnonzero(each).tolist() for n in range(firsts[g], firsts[g + 1])])
        for each in sets
    ]
    return pools, pool_of.reshape(-1)


def _scaling_by(group: Group) -> Fleet:
    """Return the group's fleet, whose scaling knows its target."""
    fleet = group.fleet
    if fleet.scaling is None or fleet.scaling.target is not None:
        return fleet
    return replace(fleet, scaling=replace(fleet.scaling, target=float(group.engine.at_once)))


def _spread(of_groups: Sequence[T], sizes: Sequence[int]) -> list[T]:
    return [each for each, size in zip(of_groups, sizes, strict=True) for _ in range(size)]
