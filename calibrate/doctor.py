"""Says what this machine allows, and what to do about each no.

In: how to open the GPU. Out: rows of check, answer, detail and remedy. Nothing is changed, unless
the caller asks to prove the lock permission by locking.
"""

import importlib.metadata
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from calibrate.clocks import locked_clocks
from calibrate.gpu import Capability, Gpu, Kind
from calibrate.rapl import POWERCAP, open_rapl
from phasewatt.errors import UnsupportedGpu, UserError


class Answer(StrEnum):
    """Whether a check passes; UNKNOWN where only trying would tell."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Row:
    """One check; ``remedy`` is "" where nothing needs doing."""

    check: str
    answer: Answer
    detail: str
    remedy: str


def diagnose(
    open_gpu: Callable[[], Gpu], probe_lock: bool = False, state_dir: Path | None = None
) -> tuple[Row, ...]:
    """Return what the GPU that ``open_gpu`` opens allows, and which software is there.

    ``probe_lock`` proves the lock permission: the SM clock is locked at its highest and given
    back at once, unless other processes use the GPU.
    """
    try:
        gpu = open_gpu()
    except UserError as error:
        return (Row("GPU", Answer.NO, str(error), "do what it says"), *_software())
    try:
        rows = _look(gpu, probe_lock, state_dir)
    except UserError as error:
        rows = (Row("GPU", Answer.NO, str(error), "do what it says"),)
    finally:
        gpu.close()
    return (*rows, *_software())


def _look(gpu: Gpu, probe_lock: bool, state_dir: Path | None) -> tuple[Row, ...]:
    identity = gpu.identity()
    can = gpu.capabilities()
    clocks = gpu.clock_range()
    size_gib = identity.memory_bytes / 1024**3
    sm_mhz = clocks.sm_mhz
    span = f"{sm_mhz[0]} to {sm_mhz[-1]} MHz, {len(sm_mhz)} clocks" if sm_mhz else "not listed"
    return (
        Row("GPU", Answer.YES, f"{identity.name}, {size_gib:.0f} GiB, {identity.uuid}", ""),
        Row("driver", Answer.YES, identity.driver, ""),
        Row(
            "SM clocks",
            _answer(bool(sm_mhz)),
            span,
            "" if sm_mhz else "pass the clocks to measure yourself",
        ),
        _power_limit(gpu),
        _row(
            "energy counter",
            can.energy_counter,
            "none needed: energy falls back to instantaneous power, which is less exact",
        ),
        _row(
            "instantaneous power",
            can.power_instant,
            "none needed where there is an energy counter; otherwise update the driver (530 or "
            "later) or allow windows of 6 s",
        ),
        _row("throttle reasons", can.throttle_reasons, "update the driver"),
        _lock(gpu, can.lock_sm_clock, probe_lock, state_dir),
        _others(gpu, can.process_list),
        _persistence(gpu.modes().persistence),
        _mig(gpu.modes().mig),
        *(() if identity.kind is Kind.TWIN else (_host(),)),
    )


def _power_limit(gpu: Gpu) -> Row:
    limit = gpu.power_limit()
    if math.isnan(limit.enforced_w):
        return Row(
            "power limit", Answer.NO, "not told", "give the limit in the calibration by hand"
        )
    detail = (
        f"{limit.enforced_w:.0f} W in force, {limit.default_w:.0f} W by default, "
        f"{limit.minimum_w:.0f} to {limit.maximum_w:.0f} W settable"
    )
    lowered = limit.enforced_w < limit.default_w
    remedy = (
        "curves will hold for this limit only; nvidia-smi -pl sets the default" if lowered else ""
    )
    return Row("power limit", _answer(not lowered), detail, remedy)


def _lock(gpu: Gpu, told: Capability, probe_lock: bool, state_dir: Path | None) -> Row:
    remedy = "run as root (CAP_SYS_ADMIN), or measure without locks: --clocks steer or observe"
    if not probe_lock:
        if told.available is None:
            remedy = "pass --probe-lock to prove it by a lock that is given back at once"
        return _row("clock locks", told, remedy)
    try:
        with locked_clocks(gpu, state_dir) as lock:
            lock.lock_sm(max(gpu.clock_range().sm_mhz, default=0))
    except UnsupportedGpu as error:
        return Row("clock locks", Answer.NO, str(error), remedy)
    return Row("clock locks", Answer.YES, "the SM clock was locked and given back", "")


def _others(gpu: Gpu, listed: Capability) -> Row:
    if not listed.available:
        return Row(
            "GPU to ourselves", Answer.UNKNOWN, listed.reason, "make sure nobody else uses it"
        )
    others = [process.pid for process in gpu.processes() if process.pid != os.getpid()]
    if others:
        pids = ", ".join(map(str, others))
        return Row(
            "GPU to ourselves",
            Answer.NO,
            f"in use by pid {pids}",
            "wait for them or use another GPU",
        )
    return Row("GPU to ourselves", Answer.YES, "no other compute process", "")


def _persistence(on: bool | None) -> Row:
    if on is None:
        return Row("persistence mode", Answer.UNKNOWN, "not told", "")
    remedy = "" if on else "keeps the driver loaded between runs: nvidia-smi -pm 1 (root)"
    return Row("persistence mode", _answer(on), "on" if on else "off", remedy)


def _mig(on: bool | None) -> Row:
    if on:
        return Row(
            "whole GPU (MIG off)",
            Answer.NO,
            "MIG is on: power and clocks belong to all instances together",
            "turn it off: nvidia-smi -mig 0 (root), or use another GPU",
        )
    detail = "this GPU has no MIG" if on is None else "MIG is off"
    return Row("whole GPU (MIG off)", Answer.YES, detail, "")


def _host() -> Row:
    found = open_rapl(1)
    if found is None:
        return Row(
            "host power (RAPL)",
            Answer.NO,
            f"no counters below {POWERCAP} that this user may read",
            "none needed: costs then assume what hosts draw; or run as root, or chmod a+r the "
            "counters' energy_uj (root)",
        )
    return Row("host power (RAPL)", Answer.YES, f"{len(found.counters)} counters", "")


def _software() -> tuple[Row, ...]:
    return tuple(_distribution(name) for name in ("torch", "transformers", "nvidia-ml-py"))


def _distribution(name: str) -> Row:
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Row(name, Answer.NO, "not installed", "pip install 'phasewatt[gpu]'")
    return Row(name, Answer.YES, version, "")


def _row(check: str, capability: Capability, remedy: str) -> Row:
    if capability.available is None:
        return Row(check, Answer.UNKNOWN, capability.reason, remedy)
    answer = _answer(capability.available)
    return Row(check, answer, capability.reason, "" if capability.available else remedy)


def _answer(yes: bool) -> Answer:
    return Answer.YES if yes else Answer.NO
