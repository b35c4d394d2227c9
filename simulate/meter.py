"""The meter of a run: what every replica did, from when, for how long, at what clock and power.

In: intervals as the event loop passes through them. Out: columns whose power x duration is energy.
"""

from array import array
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from model.work import Array


class State(IntEnum):
    """What a replica is doing; its number is what ``power.parquet`` is built from."""

    IDLE = 0
    SWITCHING = 1
    PREFILL = 2
    DECODE = 3

    @property
    def label(self) -> str:
        """The word that reports use."""
        return self.name.lower()


@dataclass(frozen=True)
class Intervals:
    """State intervals of all replicas as columns of equal length, in the order of their ends."""

    replica: NDArray[np.int32]
    state: NDArray[np.int8]
    start_s: Array
    duration_s: Array
    sm_mhz: Array
    power_w: Array

    @property
    def energy_j(self) -> Array:
        """Energy of each interval in joules."""
        return self.power_w * self.duration_s


class Meter:
    """Collects intervals in flat buffers: 37 bytes each, no object per interval."""

    def __init__(self) -> None:
        self._replica = array("i")
        self._state = array("b")
        self._start_s = array("d")
        self._duration_s = array("d")
        self._sm_mhz = array("d")
        self._power_w = array("d")

    def add(
        self,
        replica: int,
        state: int,
        start_s: float,
        duration_s: float,
        sm_mhz: float,
        power_w: float,
    ) -> None:
        """Record that ``replica`` was in ``state`` from ``start_s`` for ``duration_s``."""
        self._replica.append(replica)
        self._state.append(state)
        self._start_s.append(start_s)
        self._duration_s.append(duration_s)
        self._sm_mhz.append(sm_mhz)
        self._power_w.append(power_w)

    def intervals(self) -> Intervals:
        """Return what was recorded, without copying it; the meter must not be used after."""
        return Intervals(
            np.frombuffer(self._replica, dtype=np.int32),
            np.frombuffer(self._state, dtype=np.int8),
            np.frombuffer(self._start_s, dtype=np.float64),
            np.frombuffer(self._duration_s, dtype=np.float64),
            np.frombuffer(self._sm_mhz, dtype=np.float64),
            np.frombuffer(self._power_w, dtype=np.float64),
        )
