"""The course of one run: what its replicas share, and how arriving queries reach them.

In: arrivals, groups of replicas. Out: every query handed to one replica at its time, and a count of
what is done. One SimPy event per arrival.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray

from model.work import Array
from simulate.columns import View, view_of
from simulate.fleet import Fleet
from simulate.meter import Ledger, Meter
from simulate.roster import Managed, Roster
from simulate.routing import Pool, Router
from simulate.tokens import TokenLog

_ADVANCE_EVERY = 32
"""Who watches may end the run here, and queries take up to 70 ms each under some governors."""


class Replica(Managed, Protocol):
    """A replica, as far as a run knows it; ``free_s`` is when it is done with what it has begun."""

    def take(self, query: int, at_s: float) -> None:
        """Serve ``query``, which is given to it at ``at_s``, after those that wait."""
        ...


class Course:
    """What the replicas of one run share, and how far the run has got.

    ``outstanding`` holds, for each replica, how many queries it was given and has not finished;
    ``to_arrive`` and ``finished`` count queries of the whole run, ``losses`` how often each was
    lost with a replica that broke. ``failed`` are those that were lost once too often. ``tokens``
    is where engines note every token, None where nobody asks.
    """

    def __init__(
        self,
        arrival_s: Array,
        fleets: Sequence[Fleet],
        advance: Callable[[int], None] = lambda _n: None,
        tokens: TokenLog | None = None,
    ) -> None:
        self.environment = simpy.Environment()
        self.arrival_s: View = view_of(arrival_s)
        self.meter = Meter()
        self.tokens = tokens
        self.ledgers = [
            Ledger(self.meter, breaks=fleet.faults is not None)
            for fleet in fleets
            for _ in range(fleet.replicas)
        ]
        self.outstanding = [0] * len(self.ledgers)
        self.losses = [0] * arrival_s.size
        self.failed: list[int] = []
        self.to_arrive = arrival_s.size
        self.finished = 0
        self._fleets = fleets
        self._advance = advance
        self._roster: Roster | None = None
        self._pending: list[int] = []
        self._served_by = np.zeros(arrival_s.size, dtype=np.int32)
        self._chosen_of = self._served_by.data

    @property
    def done(self) -> bool:
        """Whether every query is done: served, rejected or failed."""
        return self.finished == len(self.arrival_s)

    def finish(self, query: int, number: int, at_s: float | None) -> None:
        """Count ``query`` as done by replica ``number`` at ``at_s``; None: it was rejected."""
        self.outstanding[number] -= 1
        self._router.took(query, number)
        self._count_done()
        if self._roster is not None and at_s is not None and not self.outstanding[number]:
            self._roster.idle(number, at_s)

    def lost(self, query: int, number: int, at_s: float) -> None:
        """Route ``query`` anew, which replica ``number`` had when it broke, unless once too often.

        Retries are limited as the first group says.
        """
        self.outstanding[number] -= 1
        self._router.took(query, number)
        self.losses[query] += 1
        faults = self._fleets[0].faults
        limit = None if faults is None else faults.retries
        if limit is not None and self.losses[query] > limit:
            self.failed.append(query)
            self._count_done()
        else:
            self._route(query, at_s)

    def route_pending(self, at_s: float) -> None:
        """Route the queries that found no replica up."""
        pending, self._pending = self._pending, []
        for query in pending:
            self._route(query, at_s)

    def close(self, end_s: float) -> None:
        """Let all replicas rest until ``end_s``, now that every query is done."""
        if self._roster is not None:
            self._roster.close()
        for replica in self._replicas:
            replica.idle_until(end_s)

    def _count_done(self) -> None:
        self.finished += 1
        if self.finished % _ADVANCE_EVERY == 0 or self.done:
            self._advance((self.finished - 1) % _ADVANCE_EVERY + 1)

    def run(
        self,
        replicas: Sequence[Replica],
        router: Router,
        pools: Sequence[Pool],
        pool_of: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int32]:
        """Let every query arrive and be served; return which replica each went to, shape (n,).

        ``pool_of`` says which of ``pools`` each query may go to, shape (n,); None: the first.
        """
        self._replicas, self._router = replicas, router
        self._pools = pools
        self._pool_of = None if pool_of is None else pool_of.tolist()
        if any(fleet.scaling or fleet.faults for fleet in self._fleets):
            self._roster = Roster(self, self._fleets, replicas, self.ledgers, pools)
            self._roster.begin()
        self.environment.process(self._arrivals())
        self.environment.run()
        return self._served_by

    def _arrivals(self) -> Generator[Any, Any, None]:
        environment = self.environment
        before_s = -1.0
        for query, at_s in enumerate(self.arrival_s):
            if at_s != before_s:
                # What arrives at one moment is routed before anything that this sets off.
                wait_s = at_s - environment.now
                if wait_s > 0:
                    yield environment.timeout(wait_s)
                while environment.peek() <= environment.now:
                    yield environment.timeout(0)
                before_s = at_s
            self.to_arrive -= 1
            self._route(query, at_s)

    def _route(self, query: int, at_s: float) -> None:
        pool = self._pools[0 if self._pool_of is None else self._pool_of[query]]
        if not pool.up:
            self._pending.append(query)
            return
        chosen = self._router.choose(query, pool, at_s)
        self._chosen_of[query] = chosen
        self.outstanding[chosen] += 1
        self._router.gave(query, chosen)
        self._replicas[chosen].take(query, at_s)
        if self._roster is not None:
            self._roster.given(chosen, at_s)
