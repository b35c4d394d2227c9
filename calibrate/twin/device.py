"""The twin as a GPU: clocks, governor, heat, energy counter and averaged power in virtual time.

In: a truth, a virtual clock, faults and a seed; :class:`calibrate.twin.TwinBench` says what runs.
Out: the calls of :class:`calibrate.gpu.Gpu`; the same history as columns of samples.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.gpu import (
    THROTTLE_IDLE,
    THROTTLE_POWER_CAP,
    Capabilities,
    Capability,
    ClockRange,
    GpuProcess,
    Identity,
    Kind,
    Modes,
    PowerLimit,
    Reading,
)
from calibrate.twin.clock import VirtualClock
from calibrate.twin.truth import Mixture, TwinTruth
from calibrate.window import Samples
from phasewatt.errors import UnsupportedGpu

FloatArray = NDArray[np.float64]

COUNTER_PERIOD_S = 0.1
"""The energy counter of an H100 moves every 100 ms."""

AVERAGING_S = 1.0


@dataclass(frozen=True)
class Faults:
    """What goes wrong on a twin.

    Attributes:
        lock_ignored: a lock succeeds and does not hold.
        lock_denied: a lock is refused for want of permission.
        no_counter: there is no energy counter.
        no_instant_power: there is no instantaneous power.
        lost_at_s: from this moment on every call fails as on a GPU that fell off the bus.
        sampler_dies_at_s: from this moment on the sampler is dead.
        other_pids: other processes that use the GPU.
        disturbed_share: share of the time in which something slows the host that launches steps.
    """

    lock_ignored: bool = False
    lock_denied: bool = False
    no_counter: bool = False
    no_instant_power: bool = False
    lost_at_s: float = math.inf
    sampler_dies_at_s: float = math.inf
    other_pids: tuple[int, ...] = ()
    disturbed_share: float = 0.0


class TwinGpu:
    """A :class:`calibrate.gpu.Gpu` that is simulated, and says so in its name and kind."""

    def __init__(
        self,
        truth: TwinTruth,
        clock: VirtualClock,
        rng: np.random.Generator,
        faults: Faults | None = None,
    ) -> None:
        self.truth = truth
        self.clock = clock
        self.faults = faults or Faults()
        self._locked_mhz: int | None = None
        self._load: Mixture | None = None
        self.renew(rng, truth.ambient_c + truth.warming_k_per_w * truth.idle_w)
        clock.follow(self._pass)

    def renew(self, rng: np.random.Generator, temperature_c: float) -> None:
        """Forget what was, and go on from now as warm as told; locks and faults stay."""
        self._rng = rng
        self._temperature_c = temperature_c
        truth, now_s = self.truth, self.clock.now_s()
        self._history = _History(now_s, truth.idle_w, truth.sm_idle_mhz, temperature_c)

    def identity(self) -> Identity:
        """Return who this twin is; its name contains "twin"."""
        self._check_alive()
        return Identity(
            kind=Kind.TWIN,
            name=f"twin {self.truth.name} (simulated, invented truth)",
            uuid=f"twin-{self.truth.name}",
            driver="twin",
            pci="twin",
            vbios=None,
            memory_bytes=self.truth.memory_bytes,
            compute_capability=self.truth.compute_capability,
        )

    def clock_range(self) -> ClockRange:
        """Return the clocks that can be asked for."""
        return ClockRange(self.truth.sm_clocks_mhz, (self.truth.memory_mhz,))

    def power_limit(self) -> PowerLimit:
        """Return the power cap and its constraints."""
        t = self.truth
        return PowerLimit(t.cap_w, t.cap_w, t.cap_minimum_w, t.cap_maximum_w)

    def modes(self) -> Modes:
        """Return persistence on and MIG off."""
        return Modes(persistence=True, mig=False)

    def capabilities(self) -> Capabilities:
        """Return what the faults leave."""
        has = Capability(True, "simulated")
        lacks = Capability(False, "taken away by a simulated fault")
        lock = lacks if self.faults.lock_denied else has
        return Capabilities(
            energy_counter=lacks if self.faults.no_counter else has,
            power_instant=lacks if self.faults.no_instant_power else has,
            power_average=has,
            throttle_reasons=has,
            process_list=has,
            lock_sm_clock=lock,
            lock_memory_clock=lock,
        )

    def processes(self) -> tuple[GpuProcess, ...]:
        """Return the other processes that the faults invent."""
        self._check_alive()
        return tuple(GpuProcess(pid, None) for pid in self.faults.other_pids)

    def read(self) -> Reading:
        """Return one look at the twin."""
        self._check_alive()
        one = self.samples_at(np.array([self.clock.now_s()]))
        return Reading(
            float(one.energy_j[0]),
            float(one.power_instant_w[0]),
            float(one.power_average_w[0]),
            float(one.sm_mhz[0]),
            float(one.memory_mhz[0]),
            float(one.temperature_c[0]),
            int(one.throttle[0]),
        )

    def lock_sm_clock(self, sm_mhz: int) -> None:
        """Lock the SM clock at the nearest supported clock, unless a fault ignores or denies it."""
        self._check_lockable()
        if not self.faults.lock_ignored:
            self._locked_mhz = self.clock_range().nearest_sm_mhz(sm_mhz)

    def reset_sm_clock(self) -> None:
        """Unlock the SM clock."""
        self._check_lockable()
        self._locked_mhz = None

    def lock_memory_clock(self, memory_mhz: int) -> None:
        """Accept the one memory clock that the twin has."""
        self._check_lockable()
        if memory_mhz != self.truth.memory_mhz:
            raise UnsupportedGpu(
                f"memory clock {memory_mhz} MHz is not supported; this twin has only "
                f"{self.truth.memory_mhz} MHz"
            )

    def reset_memory_clock(self) -> None:
        """Unlock the memory clock."""
        self._check_lockable()

    def close(self) -> None:
        """Nothing to let go of."""

    @property
    def locked_sm_mhz(self) -> int | None:
        """The SM clock that a lock truly holds now, for tests."""
        return self._locked_mhz

    @property
    def temperature_c(self) -> float:
        """The true temperature now."""
        return self._temperature_c

    @contextmanager
    def working(self, mixture: Mixture) -> Iterator[None]:
        """Keep the twin busy with ``mixture`` while time passes inside the block."""
        self._check_alive()
        before, self._load = self._load, mixture
        try:
            yield
        finally:
            self._load = before

    def settled_sm_mhz(self) -> float:
        """Return the SM clock that holds now under what runs."""
        self._check_alive()
        if self._load is None:
            return float(self._locked_mhz or self.truth.sm_idle_mhz)
        return self.truth.settle(self._load, self._locked_mhz, self._temperature_c)

    def samples_at(self, time_s: FloatArray) -> Samples:
        """Return what a look at the twin at each of ``time_s`` (n,) would have shown."""
        samples = self._history.samples_at(time_s)
        step_mhz, count = self.truth.sm_step_mhz, time_s.size
        # Between two steps of the clock the governor dithers, so that the mean is its target.
        dither = self._rng.random(count)
        offset = (samples["sm_mhz"] - self.truth.sm_min_mhz) / step_mhz
        sm_mhz = self.truth.sm_min_mhz + step_mhz * np.floor(offset + dither * (offset % 1 > 1e-9))
        missing = np.full(count, np.nan)
        return Samples(
            time_s=time_s,
            energy_j=missing if self.faults.no_counter else samples["energy_j"],
            power_instant_w=missing if self.faults.no_instant_power else samples["power_w"],
            power_average_w=samples["average_w"],
            sm_mhz=sm_mhz,
            memory_mhz=np.full(count, float(self.truth.memory_mhz)),
            temperature_c=np.round(samples["temperature_c"]),
            throttle=samples["throttle"].astype(np.int64),
        )

    def _pass(self, start_s: float, end_s: float) -> None:
        """Live through a span, in slices that end where the energy counter moves."""
        now_s = start_s
        while now_s < end_s:
            tick_s = (math.floor(now_s / COUNTER_PERIOD_S + 1e-9) + 1) * COUNTER_PERIOD_S
            slice_end_s = min(tick_s, end_s)
            self._slice(now_s, slice_end_s, moves=slice_end_s == tick_s)
            now_s = slice_end_s

    def _slice(self, start_s: float, end_s: float, moves: bool) -> None:
        truth = self.truth
        if self._load is None:
            sm_mhz = float(self._locked_mhz or truth.sm_idle_mhz)
            power_w, throttle = truth.idle_w, THROTTLE_IDLE
        else:
            top_mhz = float(self._locked_mhz or truth.sm_max_mhz)
            sm_mhz = truth.settle(self._load, top_mhz, self._temperature_c)
            power_w = truth.mixture_power_w(self._load, sm_mhz, self._temperature_c)
            throttle = THROTTLE_POWER_CAP if sm_mhz < top_mhz else 0
        power_w *= 1 + truth.power_noise * float(self._rng.standard_normal())
        target_c = truth.ambient_c + truth.warming_k_per_w * power_w
        kept = math.exp(-(end_s - start_s) / truth.warming_time_s)
        self._temperature_c = target_c + (self._temperature_c - target_c) * kept
        self._history.add(end_s, power_w, sm_mhz, self._temperature_c, throttle, moves)

    def _check_alive(self) -> None:
        if self.clock.now_s() >= self.faults.lost_at_s:
            raise UnsupportedGpu(
                "the GPU is lost (it fell off the bus): reset it or reboot, then run again"
            )

    def _check_lockable(self) -> None:
        self._check_alive()
        if self.faults.lock_denied:
            raise UnsupportedGpu(
                "no permission to lock clocks: run as root, or use --clocks steer or observe"
            )


class _History:
    """Slices of constant power and clock, and the moments at which the counter moved."""

    def __init__(self, start_s: float, power_w: float, sm_mhz: float, temperature_c: float) -> None:
        self.end_s = [start_s]
        self.energy_j = [0.0]
        self.power_w = [power_w]
        self.sm_mhz = [float(sm_mhz)]
        self.temperature_c = [temperature_c]
        self.throttle = [THROTTLE_IDLE]
        self.tick_s = [start_s]
        self.tick_energy_j = [0.0]
        self._before_w = power_w

    def add(
        self,
        end_s: float,
        power_w: float,
        sm_mhz: float,
        temperature_c: float,
        throttle: int,
        moves: bool,
    ) -> None:
        self.energy_j.append(self.energy_j[-1] + power_w * (end_s - self.end_s[-1]))
        self.end_s.append(end_s)
        self.power_w.append(power_w)
        self.sm_mhz.append(sm_mhz)
        self.temperature_c.append(temperature_c)
        self.throttle.append(throttle)
        if moves:
            self.tick_s.append(end_s)
            self.tick_energy_j.append(self.energy_j[-1])

    def samples_at(self, time_s: FloatArray) -> dict[str, FloatArray]:
        # Only the slices from one averaging span before the first sample on are looked at.
        since_s = time_s[0] if time_s.size else self.end_s[-1]
        first = max(bisect_left(self.end_s, since_s - AVERAGING_S) - 1, 0)
        end_s = np.array(self.end_s[first:])
        energy_j = np.array(self.energy_j[first:])
        index = np.minimum(np.searchsorted(end_s, time_s, side="left"), end_s.size - 1)
        first_tick = max(bisect_left(self.tick_s, since_s) - 1, 0)
        tick_s = np.array(self.tick_s[first_tick:])
        tick = np.searchsorted(tick_s, time_s, side="right") - 1
        now_j = np.interp(time_s, end_s, energy_j)
        # Before the twin was made it idled at its first power.
        early_s = np.minimum(time_s - AVERAGING_S - end_s[0], 0.0)
        then_j = np.interp(time_s - AVERAGING_S, end_s, energy_j) + self._before_w * early_s
        return {
            "energy_j": np.array(self.tick_energy_j[first_tick:])[tick],
            "power_w": np.array(self.power_w[first:])[index],
            "average_w": (now_j - then_j) / AVERAGING_S,
            "sm_mhz": np.array(self.sm_mhz[first:])[index],
            "temperature_c": np.array(self.temperature_c[first:])[index],
            "throttle": np.array(self.throttle[first:], dtype=np.float64)[index],
        }
