"""How an arriving query chooses among the replicas that may serve it.

In: a query, the replicas that are up, what each has outstanding. Out: one replica's number; of
equals the lowest.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simulate.fleet import Routing

Marginal = Callable[[int, int], float]
"""(query, queries outstanding) -> joules that the query adds to a replica that has so many."""

Waking = Callable[[int, float], float]
"""(replica, time in s) -> joules that it takes to wake it then, if it has nothing to do."""


@dataclass
class Pool:
    """The replicas that some queries may go to.

    ``up`` holds the numbers of those that take queries now, ascending; ``turn`` is the number whose
    turn it is.
    """

    up: list[int]
    turn: int = 0


class Router(Protocol):
    """Chooses replicas."""

    def choose(self, query: int, pool: Pool, at_s: float) -> int:
        """Return the number of the replica of ``pool`` that ``query`` goes to at ``at_s``."""
        ...

    def gave(self, query: int, number: int) -> None:
        """Take note that replica ``number`` has ``query`` now."""
        ...

    def took(self, query: int, number: int) -> None:
        """Take note that replica ``number`` has ``query`` no more."""
        ...


class InTurn:
    """One replica after another."""

    def choose(self, query: int, pool: Pool, at_s: float) -> int:
        """Return the replica whose turn it is, or the next one that is up."""
        del query, at_s
        place = bisect_left(pool.up, pool.turn)
        chosen = pool.up[place if place < len(pool.up) else 0]
        pool.turn = chosen + 1
        return chosen

    def gave(self, query: int, number: int) -> None:
        """Turns do not depend on it."""

    def took(self, query: int, number: int) -> None:
        """Turns do not depend on it."""


class FewestRequests:
    """The replica with the fewest queries outstanding: waiting or in service."""

    def __init__(self, outstanding: list[int]) -> None:
        self._outstanding = outstanding

    def choose(self, query: int, pool: Pool, at_s: float) -> int:
        """Return the replica with the fewest queries."""
        del query, at_s
        outstanding = self._outstanding
        if len(pool.up) == len(outstanding):
            return outstanding.index(min(outstanding))
        return min(pool.up, key=outstanding.__getitem__)

    def gave(self, query: int, number: int) -> None:
        """Whoever runs the queries counts them."""

    def took(self, query: int, number: int) -> None:
        """Whoever runs the queries counts them."""


class FewestTokens:
    """The replica with the fewest tokens outstanding: prompt and output of all its queries.

    A query counts with all its tokens until it is done.
    """

    def __init__(self, tokens: Sequence[int], replicas: int) -> None:
        self._tokens = tokens
        self._outstanding = [0] * replicas

    def choose(self, query: int, pool: Pool, at_s: float) -> int:
        """Return the replica with the fewest tokens."""
        del query, at_s
        return min(pool.up, key=self._outstanding.__getitem__)

    def gave(self, query: int, number: int) -> None:
        """Count the query's tokens."""
        self._outstanding[number] += self._tokens[query]

    def took(self, query: int, number: int) -> None:
        """Leave the query's tokens out again."""
        self._outstanding[number] -= self._tokens[query]


class LeastEnergy:
    """The replica to which a query adds the least energy, of those with room for it.

    Where none has fewer queries than its limit, the one with the fewest. ``marginal`` and ``limit``
    hold one entry a replica; ``waking`` gives the joules that it takes to wake one.
    """

    def __init__(
        self,
        marginal: Sequence[Marginal],
        limit: Sequence[int],
        waking: Waking,
        outstanding: list[int],
    ) -> None:
        self._marginal, self._limit, self._outstanding = marginal, limit, outstanding
        self._waking = waking

    def choose(self, query: int, pool: Pool, at_s: float) -> int:
        """Return the replica of the least energy; of equals, that with the fewest queries."""
        outstanding = self._outstanding
        room = [number for number in pool.up if outstanding[number] < self._limit[number]]
        if not room:
            return min(pool.up, key=outstanding.__getitem__)

        def added_j(number: int) -> float:
            others = outstanding[number]
            waking_j = 0.0 if others else self._waking(number, at_s)
            return self._marginal[number](query, others) + waking_j

        return min(room, key=lambda number: (added_j(number), outstanding[number]))

    def gave(self, query: int, number: int) -> None:
        """Whoever runs the queries counts them."""

    def took(self, query: int, number: int) -> None:
        """Whoever runs the queries counts them."""


def router_of(
    routing: Routing,
    outstanding: list[int],
    tokens: NDArray[np.int64],
    marginal: Callable[[], Sequence[Marginal]],
    limit: Sequence[int],
    waking: Waking,
) -> Router:
    """Return the router that ``routing`` names; ``outstanding`` is counted by whoever runs it.

    ``tokens`` are prompt and output of each query, shape (n,); ``marginal`` and ``limit`` are asked
    for one entry a replica.
    """
    if routing is Routing.ROUND_ROBIN:
        return InTurn()
    if routing is Routing.LEAST_OUTSTANDING:
        return FewestRequests(outstanding)
    if routing is Routing.LEAST_TOKENS:
        return FewestTokens(tokens.tolist(), len(outstanding))
    return LeastEnergy(marginal(), limit, waking, outstanding)
