"""What a replica does while it serves nothing: idles, sleeps, is off, starts, or is broken.

In: a fleet's powers and times. Out: intervals on the meter, and when a replica that is called can
serve.
"""

import numpy as np

from simulate.fleet import Fleet
from simulate.meter import Ledger, State


class Rest:
    """The rest of replica ``number``; ``state`` is what it is in, asleep counting as idle."""

    def __init__(self, number: int, fleet: Fleet, ledger: Ledger) -> None:
        self.state = State.IDLE
        self._number = number
        self._sleep = fleet.sleep
        self._powers_w = {
            State.IDLE: fleet.idle_power_w,
            # Weights are read and caches set up: what keeps a GPU busy then is not counted.
            State.STARTING: fleet.idle_power_w,
            State.SLEEPING: 0.0 if fleet.sleep is None else fleet.sleep.power_w or 0.0,
            State.OFF: 0.0,
            State.FAILED: 0.0,
        }
        self._record = ledger.add

    def until(self, from_s: float, end_s: float) -> float:
        """Record that the rest goes on from ``from_s`` to ``end_s``; return the later of both."""
        if end_s <= from_s:
            return from_s
        if self._sleep is not None and self.state is State.IDLE:
            asleep_s = from_s + self._sleep.after_s
            if asleep_s < end_s:
                if asleep_s > from_s:
                    self._write(State.IDLE, from_s, asleep_s)
                self._write(State.SLEEPING, asleep_s, end_s)
                return end_s
        self._write(self.state, from_s, end_s)
        return end_s

    def ready_s(self, from_s: float, called_s: float) -> float:
        """Return when a replica at rest since ``from_s`` can serve what comes at ``called_s``."""
        if self._sleep is not None and from_s + self._sleep.after_s < called_s:
            return called_s + self._sleep.wake_s
        return max(from_s, called_s)

    def waking_j(self, from_s: float, called_s: float) -> float:
        """Return what it takes, beyond sleeping on, to wake and fall asleep again; 0 if awake."""
        sleep = self._sleep
        if sleep is None or from_s + sleep.after_s >= called_s:
            return 0.0
        return (sleep.wake_s + sleep.after_s) * (
            self._powers_w[State.IDLE] - self._powers_w[State.SLEEPING]
        )

    def wake(self, from_s: float, called_s: float) -> float:
        """Record the rest until then; return :meth:`ready_s`."""
        ready_s = self.ready_s(from_s, called_s)
        self.until(from_s, called_s)
        if ready_s > max(from_s, called_s):
            self._write(State.STARTING, called_s, ready_s)
        return ready_s

    def _write(self, state: State, from_s: float, end_s: float) -> None:
        self._record(
            self._number, int(state), from_s, end_s - from_s, np.nan, self._powers_w[state]
        )
