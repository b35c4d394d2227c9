"""Locks clocks for the length of a block and always gives them back.

In: a GPU and the clocks to hold. Out: a :class:`ClockLock` inside a ``with`` block; afterwards the
clocks are as the governor wants them, after success, error, SIGINT, SIGTERM and SIGKILL alike.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from calibrate.gpu import Gpu, Kind
from calibrate.watchdog import (
    MEMORY,
    SM,
    LockRecord,
    Watchdog,
    process_token,
    read_record,
    reset,
    write_record,
)
from calibrate.window import Window
from phasewatt.errors import UnsupportedGpu, Unwritable

HOLD_TOLERANCE = 0.01
"""A lock holds if the clock under load is this near, relative; a step of the clock is 0.8%."""

POWER_CAP_SHARE = 0.1
"""Share of the window under the power cap from which on the cap is named as the cause."""

POWER_CAP = "power cap"
"""Why a clock did not hold where the power limit lowered it; also what the throttle reason says."""

WATCHDOG_PATIENCE_S = 5.0
"""How long a start waits for the watchdog of a killed run to finish its work."""


@dataclass(frozen=True)
class ClockVerdict:
    """What became of a requested SM clock under load; ``reason`` is "" where it held."""

    requested_sm_mhz: int
    achieved_sm_mhz: float
    held: bool
    reason: str


class ClockLock:
    """The clocks of one GPU while they may be locked; made by :func:`locked_clocks`."""

    def __init__(self, gpu: Gpu, path: Path | None, record: LockRecord) -> None:
        """Lock nothing yet; ``path`` is where the record is kept, None for a twin."""
        self._gpu = gpu
        self._path = path
        self._record = record
        self._watchdog: Watchdog | None = None

    @property
    def locked(self) -> tuple[str, ...]:
        """Which of "sm" and "memory" are locked now."""
        return self._record.locked

    def lock_sm(self, sm_mhz: int) -> None:
        """Ask for a fixed SM clock; whether it holds, only :func:`verdict` under load tells.

        Raises:
            UnsupportedGpu: no permission, not supported, or the watchdog is gone.
        """
        self._lock(SM, lambda: self._gpu.lock_sm_clock(sm_mhz))

    def lock_memory(self, memory_mhz: int) -> None:
        """Ask for a fixed memory clock.

        Raises:
            UnsupportedGpu: no permission, not supported, or the watchdog is gone.
        """
        self._lock(MEMORY, lambda: self._gpu.lock_memory_clock(memory_mhz))

    def restore(self) -> None:
        """Give back what is locked, and nothing else; safe to call twice.

        Raises:
            UnsupportedGpu: the driver refused. The record stays, so that the watchdog at our end
                and the next start try again.
        """
        with _signals_deferred():
            if self._record.locked:
                reset(self._gpu, self._record.locked)
                self._record = replace(self._record, locked=())
            if self._path is not None:
                self._path.unlink(missing_ok=True)
            if self._watchdog is not None:
                self._watchdog.restored()
                self._watchdog = None

    def _lock(self, name: str, ask: Callable[[], None]) -> None:
        self._guard()
        before = self._record
        # Recorded before it is asked for: a kill between the two costs one needless reset, the
        # other order would cost a lock that nobody knows of.
        self._note(replace(before, locked=tuple(dict.fromkeys((*before.locked, name)))))
        try:
            ask()
        except UnsupportedGpu:
            self._note(before)
            raise

    def _guard(self) -> None:
        """Have a watchdog before anything is locked. A twin dies with us and needs none."""
        if self._path is None:
            return
        if self._watchdog is None:
            self._watchdog = Watchdog(self._record.uuid, self._path)
            self._note(replace(self._record, watchdog=self._watchdog.pid))
        if not self._watchdog.alive:
            raise UnsupportedGpu(
                "the watchdog that restores clocks was killed; nothing more is locked: run again"
            )

    def _note(self, record: LockRecord) -> None:
        if self._path is not None:
            write_record(self._path, record)
        self._record = record


@contextmanager
def locked_clocks(
    gpu: Gpu,
    state_dir: Path | None = None,
    own_pids: frozenset[int] | None = None,
    force: bool = False,
) -> Iterator[ClockLock]:
    """Yield a :class:`ClockLock`; on leaving the block, whatever the cause, restore the clocks.

    SIGTERM and SIGHUP end the block like an exception (``SystemExit``) while it lasts, if it is
    entered in the main thread. Lock after the CUDA context exists: an earlier lock may not hold.

    Args:
        gpu: the GPU.
        state_dir: where the record of the lock is kept; :func:`default_state_dir` if None.
        own_pids: processes that may use the GPU; this process if None.
        force: lock even if other processes use the GPU or MIG is on.

    Raises:
        UnsupportedGpu: the GPU is in use, MIG is on, or another run has locked its clocks.
        Unwritable: the record cannot be kept; then nothing is locked.
    """
    refuse_if_busy(gpu, own_pids, force)
    identity = gpu.identity()
    path: Path | None = None
    record = LockRecord(identity.uuid, (), _me(), 0, _boot_id())
    if identity.kind is Kind.MEASURED:
        path = _record_path(state_dir, identity.uuid)
        _make_directory(path.parent)
        clear_leftover(gpu, state_dir, own_pids, force)
        _claim(path, record)
    lock = ClockLock(gpu, path, record)
    with _signals_raise():
        try:
            yield lock
        finally:
            lock.restore()


def clear_leftover(
    gpu: Gpu,
    state_dir: Path | None = None,
    own_pids: frozenset[int] | None = None,
    force: bool = False,
) -> LockRecord | None:
    """Reset what a dead run left locked on ``gpu``; return its record, None if nothing was left.

    Waits for that run's watchdog first, should it be at work.

    Raises:
        UnsupportedGpu: the run that locked is alive, the GPU is in use by others, or the driver
            refused the reset.
    """
    path = _record_path(state_dir, gpu.identity().uuid)
    record = read_record(path)
    if record is None or record.boot_id != _boot_id():
        path.unlink(missing_ok=True)
        return None
    owner_pid = int(record.owner.partition(":")[0])
    if process_token(owner_pid) == record.owner:
        raise UnsupportedGpu(
            f"another run (pid {owner_pid}) has locked this GPU's clocks: wait for it or end it"
        )
    patience_s = time.monotonic() + WATCHDOG_PATIENCE_S
    while record.watchdog and process_token(record.watchdog) and time.monotonic() < patience_s:
        time.sleep(0.05)
    if not path.exists():
        return None
    refuse_if_busy(gpu, own_pids, force)
    reset(gpu, record.locked)
    path.unlink(missing_ok=True)
    return record


def refuse_if_busy(gpu: Gpu, own_pids: frozenset[int] | None = None, force: bool = False) -> None:
    """Raise if a process other than ``own_pids`` (default: this one) uses the GPU, or MIG is on.

    Raises:
        UnsupportedGpu: it is so, and ``force`` is not set.
    """
    if force:
        return
    if gpu.modes().mig:
        raise UnsupportedGpu(
            "MIG is on: a lock would change every instance; turn it off (nvidia-smi -mig 0) or "
            "pass --force"
        )
    ours = frozenset({os.getpid()}) if own_pids is None else own_pids
    others = sorted(process.pid for process in gpu.processes() if process.pid not in ours)
    if others:
        raise UnsupportedGpu(
            f"other processes use this GPU (pid {', '.join(map(str, others))}): wait for them, "
            "choose another GPU, or pass --force"
        )


def verdict(requested_sm_mhz: int, window: Window) -> ClockVerdict:
    """Return whether the SM clock under load, throughout ``window``, is the requested one."""
    tolerance_mhz = HOLD_TOLERANCE * requested_sm_mhz
    seen_mhz = (window.sm_mhz, window.sm_mhz_median)
    held = all(abs(clock - requested_sm_mhz) <= tolerance_mhz for clock in seen_mhz)
    reason = ""
    if not held:
        capped = window.throttle_shares.get(POWER_CAP, 0.0) >= POWER_CAP_SHARE
        reason = POWER_CAP if capped and window.sm_mhz < requested_sm_mhz else "lock did not hold"
    return ClockVerdict(requested_sm_mhz, window.sm_mhz, held, reason)


def default_state_dir() -> Path:
    """Return where records of locks are kept, after the XDG base directory specification."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "phasewatt" / "locks"


def _record_path(state_dir: Path | None, uuid: str) -> Path:
    return (state_dir or default_state_dir()) / f"{uuid}.json"


def _claim(path: Path, record: LockRecord) -> None:
    """Create the record, for this process alone."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError as error:
        raise UnsupportedGpu("another run has just locked the clocks of this GPU") from error
    except OSError as error:
        raise _unwritable(path, error) from error
    write_record(path, record)


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(directory, error) from error


def _unwritable(path: Path, error: OSError) -> Unwritable:
    return Unwritable(f"{path}: cannot keep the record of a lock: {error.strerror}")


def _me() -> str:
    return process_token(os.getpid()) or f"{os.getpid()}:0"


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, unless somebody ignores or handles them already."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with _handlers(leave, (signal.SIGTERM, signal.SIGHUP), only_default=True):
        yield


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Hold back SIGINT, SIGTERM and SIGHUP until the block is done."""
    seen: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        seen.append(number)

    with _handlers(remember, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP), only_default=False):
        yield
    for number in seen:
        signal.raise_signal(number)


@contextmanager
def _handlers(
    handler: Callable[[int, FrameType | None], None],
    numbers: tuple[signal.Signals, ...],
    only_default: bool,
) -> Iterator[None]:
    """Handle ``numbers`` with ``handler`` inside the block; elsewhere than the main thread, not."""
    if threading.current_thread() is not threading.main_thread():
        # Python lets only the main thread set handlers; the watchdog covers the rest.
        yield
        return
    before = {}
    for number in numbers:
        current = signal.getsignal(number)
        if current is signal.SIG_DFL or (not only_default and current is not signal.SIG_IGN):
            before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
