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
from simulate.meter import Meter
from simulate.routing import Pool, Router

_ADVANCE_EVERY = 1000


class Replica(Protocol):
    """A replica, as far as a run knows it; ``free_s`` is when it is done with what it has begun."""

    free_s: float

    def take(self, query: int, at_s: float) -> None:
        """Serve ``query``, which is given to it at ``at_s``, after those that wait."""
        ...

    def idle_until(self, end_s: float) -> None:
        """Record that the replica has nothing to do until ``end_s``."""
        ...


class Course:
    """What the replicas of one run share, and how far the run has got.

    ``outstanding`` holds, for each replica, how many queries it was given and has not finished;
    ``to_arrive`` and ``finished`` count queries of the whole run.
    """

    def __init__(
        self, arrival_s: Array, replicas: int, advance: Callable[[int], None] = lambda _n: None
    ) -> None:
        self.environment = simpy.Environment()
        self.arrival_s: View = view_of(arrival_s)
        self.meter = Meter()
        self.outstanding = [0] * replicas
        self.to_arrive = arrival_s.size
        self.finished = 0
        self._advance = advance
        self._served_by = np.zeros(arrival_s.size, dtype=np.int32)
        self._chosen_of = self._served_by.data

    def finish(self, query: int, number: int) -> None:
        """Count ``query`` as done by replica ``number``."""
        self.outstanding[number] -= 1
        self._router.took(query, number)
        self.finished += 1
        if self.finished % _ADVANCE_EVERY == 0 or self.finished == len(self.arrival_s):
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
        chosen = self._router.choose(query, pool)
        self._chosen_of[query] = chosen
        self.outstanding[chosen] += 1
        self._router.gave(query, chosen)
        self._replicas[chosen].take(query, at_s)
