"""Steps between GEMMs that steer the clock: what runs in a round, and what its marks say.

In: a step, a GEMM, and how long a round lasts. Out: :class:`calibrate.bench.MixedTimes`. The clock
is read around every few steps only, so that reading it takes a small share of the time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from calibrate.bench import MixedTimes
from calibrate.torchbench.spin import clock_mhz, spin, spin_overhead_s
from calibrate.torchbench.steps import Step
from calibrate.torchbench.stopwatch import stopwatch

FloatArray = NDArray[np.float64]
Device = Any

GEMM_SIDE = 8192
CPU_GEMM_SIDE = 64

SPIN_SHARE = 0.005
"""Largest share of a mixture's time that reading the clock may take: it belongs to neither steps
nor GEMMs, and the energy balance leaves it out."""

_MARKS = 8
"""In a round: before GEMMs, after them, after each of two spins that follow, before the step, after
it, after each of two spins that follow it. Where no clock is read, nothing spins between marks."""

_LEAD_S = 0.25
_LEAD_ROUNDS = (3, 64)
"""How far the host may run ahead of the device: long enough to bridge a hiccup, short enough that
Ctrl-C is soon heard."""


@dataclass(frozen=True)
class Gemms:
    """Square bf16 matrix products on random operands that are allocated once."""

    left: Any
    right: Any
    product: Any

    @staticmethod
    def allocate(generator: torch.Generator) -> "Gemms":
        """Return operands on the generator's device: large on a GPU, small on the CPU."""
        side = CPU_GEMM_SIDE if generator.device.type == "cpu" else GEMM_SIDE

        def draw() -> Any:
            empty = torch.empty(side, side, dtype=torch.bfloat16, device=generator.device)
            return empty.normal_(generator=generator)

        return Gemms(draw(), draw(), draw())

    def launch(self, count: int) -> None:
        """Launch ``count`` products."""
        for _ in range(count):
            torch.mm(self.left, self.right, out=self.product)


def run_mixture(
    step: Step,
    gemms: Gemms | None,
    steps: int,
    gemms_per_step: int,
    device: Device,
    launched: bool = False,
) -> MixedTimes:
    """Run ``gemms_per_step`` GEMMs before each of ``steps`` steps, and read the clock around some.

    ``gemms`` may be None where there are none to run. Clocks of the steps between two readings are
    interpolated; on the CPU they are NaN. Where the host launches the step kernel by kernel
    (``launched``), it waits until the GEMMs are done: launched while they ran, the step would no
    longer wait for its launches. There a spin goes before each one that is timed, whose launch the
    GPU would otherwise wait for.
    """
    gpu = device.type != "cpu"
    overhead_s = spin_overhead_s(device) if gpu else math.nan
    waits = launched and gemms_per_step > 0
    guards = int(launched)
    rounds = _rounds(step, gemms, 1, gemms_per_step, device, lambda _: False, waits, guards, 1)
    lead = int(np.clip(math.ceil(_LEAD_S / float(rounds.sum())), *_LEAD_ROUNDS))
    spins_s = 2 * (1 + guards) * _SPIN_S if gpu else 0.0
    every = max(math.ceil(spins_s / (SPIN_SHARE * float(rounds.sum()))), 1)

    def reads_clock(number: int) -> bool:
        return gpu and (number % every == 0 or number == steps - 1)

    rounds = _rounds(step, gemms, steps, gemms_per_step, device, reads_clock, waits, guards, lead)
    read = np.array([reads_clock(number) for number in range(steps)])
    return MixedTimes(
        step_time_s=rounds[:, 4],
        gemm_time_s=rounds[:, 0] if gemms_per_step else np.zeros(steps),
        sm_mhz_before=_clock_mhz(rounds[:, 2], read, overhead_s),
        sm_mhz_after=_clock_mhz(rounds[:, 6], read, overhead_s),
    )


_SPIN_S = 0.15e-3
"""About what a spin lasts at 1.4 GHz, to plan with."""


def _rounds(
    step: Step,
    gemms: Gemms | None,
    count: int,
    gemms_per_step: int,
    device: Device,
    reads_clock: Callable[[int], bool],
    waits: bool,
    guards: int,
    lead: int,
) -> FloatArray:
    """Return the spans between the marks of each round in s, shape (count, 7)."""
    watch = stopwatch(device, lead=_MARKS * lead)

    def read_clock(number: int) -> None:
        """Spin between two marks, after ``guards`` spins."""
        for spins in (guards, 1):
            for _ in range(spins if reads_clock(number) else 0):
                spin()
            watch.mark()

    for number in range(count):
        watch.mark()
        if gemms is not None:
            gemms.launch(gemms_per_step)
        watch.mark()
        read_clock(number)
        if waits:
            watch.wait()
        watch.mark()
        step()
        watch.mark()
        read_clock(number)
    spans_s = np.append(watch.spans_s(), 0.0)  # the last round has no next one
    return spans_s.reshape(count, _MARKS)[:, : _MARKS - 1]


def _clock_mhz(spans_s: FloatArray, read: NDArray[np.bool_], overhead_s: float) -> FloatArray:
    if not read.any():
        return np.full(len(spans_s), np.nan)
    rows = np.arange(len(spans_s))
    return np.interp(rows, rows[read], clock_mhz(spans_s[read], overhead_s))
