"""Which way to vary the SM clock works on this GPU, for this user.

In: a GPU, the lock that a campaign holds, a bench with a prepared point. Out: a
:class:`calibrate.sweep.Strategy` and one sentence that says why.
"""

import math

import numpy as np

from calibrate.bench import Bench
from calibrate.clocks import ClockLock
from calibrate.gpu import Gpu
from calibrate.sweep import Strategy
from phasewatt.errors import UnsupportedGpu

STEERED = 0.02
"""Least fall of the clock under GEMMs, relative, at which load steers it."""

PROBE_S = 1.0


def choose_strategy(gpu: Gpu, lock: ClockLock | None, bench: Bench) -> tuple[Strategy, str]:
    """Return the best strategy that works here, and why; ``bench`` has a prepared point.

    Raises:
        UnsupportedGpu: the GPU was lost.
    """
    refusal = "no permission to lock clocks"
    if lock is not None:
        try:
            lock.lock_sm(max(gpu.clock_range().sm_mhz, default=0))
        except UnsupportedGpu as error:
            refusal = str(error)
        else:
            return Strategy.LOCK, "the driver let us lock the SM clock"
    fall = _fall(bench)
    if fall >= STEERED:
        return (
            Strategy.STEER,
            f"{refusal}; GEMMs lower the clock by {fall:.0%} under the power limit",
        )
    return (
        Strategy.OBSERVE,
        f"{refusal}; GEMMs lower the clock by {max(fall, 0.0):.0%} only, so load cannot steer it",
    )


def expected_strategy(gpu: Gpu, asked: Strategy) -> tuple[Strategy, str]:
    """Return the strategy that a campaign will likely take, and why, without trying anything."""
    if asked is not Strategy.AUTO:
        return asked, "as asked"
    lock = gpu.capabilities().lock_sm_clock
    if lock.available is not False:
        return Strategy.LOCK, f"likely: {lock.reason}; the run tries it"
    return Strategy.STEER, f"likely: {lock.reason}; the run tries whether load moves the clock"


def may_lock(gpu: Gpu, strategy: Strategy) -> bool:
    """Return whether a campaign with ``strategy`` needs to hold the lock."""
    if strategy is Strategy.AUTO:
        return gpu.capabilities().lock_sm_clock.available is not False
    return strategy is Strategy.LOCK


def _fall(bench: Bench) -> float:
    """Return by how much GEMMs lower the clock of the prepared step, relative; 0 if unreadable."""
    alone = bench.run_mixed(3, 0)
    once = bench.run_mixed(1, 1)
    if not once.gemm_time_s[0] > 0:
        return 0.0
    gemms = max(math.ceil(float(np.median(alone.step_time_s) / once.gemm_time_s[0])), 8)
    round_s = float(np.median(alone.step_time_s)) + gemms * float(once.gemm_time_s[0])
    bench.run_mixed(max(math.ceil(PROBE_S / round_s), 1), gemms)
    under = bench.run_mixed(max(math.ceil(PROBE_S / round_s / 4), 1), gemms)
    free_mhz = float(np.median(alone.sm_mhz_after))
    fall = 1 - float(np.median(under.sm_mhz_after)) / free_mhz
    return 0.0 if math.isnan(fall) else fall
