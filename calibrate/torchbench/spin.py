"""Reads the SM clock on the device itself: a kernel that spins for a known number of cycles.

In: spans of spinning, timed by events. Out: MHz. Unlike the driver's figure this is what the SMs
do, at the moment between two steps: on an NVIDIA H100 80GB HBM3 (driver 580.159.04, torch 2.11.0,
November 2026) NVML says 1980 MHz both during decode of Llama 3.1 8B at batch 1, 340 to 370 W, where
spins of 2 million cycles say 2100 (standard deviation 0.5), and at 64 x 4096, 510 W, where they say
1979, as they do on an idle GPU.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from calibrate.torchbench.stopwatch import stopwatch

FloatArray = NDArray[np.float64]
Device = Any

SPIN_CYCLES = 200_000
"""About 0.1 ms. On the H100 above events tick every 32 ns, and during decode 50 spins scattered by
0.2 to 0.5%, which the mean of a window brings below 0.1%."""

_PAIRS = 16
_LENGTHENED = 4


def spin() -> None:
    """Launch :data:`SPIN_CYCLES` cycles of spinning on one SM."""
    torch.cuda._sleep(SPIN_CYCLES)


def spin_overhead_s(device: Device) -> float:
    """Return what a span of spinning lasts beyond its cycles, in s: launch, and events themselves.

    Found from pairs of a short and a long spin, since time = overhead + cycles / clock; between 3.6
    and 3.9 us in ten such measurements on the H100 above.
    """
    watch = stopwatch(device, lead=2 * _PAIRS + 2)
    watch.mark()
    for _ in range(_PAIRS + 1):
        torch.cuda._sleep(SPIN_CYCLES)
        watch.mark()
        torch.cuda._sleep(_LENGTHENED * SPIN_CYCLES)
        watch.mark()
    # The first pair finds the clock still rising.
    short_s, long_s = watch.spans_s()[2:].reshape(_PAIRS, 2).T
    return float(np.median((_LENGTHENED * short_s - long_s) / (_LENGTHENED - 1)))


def clock_mhz(span_s: FloatArray, overhead_s: float) -> FloatArray:
    """Return the SM clock in MHz during spans of one :func:`spin` each, same shape."""
    return 1e-6 * SPIN_CYCLES / (span_s - overhead_s)
