"""Which replicas of a run are up, and what starts, stops and breaks them.

In: fleets that scale or fail. Out: replicas that join and leave the pools that queries choose from;
queries of broken replicas, which are routed anew. One SimPy event for each change.
"""

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import simpy

from simulate.fleet import Fleet
from simulate.meter import Ledger, State
from simulate.rest import Rest
from simulate.routing import Pool


class Managed(Protocol):
    """A replica that can be started, stopped and broken; ``free_s`` is when it is done."""

    free_s: float
    rest: Rest

    def idle_until(self, end_s: float) -> None:
        """Record that the replica rests until ``end_s``."""
        ...

    def fail(self, at_s: float) -> list[int]:
        """Break at ``at_s``; return the queries that are lost with it, in ascending order."""
        ...


class Run(Protocol):
    """The run that replicas belong to, as far as the roster knows it."""

    environment: simpy.Environment
    outstanding: list[int]

    @property
    def done(self) -> bool:
        """Whether every query is done."""
        ...

    def lost(self, query: int, number: int, at_s: float) -> None:
        """Route ``query`` anew, which replica ``number`` had when it broke."""
        ...

    def route_pending(self, at_s: float) -> None:
        """Route the queries that found no replica up."""
        ...


@dataclass
class _Member:
    """One replica: what it is in, since when it has had nothing to do, and when it last started.

    ``state`` is IDLE for a replica that is up, whatever it serves.
    """

    group: int
    replica: Managed
    ledger: Ledger
    rng: np.random.Generator
    state: State = State.IDLE
    idle_since_s: float = 0.0
    ready_s: float = 0.0
    was_off: bool = False


class Roster:
    """The replicas of a run, group by group."""

    def __init__(
        self,
        run: Run,
        fleets: Sequence[Fleet],
        replicas: Sequence[Managed],
        ledgers: Sequence[Ledger],
        pools: Sequence[Pool],
    ) -> None:
        self._run, self._fleets, self._pools = run, fleets, pools
        self._members: list[_Member] = []
        self._of_group: list[list[int]] = []
        for group, fleet in enumerate(fleets):
            first = len(self._members)
            numbers = list(range(first, first + fleet.replicas))
            self._of_group.append(numbers)
            for number in numbers:
                faults = fleet.faults
                key = [0, 0, 0] if faults is None else [faults.seed, faults.stream, number]
                self._members.append(
                    _Member(group, replicas[number], ledgers[number], np.random.default_rng(key))
                )
        self._pools_of = [
            [pool for pool in pools if number in pool.up] for number in range(len(self._members))
        ]

    def begin(self) -> None:
        """Turn off what is not needed at first, and let replicas that break do so."""
        for numbers, fleet in zip(self._of_group, self._fleets, strict=True):
            if fleet.scaling is not None:
                for number in numbers[fleet.scaling.least :]:
                    self._leave(number, State.OFF)
        for number in range(len(self._members)):
            self._await_failure(number, 0.0)

    def close(self) -> None:
        """Let those break that do before they come to rest, though no query is left."""
        for member in self._members:
            fails_s = member.ledger.until_s
            if fails_s < member.replica.free_s:
                member.replica.fail(fails_s)
                member.replica.rest.state = State.FAILED
            member.ledger.until_s = np.inf

    def given(self, number: int, at_s: float) -> None:
        """Start replicas of the group that has just been given a query, if it needs them."""
        self._scale(self._members[number].group, at_s)

    def idle(self, number: int, at_s: float) -> None:
        """Take note that replica ``number`` has nothing to do; stop it when that lasts."""
        member = self._members[number]
        scaling = self._fleets[member.group].scaling
        if scaling is not None:
            member.idle_since_s = at_s
            off_s = at_s + scaling.idle_s
            self._at(off_s, lambda: self._stop(number, at_s, off_s))

    def _scale(self, group: int, at_s: float) -> None:
        scaling = self._fleets[group].scaling
        if scaling is None:
            return
        assert scaling.target is not None
        numbers = self._of_group[group]
        load = sum(self._run.outstanding[number] for number in numbers)
        running = self._running(group)
        for number in numbers:
            if running >= scaling.least and load <= scaling.target * running:
                return
            if self._members[number].state is State.OFF:
                self._start(number, at_s, scaling.start_up_s)
                running += 1

    def _running(self, group: int) -> int:
        states = [self._members[number].state for number in self._of_group[group]]
        return states.count(State.IDLE) + states.count(State.STARTING)

    def _start(self, number: int, at_s: float, start_up_s: float) -> None:
        member = self._members[number]
        member.replica.idle_until(at_s)
        member.state = member.replica.rest.state = State.STARTING
        ready_s = member.ready_s = at_s + start_up_s
        self._at(ready_s, lambda: self._started(number, ready_s))

    def _started(self, number: int, ready_s: float) -> None:
        member = self._members[number]
        if member.state is State.STARTING and member.ready_s == ready_s:
            self._join(number, ready_s)

    def _stop(self, number: int, since_s: float, off_s: float) -> None:
        member = self._members[number]
        scaling = self._fleets[member.group].scaling
        assert scaling is not None
        if (
            member.state is State.IDLE
            and member.idle_since_s == since_s
            and not self._run.outstanding[number]
            and self._running(member.group) > scaling.least
        ):
            self._leave(number, State.OFF, off_s)

    def _await_failure(self, number: int, from_s: float) -> None:
        member = self._members[number]
        faults = self._fleets[member.group].faults
        if faults is None:
            return
        fails_s = from_s + float(member.rng.exponential(faults.mtbf_s))
        repaired_s = fails_s + float(member.rng.exponential(faults.mttr_s))
        member.ledger.until_s = fails_s
        self._at(fails_s, lambda: self._fail(number, fails_s, repaired_s))

    def _fail(self, number: int, at_s: float, repaired_s: float) -> None:
        member = self._members[number]
        lost = member.replica.fail(at_s)
        member.ledger.until_s = np.inf
        member.was_off = member.state is State.OFF
        self._leave(number, State.FAILED)
        self._at(repaired_s, lambda: self._repaired(number, repaired_s))
        for query in lost:
            self._run.lost(query, number, at_s)
        self._scale(member.group, at_s)

    def _repaired(self, number: int, at_s: float) -> None:
        member = self._members[number]
        member.replica.idle_until(at_s)
        self._await_failure(number, at_s)
        if member.was_off:
            member.state = member.replica.rest.state = State.OFF
            self._scale(member.group, at_s)
        else:
            self._join(number, at_s)

    def _join(self, number: int, at_s: float) -> None:
        member = self._members[number]
        member.replica.idle_until(at_s)
        member.state = member.replica.rest.state = State.IDLE
        for pool in self._pools_of[number]:
            insort(pool.up, number)
        self._run.route_pending(at_s)
        if not self._run.outstanding[number]:
            self.idle(number, at_s)

    def _leave(self, number: int, state: State, at_s: float = 0.0) -> None:
        member = self._members[number]
        member.replica.idle_until(at_s)
        if member.state is State.IDLE:
            for pool in self._pools_of[number]:
                pool.up.remove(number)
        member.state = member.replica.rest.state = state

    def _at(self, moment_s: float, act: Callable[[], None]) -> None:
        environment = self._run.environment
        event = environment.timeout(max(moment_s - environment.now, 0.0))
        event.callbacks.append(lambda _event: None if self._run.done else act())
