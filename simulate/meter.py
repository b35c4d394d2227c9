"""The meter of a run: what every replica did, from when, for how long, at what clock and power.

In: intervals as the event loop passes through them. Out: columns whose power x duration is energy.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from model.work import Array


class State(IntEnum):
    """What a replica is doing; its number is what ``power.parquet`` is built from."""

    IDLE = 0
    SWITCHING = 1
    PREFILL = 2
    DECODE = 3
    MIXED = 4
    SLEEPING = 5
    OFF = 6
    STARTING = 7
    FAILED = 8

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

    def of(self, chosen: NDArray[np.bool_]) -> "Intervals":
        """Return the intervals that are ``chosen``, a mask of their shape."""
        return Intervals(*(column[chosen] for column in vars(self).values()))

    @property
    def energy_j(self) -> Array:
        """Energy of each interval in joules."""
        return self.power_w * self.duration_s


class Meter:
    """Collects intervals as packed records: 40 bytes each, no object per interval."""

    def __init__(self) -> None:
        self._records = bytearray()

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
        self._records += _pack(replica, state, start_s, duration_s, sm_mhz, power_w)

    def intervals(self) -> Intervals:
        """Return what was recorded; the meter must not be used after."""
        records = np.frombuffer(self._records, dtype=_RECORD)
        return Intervals(
            records["replica"],
            records["state"].astype(np.int8),
            records["start_s"],
            records["duration_s"],
            records["sm_mhz"],
            records["power_w"],
        )


class Ledger:
    """What one replica writes on the meter.

    Where ``breaks``, what is written ahead and lies beyond ``until_s``, when the replica breaks,
    never happens; ``spent_j`` is then the energy written since it was set to 0.
    """

    def __init__(self, meter: Meter, breaks: bool) -> None:
        self.until_s = np.inf
        self.spent_j = 0.0
        self._meter = meter
        self.add = self._add_until if breaks else meter.add

    def _add_until(
        self,
        replica: int,
        state: int,
        start_s: float,
        duration_s: float,
        sm_mhz: float,
        power_w: float,
    ) -> None:
        duration_s = min(duration_s, self.until_s - start_s)
        if duration_s > 0:
            self._meter.add(replica, state, start_s, duration_s, sm_mhz, power_w)
            self.spent_j += duration_s * power_w


SERVING = frozenset({State.SWITCHING, State.PREFILL, State.DECODE, State.MIXED})
"""The states in which a replica has something to do."""

_pack = Struct("=iidddd").pack
_RECORD = np.dtype(
    [
        ("replica", np.int32),
        ("state", np.int32),
        ("start_s", np.float64),
        ("duration_s", np.float64),
        ("sm_mhz", np.float64),
        ("power_w", np.float64),
    ]
)
