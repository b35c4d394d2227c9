"""The course of one run: what its replicas share, and how arriving queries reach them.

In: arrivals, a fleet, replicas. Out: every query handed to one replica at its time, and a count of
what is done. One SimPy event per arrival.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import simpy
from numpy.typing import NDArray

from model.work import Array
from simulate.fleet import Fleet, Routing
from simulate.meter import Meter

View: TypeAlias = "memoryview[float]"
"""A column as the event loop reads it: indexing one costs a third of indexing an array."""

_ADVANCE_EVERY = 1000


class Takes(Protocol):
    """A replica, as far as routing knows it."""

    def take(self, query: int) -> None:
        """Serve ``query``, which arrives now, after those that wait."""
        ...


@dataclass
class Course:
    """What the replicas of one run share, and how far the run has got.

    ``outstanding`` holds, for each replica, how many queries it was given and has not finished;
    ``to_arrive`` and ``finished`` count queries of the whole run.
    """

    environment: simpy.Environment
    fleet: Fleet
    arrival_s: View
    advance: Callable[[int], None]
    meter: Meter
    outstanding: list[int]
    to_arrive: int
    finished: int = 0

    @staticmethod
    def of(arrival_s: Array, fleet: Fleet, advance: Callable[[int], None]) -> "Course":
        """Return a run that has not begun."""
        return Course(
            simpy.Environment(),
            fleet,
            view_of(arrival_s),
            advance,
            Meter(),
            [0] * fleet.replicas,
            arrival_s.size,
        )

    def finish(self, number: int) -> None:
        """Count one query as done by replica ``number``."""
        self.outstanding[number] -= 1
        self.finished += 1
        if self.finished % _ADVANCE_EVERY == 0 or self.finished == len(self.arrival_s):
            self.advance((self.finished - 1) % _ADVANCE_EVERY + 1)

    def run(self, replicas: Sequence[Takes]) -> NDArray[np.int32]:
        """Let every query arrive and be served; return which replica each went to, shape (n,)."""
        served_by = np.zeros(len(self.arrival_s), dtype=np.int32)
        self.environment.process(self._arrivals(replicas, served_by))
        self.environment.run()
        return served_by

    def _arrivals(
        self, replicas: Sequence[Takes], served_by: NDArray[np.int32]
    ) -> Generator[Any, Any, None]:
        environment, outstanding, chosen_of = self.environment, self.outstanding, served_by.data
        in_turn = self.fleet.routing is Routing.ROUND_ROBIN
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
            chosen = query % len(replicas) if in_turn else outstanding.index(min(outstanding))
            chosen_of[query] = chosen
            outstanding[chosen] += 1
            self.to_arrive -= 1
            replicas[chosen].take(query)


def view_of(column: Array) -> View:
    """Return a view of ``column``, shape (n,); writes to the view of a float array reach it."""
    return cast(View, np.ascontiguousarray(column, dtype=np.float64).data)
