"""The twin as a bench: steps take the time that the truth says, while the twin heats and counts.

In: a twin and a function from a point to what its step costs. Out: noisy step times in virtual
time, as :class:`calibrate.bench.Bench` gives them.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from calibrate.bench import Engine, MixedTimes, OutOfMemory, Point, StepTimes
from calibrate.twin.device import COUNTER_PERIOD_S, TwinGpu
from calibrate.twin.truth import GEMM, Mixture, StepCost

FloatArray = NDArray[np.float64]


class TwinBench:
    """A :class:`calibrate.bench.Bench` whose steps only pass virtual time."""

    def __init__(
        self, gpu: TwinGpu, cost: Callable[[Point], StepCost], rng: np.random.Generator
    ) -> None:
        self._gpu = gpu
        self._cost = cost
        self._rng = rng
        self._step: StepCost | None = None
        self._disturbed = False

    def renew(self, rng: np.random.Generator) -> None:
        """Go on with another source of chance."""
        self._rng = rng

    def prepare(self, point: Point) -> None:
        """Look up what the point's step costs, and check that its weights and cache fit."""
        step = self._cost(point)
        if step.weight_bytes + step.kv_bytes > self._gpu.truth.memory_bytes:
            raise OutOfMemory(point)
        self._step = step

    def run(self, steps: int) -> StepTimes:
        """Run the prepared step ``steps`` times at whatever clock the twin settles."""
        step = self._prepared()
        step_time_s, _, _ = self._run([(step, 1.0)], steps)
        return StepTimes(step_time_s)

    def run_mixed(self, steps: int, gemms_per_step: int) -> MixedTimes:
        """Run ``gemms_per_step`` GEMMs before each of ``steps`` steps."""
        step = self._prepared()
        mixture: Mixture = [(step, 1.0)]
        if gemms_per_step:
            mixture = [*mixture, (GEMM, float(gemms_per_step))]
        step_time_s, gemm_time_s, sm_mhz = self._run(mixture, steps)
        before, after = (sm_mhz * self._noise(steps, CLOCK_READ_NOISE) for _ in range(2))
        return MixedTimes(step_time_s, gemm_time_s, before, after)

    def release(self) -> None:
        """Forget the prepared step."""
        self._step = None

    def versions(self) -> dict[str, str]:
        """Return nothing: a twin computes nothing."""
        return {}

    def _prepared(self) -> StepCost:
        if self._step is None:
            raise RuntimeError("run before prepare")
        return self._step

    def _run(self, mixture: Mixture, steps: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return step times in s, times of all else per step in s, and SM clocks, (steps,)."""
        truth = self._gpu.truth
        run_noise = float(self._noise(1, truth.run_noise)[0])
        step_s, other_s, sm_mhz = np.empty(steps), np.zeros(steps), np.empty(steps)
        done = 0
        with self._gpu.working(mixture):
            while done < steps:
                clock_mhz = self._gpu.settled_sm_mhz()
                each_s = [n * truth.true_time_s(step, clock_mhz) * run_noise for step, n in mixture]
                # A batch of steps no longer than a period of the counter: heat moves the clock.
                count = min(max(int(COUNTER_PERIOD_S / sum(each_s)), 1), steps - done)
                batch = slice(done, done + count)
                step_s[batch] = each_s[0] * self._noise(count, truth.step_noise)
                if len(each_s) > 1:
                    other_s[batch] = sum(each_s[1:]) * self._noise(count, truth.step_noise)
                sm_mhz[batch] = clock_mhz
                self._gpu.clock.sleep_s(float(step_s[batch].sum() + other_s[batch].sum()))
                waiting_s = self._waiting_s(float(step_s[batch].sum()))
                if waiting_s:
                    with self._gpu.working(_WAITING):
                        self._gpu.clock.sleep_s(count * waiting_s)
                    step_s[batch] += waiting_s
                done += count
        return step_s, other_s, sm_mhz

    def _waiting_s(self, lasted_s: float) -> float:
        """Return by how much each step that the host launches is longer, after so many seconds."""
        step, share = self._prepared(), self._gpu.faults.disturbed_share
        if step.engine is not Engine.EAGER or not share:
            return 0.0
        if self._rng.random() > np.exp(-lasted_s / SPELL_S):
            self._disturbed = bool(self._rng.random() < share)
        return DISTURBED_SLOWER * self._gpu.truth.launch_time_s(step) * self._disturbed

    def _noise(self, count: int, relative: float) -> FloatArray:
        return np.exp(relative * self._rng.standard_normal(count))


SPELL_S = 0.3
DISTURBED_SLOWER = 0.7
"""How long a host stays as it is on average, and by which share it is slower while disturbed; of
the size that virtual machines with an H100 showed."""

_WAITING: Mixture = [(StepCost(0.0, 0.0, 0.0, 1, Engine.EAGER), 1.0)]
"""A GPU that waits for its host: nothing but launches, which keep neither memory nor products
busy."""

CLOCK_READ_NOISE = 0.002
"""Relative scatter of one reading of the clock by a spinning kernel (invented)."""
