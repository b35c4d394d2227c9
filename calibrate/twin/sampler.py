"""The twin's sampler: looks at the twin's history as the sampling process looks at a real GPU.

In: a twin and a sampling period. Out: :class:`calibrate.window.Samples` on the virtual clock.
"""

import numpy as np

from calibrate.sampler import SamplerDied
from calibrate.twin.device import TwinGpu
from calibrate.window import Samples

JITTER = 0.3
"""Largest lateness of a sample, in sampling periods (invented)."""


class TwinSampler:
    """A :class:`calibrate.sampler.Sampler` in virtual time."""

    def __init__(self, gpu: TwinGpu, rng: np.random.Generator, period_s: float = 0.01) -> None:
        self._gpu = gpu
        self._rng = rng
        self._period_s = period_s
        self._start_s = 0.0

    def renew(self, rng: np.random.Generator) -> None:
        """Go on with another source of chance, from now on."""
        self._rng = rng
        self.start()

    def start(self) -> None:
        """Sample from now on."""
        self._start_s = self._gpu.clock.now_s() + self._period_s * float(self._rng.random())

    def read(self, since_s: float) -> Samples:
        """Return the samples taken from ``since_s`` until now.

        Raises:
            SamplerDied: the fault that kills the sampler has come to pass.
        """
        now_s = self._gpu.clock.now_s()
        if now_s >= self._gpu.faults.sampler_dies_at_s:
            raise SamplerDied("the sampling process died; run again to resume")
        first = max(int(np.ceil((since_s - self._start_s) / self._period_s)), 0)
        last = int(np.floor((now_s - self._start_s) / self._period_s))
        due_s = self._start_s + self._period_s * np.arange(first, last + 1)
        time_s = due_s + JITTER * self._period_s * self._rng.random(due_s.size)
        return self._gpu.samples_at(time_s[time_s <= now_s])

    def stop(self) -> None:
        """Nothing to stop: a twin's samples are made when they are read."""
