"""What is true of a twin: exact time, power and clock of every step, to be recovered by fits.

In: a :class:`StepCost` and an SM clock. Out: seconds, watts and the clock that the power cap
allows. Every number here is invented, shaped like published curves, and measured on no GPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import overload

import numpy as np
import scipy
from numpy.typing import NDArray

from calibrate.bench import Engine
from phasewatt.errors import UnsupportedGpu

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class StepCost:
    """What one step asks of the GPU.

    Attributes:
        weight_bytes: bytes of weights and activations moved.
        kv_bytes: bytes of KV cache moved.
        flops: floating-point operations.
        launches: kernels launched (eager) or replayed (graph).
        engine: how they are launched.
    """

    weight_bytes: float
    kv_bytes: float
    flops: float
    launches: float
    engine: Engine


Mixture = Sequence[tuple[StepCost, float]]
"""Steps that alternate, each with how often it runs per round."""

GEMM_SIDE = 8192

GEMM = StepCost(3 * 2 * GEMM_SIDE**2, 0.0, 2 * GEMM_SIDE**3, 1, Engine.CUDA_GRAPH)
"""The 8192-cube two-byte matrix product that steers the clock."""


@dataclass(frozen=True)
class TwinTruth:
    """The coefficients of a twin; x below is the SM clock over ``sm_max_mhz``.

    ``T = launches * launch_s + (T_memory^p + T_compute^p)^(1/p)``, where each of weights, KV cache
    and flops takes ``amount / rate * (1 - share + share / x)`` and ``share`` is its clock share.

    ``P = P0 + c x V^2 + leakage``, with V = 1 below the knee and ``1 + slope (x - knee)`` above.
    P0 and c grow with the shares of a step's time at x = 1 that memory and compute take, so that
    both are constants of a step. Leakage is ``leakage_w_per_k (temperature - reference)``.
    """

    name: str
    memory_bytes: int
    compute_capability: tuple[int, int]
    sm_min_mhz: int
    sm_max_mhz: int
    sm_step_mhz: int
    sm_idle_mhz: int
    memory_mhz: int
    eager_launch_s: float
    graph_launch_s: float
    weight_bytes_per_s: float
    kv_bytes_per_s: float
    flops_per_s: float
    weight_clock_share: float
    kv_clock_share: float
    compute_clock_share: float
    overlap: float
    idle_w: float
    static_w: float
    memory_static_w: float
    memory_dynamic_w: float
    compute_dynamic_w: float
    knee: float
    slope: float
    cap_w: float
    cap_minimum_w: float
    cap_maximum_w: float
    ambient_c: float
    warming_k_per_w: float
    warming_time_s: float
    leakage_w_per_k: float
    reference_c: float
    step_noise: float
    run_noise: float
    power_noise: float

    @property
    def sm_clocks_mhz(self) -> tuple[int, ...]:
        """The SM clocks that can be asked for, ascending."""
        return tuple(range(self.sm_min_mhz, self.sm_max_mhz + 1, self.sm_step_mhz))

    def launch_time_s(self, step: StepCost) -> float:
        """Return the part of the step's time that no clock of the GPU changes, in s."""
        each_s = self.eager_launch_s if step.engine is Engine.EAGER else self.graph_launch_s
        return step.launches * each_s

    @overload
    def true_time_s(self, step: StepCost, sm_mhz: float) -> float: ...
    @overload
    def true_time_s(self, step: StepCost, sm_mhz: FloatArray) -> FloatArray: ...
    def true_time_s(self, step: StepCost, sm_mhz: float | FloatArray) -> float | FloatArray:
        """Return the exact time of one step in s, same shape as ``sm_mhz``."""
        slow = self.sm_max_mhz / sm_mhz - 1
        launch_s, memory_s, waiting_s, compute_s, computing_s = self._time_parts_s(step)
        p = self.overlap
        body_s = (memory_s + waiting_s * slow) ** p + (compute_s + computing_s * slow) ** p
        return launch_s + body_s ** (1 / p)

    @overload
    def true_power_w(
        self, step: StepCost, sm_mhz: float, temperature_c: float | None = None
    ) -> float: ...
    @overload
    def true_power_w(
        self, step: StepCost, sm_mhz: FloatArray, temperature_c: float | None = None
    ) -> FloatArray: ...
    def true_power_w(
        self, step: StepCost, sm_mhz: float | FloatArray, temperature_c: float | None = None
    ) -> float | FloatArray:
        """Return the exact power while the step repeats, in W, were there no power cap.

        ``temperature_c`` defaults to the reference temperature, at which leakage is nought.
        """
        constant_w, dynamic_w = self.power_coefficients_w(step)
        leakage_w = 0.0 if temperature_c is None else self.leakage_w(temperature_c)
        return constant_w + dynamic_w * self.switching(sm_mhz) + leakage_w

    def power_coefficients_w(self, step: StepCost) -> tuple[float, float]:
        """Return P0 and c of the step in W, at the reference temperature."""
        memory, compute = self._activity(step)
        constant_w = self.static_w + self.memory_static_w * memory
        return constant_w, self.memory_dynamic_w * memory + self.compute_dynamic_w * compute

    @overload
    def switching(self, sm_mhz: float) -> float: ...
    @overload
    def switching(self, sm_mhz: FloatArray) -> FloatArray: ...
    def switching(self, sm_mhz: float | FloatArray) -> float | FloatArray:
        """Return x V(x)^2, the factor of dynamic power."""
        x = sm_mhz / self.sm_max_mhz
        over = x - self.knee
        lift = max(over, 0.0) if isinstance(over, float) else np.maximum(over, 0.0)
        return x * (1 + self.slope * lift) ** 2

    def leakage_w(self, temperature_c: float) -> float:
        """Return leakage at ``temperature_c`` above that at the reference temperature, in W."""
        return self.leakage_w_per_k * (temperature_c - self.reference_c)

    def mixture_power_w(
        self, mixture: Mixture, sm_mhz: float, temperature_c: float | None = None
    ) -> float:
        """Return mean power of alternating steps in W: each step's power weighted by its time."""
        time_s = [count * self.true_time_s(step, sm_mhz) for step, count in mixture]
        energy_j = sum(
            span_s * self.true_power_w(step, sm_mhz, temperature_c)
            for span_s, (step, _) in zip(time_s, mixture, strict=True)
        )
        return energy_j / sum(time_s)

    def settle(
        self,
        work: StepCost | Mixture,
        requested_mhz: float | None = None,
        temperature_c: float | None = None,
    ) -> float:
        """Return the SM clock in MHz that holds: ``requested_mhz``, or lower until P = cap.

        ``requested_mhz`` defaults to the highest clock. Where even the lowest clock exceeds the
        cap, the lowest clock holds.
        """
        mixture: Mixture = [(work, 1.0)] if isinstance(work, StepCost) else work
        top_mhz = float(self.sm_max_mhz if requested_mhz is None else requested_mhz)
        low_mhz = float(self.sm_min_mhz)

        # The governor looks for its clock ten times a second: what no clock changes is worked out
        # once, and a step's energy is taken from its parts.
        parts = [
            (count, *self._time_parts_s(step), *self.power_coefficients_w(step))
            for step, count in mixture
        ]
        limit_w = self.cap_w
        if temperature_c is not None:
            limit_w -= self.leakage_w(temperature_c)
        p = self.overlap

        def excess_w(sm_mhz: float) -> float:
            slow, switching = self.sm_max_mhz / sm_mhz - 1, self.switching(sm_mhz)
            round_s = round_j = 0.0
            for count, launch_s, memory_s, wait_s, compute_s, work_s, static_w, c_w in parts:
                body_s = (memory_s + wait_s * slow) ** p + (compute_s + work_s * slow) ** p
                time_s = count * (launch_s + body_s ** (1 / p))
                round_s += time_s
                round_j += time_s * (static_w + c_w * switching)
            return round_j / round_s - limit_w

        if excess_w(top_mhz) <= 0:
            return top_mhz
        if excess_w(low_mhz) >= 0:
            return low_mhz
        return float(scipy.optimize.brentq(excess_w, low_mhz, top_mhz, xtol=1e-3))

    def _time_parts_s(self, step: StepCost) -> tuple[float, float, float, float, float]:
        """Return times in s: launches, memory and compute at x = 1, each with what slowing adds.

        The third and fifth are what memory and compute gain while ``1/x - 1`` grows by one.
        """
        weight_s = step.weight_bytes / self.weight_bytes_per_s
        kv_s = step.kv_bytes / self.kv_bytes_per_s
        compute_s = step.flops / self.flops_per_s
        return (
            self.launch_time_s(step),
            weight_s + kv_s,
            weight_s * self.weight_clock_share + kv_s * self.kv_clock_share,
            compute_s,
            compute_s * self.compute_clock_share,
        )

    def _activity(self, step: StepCost) -> tuple[float, float]:
        """Return the shares of the step's time at the highest clock that memory, compute take."""
        whole_s = self.true_time_s(step, float(self.sm_max_mhz))
        _, memory_s, _, compute_s, _ = self._time_parts_s(step)
        return memory_s / whole_s, compute_s / whole_s


def twin_truth(name: str) -> TwinTruth:
    """Return the truth of the preset ``name``, with or without the prefix ``twin:``.

    Raises:
        UnsupportedGpu: no such preset.
    """
    key = name.removeprefix("twin:")
    if key not in PRESETS:
        known = ", ".join(f"twin:{preset}" for preset in PRESETS)
        raise UnsupportedGpu(f"no twin {name!r}; there are {known}")
    return PRESETS[key]


_H100 = TwinTruth(
    name="h100",
    memory_bytes=80 * 1024**3,
    compute_capability=(9, 0),
    sm_min_mhz=210,
    sm_max_mhz=1980,
    sm_step_mhz=15,
    sm_idle_mhz=345,
    memory_mhz=2619,
    eager_launch_s=50e-6,
    graph_launch_s=1.5e-6,
    weight_bytes_per_s=1.9e12,
    kv_bytes_per_s=1.5e12,
    flops_per_s=700e12,
    weight_clock_share=0.30,
    kv_clock_share=0.45,
    compute_clock_share=0.90,
    overlap=1.0,
    idle_w=70.0,
    static_w=90.0,
    memory_static_w=70.0,
    memory_dynamic_w=130.0,
    compute_dynamic_w=560.0,
    knee=0.50,
    slope=0.80,
    cap_w=700.0,
    cap_minimum_w=200.0,
    cap_maximum_w=700.0,
    ambient_c=28.0,
    warming_k_per_w=0.045,
    warming_time_s=20.0,
    leakage_w_per_k=0.15,
    reference_c=50.0,
    step_noise=0.004,
    run_noise=0.002,
    power_noise=0.004,
)

_RTX3090 = TwinTruth(
    name="rtx3090",
    memory_bytes=24 * 1024**3,
    compute_capability=(8, 6),
    sm_min_mhz=210,
    sm_max_mhz=2100,
    sm_step_mhz=15,
    sm_idle_mhz=210,
    memory_mhz=9751,
    eager_launch_s=30e-6,
    graph_launch_s=2.0e-6,
    weight_bytes_per_s=0.75e12,
    kv_bytes_per_s=0.60e12,
    flops_per_s=70e12,
    weight_clock_share=0.10,
    kv_clock_share=0.25,
    compute_clock_share=0.95,
    overlap=1.0,
    idle_w=25.0,
    static_w=70.0,
    memory_static_w=90.0,
    memory_dynamic_w=45.0,
    compute_dynamic_w=240.0,
    knee=0.82,
    slope=2.0,
    cap_w=350.0,
    cap_minimum_w=100.0,
    cap_maximum_w=390.0,
    ambient_c=30.0,
    warming_k_per_w=0.11,
    warming_time_s=30.0,
    leakage_w_per_k=0.12,
    reference_c=60.0,
    step_noise=0.006,
    run_noise=0.003,
    power_noise=0.005,
)

PRESETS: Mapping[str, TwinTruth] = MappingProxyType(
    {truth.name: truth for truth in (_H100, _RTX3090)}
)
"""Invented truths. Knee, cap and shares of time are of the size that public data sets show."""
