"""The clock that one replica is set to: what a change costs, and when the next one may come.

In: clocks that steps ask for. Out: stalls on the meter, the joules that they take, the time after.
"""

from simulate.fleet import Fleet
from simulate.meter import Ledger, State

_SWITCHING = int(State.SWITCHING)


class Clock:
    """The requested clock of replica ``number``, from :attr:`Fleet.idle_mhz` on.

    ``set_mhz`` is None until the first clock is set, for free, where that is None; the next change
    may come at ``may_change_s``. ``power_before_w`` is the power of what runs or idles now: who
    runs anything tells.
    """

    def __init__(self, number: int, fleet: Fleet, ledger: Ledger) -> None:
        self.set_mhz = fleet.idle_mhz
        self.may_change_s = float("-inf")
        self.power_before_w = fleet.idle_power_w
        self._number = number
        self._fleet = fleet
        self._record = ledger.add

    def switch(
        self, wanted_mhz: float, held_mhz: float, power_after_w: float, at_s: float
    ) -> tuple[float, float]:
        """Change the clock: the joules that it takes, the time when it is done."""
        first, self.set_mhz = self.set_mhz is None, wanted_mhz
        if first:
            return 0.0, at_s
        stall_s = self._fleet.switch_latency_s
        watts = max(self.power_before_w, power_after_w)
        if stall_s > 0:
            self._record(self._number, _SWITCHING, at_s, stall_s, held_mhz, watts)
        self.may_change_s = at_s + stall_s + self._fleet.min_dwell_s
        return stall_s * watts, at_s + stall_s

    def rest(self, at_s: float, more_to_come: bool) -> float:
        """Fall idle, at the idle clock if that may be; return when the replica can serve again."""
        idle_mhz, idle_w = self._fleet.idle_mhz, self._fleet.idle_power_w
        if (
            idle_mhz is not None
            and idle_mhz != self.set_mhz
            and at_s >= self.may_change_s
            and more_to_come
        ):
            # Whoever arrives during the stall starts when the replica is free again: no event.
            _, at_s = self.switch(idle_mhz, idle_mhz, idle_w, at_s)
        self.power_before_w = idle_w
        return at_s
