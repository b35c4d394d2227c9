"""Runs the real GPU code the way a campaign does; the tests kill it at chosen moments.

Scenes import what only they need: the tests start this some sixty times.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from calibrate.bench import Engine, MixedTimes, MonotonicClock, Point, StepTimes
from calibrate.clocks import clear_leftover, locked_clocks
from calibrate.nvml import NvmlGpu
from calibrate.sampler import ProcessSampler
from model.work import Phase
from phasewatt.errors import UserError


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def succeed() -> None:
    with locked_clocks(NvmlGpu.open()) as lock:
        lock.lock_sm(1200)
        lock.lock_sm(900)
        lock.lock_memory(1593)


def lock_nothing() -> None:
    with locked_clocks(NvmlGpu.open()):
        pass


def fail() -> None:
    with locked_clocks(NvmlGpu.open()) as lock:
        lock.lock_sm(1200)
        raise RuntimeError("the measurement failed")


def hang() -> None:
    with locked_clocks(NvmlGpu.open()) as lock:
        lock.lock_sm(1200)
        say("locked")
        time.sleep(60)


def force() -> None:
    with locked_clocks(NvmlGpu.open(), force=True) as lock:
        lock.lock_sm(1200)


def fork_and_hang() -> None:
    """Leave a child that holds a copy of the pipe to the watchdog."""
    with locked_clocks(NvmlGpu.open()) as lock:
        lock.lock_sm(1200)
        if os.fork() == 0:
            os.close(1)
            os.close(2)
            time.sleep(20)
            os._exit(0)
        say("locked")
        time.sleep(60)


def lose_watchdog() -> None:
    with locked_clocks(NvmlGpu.open()) as lock:
        lock.lock_sm(1200)
        os.kill(lock._watchdog.pid, signal.SIGKILL)
        os.waitpid(lock._watchdog.pid, 0)
        lock.lock_sm(900)


def clear() -> None:
    record = clear_leftover(NvmlGpu.open())
    say("nothing left" if record is None else f"cleared {' '.join(record.locked)}")


def read() -> None:
    gpu = NvmlGpu.open(sys.argv[2] if len(sys.argv) > 2 else "0")
    say(json.dumps({"name": gpu.identity().name, "energy_j": gpu.read().energy_j}))


class SleepingBench:
    """A bench whose steps only take real time."""

    def prepare(self, point: Point) -> None:
        pass

    def run(self, steps: int) -> StepTimes:
        ends_s = [time.monotonic()]
        for _ in range(steps):
            time.sleep(0.02)
            ends_s.append(time.monotonic())
        return StepTimes(np.diff(ends_s))

    def run_mixed(self, steps: int, gemms_per_step: int) -> MixedTimes:
        alone_s = self.run(steps).step_time_s
        sm_mhz = np.full(steps, 1500.0)
        return MixedTimes(alone_s, np.zeros(steps), sm_mhz, sm_mhz)

    def release(self) -> None:
        pass

    def versions(self) -> dict[str, str]:
        return {"bench": "sleeping"}


def campaign() -> None:
    """Measure for the log in argv[2] with the command's own rig, but a bench that sleeps.

    argv[3] is the strategy. A line is said for every record, so that the tests know when to kill.
    """
    import calibrate.torchbench
    from calibrate.campaign import Campaign, Pace, run_campaign
    from calibrate.measure import MeasurePlan
    from calibrate.rig import open_rig
    from calibrate.study import study_of
    from calibrate.sweep import Strategy, Sweep

    calibrate.torchbench.open_torch_bench = lambda _device, _models: SleepingBench()
    sweep = Sweep(
        models=("llama-3.2-1b",),
        engines=(Engine.EAGER,),
        phases=(Phase.DECODE,),
        batches=(1,),
        prompts=(128,),
        contexts=(128,),
        dtype="bfloat16",
        strategy=Strategy(sys.argv[3]),
        sm_mhz=(900, 1980) if sys.argv[3] == "lock" else (),
        precision=0.5,
        seed=0,
    )
    asked = Campaign(
        sweep=sweep,
        budget_s=60.0,
        plan=MeasurePlan(settle_s=0.05, window_s=2.2, precision=0.5, min_repeats=1, max_repeats=1),
        pace=Pace(warm_up_s=0.1, rest_s=0.0, idle_s=2.2),
    )
    log = run_campaign(
        open_rig("0", 0), asked, Path(sys.argv[2]), lambda log, _: say(len(log.measured))
    )
    study = study_of(log)
    say(
        json.dumps(
            {
                "sm_mhz": study.measurements.sm_mhz.tolist(),
                "kind": study.provenance.kind,
                "notes": study.provenance.notes,
                "software": study.provenance.software,
                "strategy": log.header.strategy,
                "reason": log.header.strategy_reason,
            }
        )
    )


def command() -> None:
    """Run ``calibrate`` with the rest of argv, as a user would."""
    from calibrate.cli import main

    main(sys.argv[2:])


def measure_locked() -> None:
    from calibrate.measure import MeasurePlan, measure

    gpu = NvmlGpu.open()
    sampler = ProcessSampler(gpu.identity().uuid)
    sampler.start()
    point = Point("tiny", Engine.EAGER, Phase.DECODE, 1, 0, 16)
    plan = MeasurePlan(settle_s=0.3, window_s=2.2, min_repeats=1, max_repeats=1)
    with locked_clocks(gpu) as lock:
        lock.lock_sm(1200)
        found = measure(SleepingBench(), gpu, sampler, MonotonicClock(), point, 1200, plan)
    sampler.stop()
    say(
        json.dumps(
            {
                "sm_mhz": found.sm_mhz,
                "held": found.clock.held,
                "reason": found.clock.reason,
                "power_w": found.power_w.value,
                "power_error_w": found.power_w.error,
                "source": found.energy_source,
                "time_s": found.time_s.value,
                "kind": found.kind,
            }
        )
    )


def sample() -> None:
    sampler = ProcessSampler("0")
    sampler.start()
    start_s = time.monotonic()
    time.sleep(0.5)
    samples = sampler.read(start_s)
    say(
        json.dumps(
            {
                "count": samples.time_s.size,
                "first_s": samples.time_s[0] - start_s,
                "last_s": samples.time_s[-1] - start_s,
                "rows": str(sampler._rows),
            }
        )
    )
    sampler.stop()


def sample_killed() -> None:
    sampler = ProcessSampler("0")
    sampler.start()
    os.kill(sampler._process.pid, signal.SIGKILL)
    sampler._process.wait()
    try:
        sampler.read(time.monotonic())
    finally:
        sampler.stop()


def sample_frozen() -> None:
    sampler = ProcessSampler("0")
    sampler.start()
    os.kill(sampler._process.pid, signal.SIGSTOP)
    time.sleep(2.3)
    try:
        sampler.read(0.0)
    finally:
        sampler._process.kill()
        sampler.stop()


def sample_lost() -> None:
    sampler = ProcessSampler("0")
    sampler.start()
    (Path(os.environ["NVML_STANDIN"]) / "faults").write_text("lost")
    sampler._process.wait()
    try:
        sampler.read(time.monotonic())
    finally:
        sampler.stop()


def sample_and_hang() -> None:
    sampler = ProcessSampler("0")
    sampler.start()
    say(f"{sampler._process.pid} {sampler._rows}")
    time.sleep(60)


def doctor() -> None:
    from calibrate.doctor import diagnose

    rows = diagnose(NvmlGpu.open, probe_lock="probe" in sys.argv)
    say(json.dumps({row.check: [row.answer, row.detail, row.remedy] for row in rows}))


SCENES: dict[str, Callable[[], None]] = {
    name: scene for name, scene in globals().items() if callable(scene) and name.islower()
}

if __name__ == "__main__":
    try:
        SCENES[sys.argv[1]]()
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
