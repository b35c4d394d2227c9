"""The seam between a measurement and the work that it measures.

In: a :class:`Point`, which says what kind of step to repeat. Out: per-step device times, from a
:class:`Bench` with two real sides: the torch engines on a GPU, and the twin.
"""

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.work import Phase
from phasewatt.errors import UserError

FloatArray = NDArray[np.float64]


class Engine(StrEnum):
    """How steps reach the GPU: one launch per kernel, or one replayed graph per step."""

    EAGER = "eager"
    CUDA_GRAPH = "cuda-graph"


@dataclass(frozen=True)
class Point:
    """One kind of step, repeated.

    Attributes:
        model: name of the model.
        engine: how steps reach the GPU.
        phase: prefill computes ``batch`` whole prompts; decode one token for each of ``batch``.
        batch: sequences in the step.
        prompt_tokens: tokens of each prompt; 0 for decode.
        context_tokens: tokens in the KV cache of each sequence; 0 for prefill.
        dtype: "bfloat16" or "float16".
    """

    model: str
    engine: Engine
    phase: Phase
    batch: int
    prompt_tokens: int
    context_tokens: int
    dtype: str = "bfloat16"

    def __str__(self) -> str:
        length = self.prompt_tokens if self.phase is Phase.PREFILL else self.context_tokens
        return f"{self.model} {self.engine} {self.phase} {self.batch} x {length} {self.dtype}"


class OutOfMemory(UserError):
    """A point whose weights and cache do not fit into the memory of the GPU."""

    def __init__(self, point: Point) -> None:
        super().__init__(f"{point}: does not fit into the GPU's memory; the point is skipped")
        self.point = point


@dataclass(frozen=True)
class StepTimes:
    """Device time of each step in s, shape (steps,)."""

    step_time_s: FloatArray


@dataclass(frozen=True)
class MixedTimes:
    """Steps under test between GEMMs that steer the clock; every array has shape (steps,).

    Attributes:
        step_time_s: device time of the step under test.
        gemm_time_s: device time of all GEMMs that ran before that step; 0 where there were none.
        sm_mhz_before: SM clock read on the device just before the step.
        sm_mhz_after: SM clock read on the device just after the step.
    """

    step_time_s: FloatArray
    gemm_time_s: FloatArray
    sm_mhz_before: FloatArray
    sm_mhz_after: FloatArray


class Bench(Protocol):
    """Runs steps of one point at a time on one GPU; every run ends with the GPU idle."""

    def prepare(self, point: Point) -> None:
        """Load or keep the model, fill caches, capture graphs, warm up; no timing.

        Preparing the point that is prepared already does nothing.

        Raises:
            OutOfMemory: the point does not fit.
        """
        ...

    def run(self, steps: int) -> StepTimes:
        """Run ``steps`` steps of the prepared point back to back; block until they are done."""
        ...

    def run_mixed(self, steps: int, gemms_per_step: int) -> MixedTimes:
        """Run ``steps`` times: ``gemms_per_step`` large GEMMs, then one step; block until done."""
        ...

    def release(self) -> None:
        """Free what the prepared point holds on the GPU."""
        ...

    def versions(self) -> dict[str, str]:
        """Return versions of what computes, and which attention each engine used so far."""
        ...


class Clock(Protocol):
    """Where time comes from: the machine's monotonic clock, or a twin's virtual one."""

    def now_s(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...

    def sleep_s(self, duration_s: float) -> None:
        """Return after ``duration_s`` seconds of this clock."""
        ...


class MonotonicClock:
    """The machine's monotonic clock, which every process on it shares."""

    def now_s(self) -> float:
        """Return seconds on the monotonic clock."""
        return time.monotonic()

    def sleep_s(self, duration_s: float) -> None:
        """Sleep."""
        time.sleep(max(duration_s, 0.0))
