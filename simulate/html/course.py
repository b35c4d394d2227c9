"""Power and clock of a fleet over time, from a file of state intervals that may be large.

In: ``power.parquet``, read a part at a time. Out: for each policy the mean power of the fleet in
equal bins, and the mean SM clock of the replicas that have one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.work import Array
from simulate.html.tables import parts_of

_LEAST_SHARE = 1e-6
"""Of a bin, less is what rounding leaves of nothing."""


@dataclass(frozen=True)
class Course:
    """One policy's power over time: bins of ``width_s`` from 0 s on, each of shape (bins,).

    ``sm_mhz`` is the mean over the time in which replicas have a clock, NaN where none has; the
    last bin's power is a mean over what of it the run reaches.
    """

    width_s: float
    power_w: Array
    sm_mhz: Array
    energy_j: float

    @property
    def middle_s(self) -> Array:
        """The middle of each bin."""
        return np.asarray((np.arange(self.power_w.size) + 0.5) * self.width_s)


class _Sums:
    """Energies, times and clocks of the bins of one policy, as its intervals pass by."""

    def __init__(self, end_s: float, width_s: float) -> None:
        self.end_s, self.width_s = end_s, width_s
        self.bins = max(int(np.ceil(end_s / width_s - 1e-9)), 1)
        self.joules, self.clocked_s, self.cycles = np.zeros((3, self.bins))
        self.energy_j = 0.0

    def add(self, start_s: Array, duration_s: Array, power_w: Array, sm_mhz: Array) -> None:
        clocked = ~np.isnan(sm_mhz)
        self.energy_j += float(np.dot(power_w, duration_s))
        first, last = self._bin_of(start_s), self._bin_of(start_s + duration_s)
        self.joules += self._spread(first, last, start_s, duration_s, power_w)
        self.clocked_s += self._spread(first, last, start_s, duration_s, clocked.astype(float))
        self.cycles += self._spread(
            *(first, last, start_s, duration_s), np.where(clocked, sm_mhz, 0.0)
        )

    def course(self) -> Course:
        reached_s = np.full(self.bins, self.width_s)
        reached_s[-1] = self.end_s - (self.bins - 1) * self.width_s
        seen = self.clocked_s > _LEAST_SHARE * self.width_s
        sm_mhz = np.full(self.bins, np.nan)
        sm_mhz[seen] = self.cycles[seen] / self.clocked_s[seen]
        power_w = self.joules / reached_s if self.end_s > 0 else self.joules
        return Course(self.width_s, power_w, sm_mhz, self.energy_j)

    def _bin_of(self, time_s: Array) -> NDArray[np.int64]:
        return np.clip((time_s / self.width_s).astype(np.int64), 0, self.bins - 1)

    def _spread(
        self,
        first: NDArray[np.int64],
        last: NDArray[np.int64],
        start_s: Array,
        duration_s: Array,
        rate: Array,
    ) -> Array:
        """Return what intervals at ``rate`` add up to in each bin.

        A rate that begins in a bin counts there from its moment on, and whole in all later bins;
        one that ends is taken off likewise.
        """
        found = np.zeros(self.bins)
        for sign, index, moment_s in ((1.0, first, start_s), (-1.0, last, start_s + duration_s)):
            rest_s = (index + 1) * self.width_s - moment_s
            begun = np.bincount(index, weights=rate, minlength=self.bins)
            earlier = np.append(0.0, np.cumsum(begun)[:-1])
            part = np.bincount(index, weights=rate * rest_s, minlength=self.bins)
            found += sign * (part + earlier * self.width_s)
        return found


def read_courses(
    path: Path, policies: Sequence[str], ends_s: Sequence[float], width_s: float
) -> list[Course]:
    """Return the courses of ``policies``, in their order; ``ends_s`` says when each run ends.

    Memory does not grow with the file.
    """
    sums = {policy: _Sums(end_s, width_s) for policy, end_s in zip(policies, ends_s, strict=True)}
    for policy, columns in parts_of(path, ("start_s", "duration_s", "power_w", "sm_mhz")):
        sums[policy].add(*columns)
    return [found.course() for found in sums.values()]


def bin_width_s(end_s: float, most_bins: int) -> float:
    """Return how wide bins are: 1 s, or more where that would make more than ``most_bins``.

    Runs of less than a minute have up to 60 bins. All widths are 1, 2 or 5 times a power of ten.
    """
    widths = [factor * 10.0**power for power in range(-6, 10) for factor in (1, 2, 5)]
    bins = most_bins if end_s >= _SHORT_S else min(_BINS_OF_SHORT, most_bins)
    narrowest = next((width for width in widths if end_s / width <= bins), widths[-1])
    return max(narrowest, 1.0) if end_s >= _SHORT_S else narrowest


_SHORT_S = 60.0
_BINS_OF_SHORT = 60
