"""Resets locked clocks when the process that locked them dies, however it dies.

In: a GPU's UUID, the record of what is locked, and a pipe that the locking process holds open.
Out: when the pipe closes without the word that all is restored, clocks reset and record removed.
"""

import argparse
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from calibrate.gpu import Gpu
from calibrate.nvml import NvmlGpu
from phasewatt.errors import UnsupportedGpu, UserError
from phasewatt.files import write_text

START_TIMEOUT_S = 30.0
PARENT_POLL_S = 0.5
"""A forked child of the parent may hold the pipe open, so the parent's life is looked at too."""

READY = "ready"
RESTORED = b"restored\n"

SM = "sm"
MEMORY = "memory"


@dataclass(frozen=True)
class LockRecord:
    """What one process has locked on one GPU; kept in a file while the lock lasts.

    Attributes:
        uuid: the GPU.
        locked: which of "sm" and "memory" may be locked.
        owner: the process that locked, as :func:`process_token` names it.
        watchdog: the process that watches the owner, 0 before it has started.
        boot_id: which boot of the machine; a lock does not survive a reboot.
    """

    uuid: str
    locked: tuple[str, ...]
    owner: str
    watchdog: int
    boot_id: str


def read_record(path: Path) -> LockRecord | None:
    """Return the record in ``path``; None if there is none or it was cut short.

    A record is whole before the first lock is asked for, so one cut short stands for no lock.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return LockRecord(**{**fields, "locked": tuple(fields["locked"])})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write_record(path: Path, record: LockRecord) -> None:
    """Write ``record`` whole.

    Raises:
        Unwritable: the directory cannot be written; then nothing may be locked.
    """
    write_text(path, json.dumps(asdict(record)) + "\n")


def process_token(pid: int) -> str | None:
    """Return a name for the process ``pid`` that its successors of the same pid do not share.

    None if there is no such process or it is a zombie.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command, in parentheses, may itself hold spaces and parentheses.
    after_command = stat.rpartition(")")[2].split()
    state, started = after_command[0], after_command[19]
    return None if state in "ZX" else f"{pid}:{started}"


class Watchdog:
    """A process that outlives this one and resets the clocks of one GPU if this one dies."""

    def __init__(self, uuid: str, state: Path) -> None:
        """Start the process; return once it has opened the GPU and watches.

        ``state`` is the file that lists what is locked; the watchdog reads it when it acts.

        Raises:
            UnsupportedGpu: the watchdog could not start; nothing may be locked without it.
        """
        # A session of its own keeps signals to our process group away from it.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "calibrate.watchdog", uuid, str(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        output = self._process.stdout
        line = ""
        if output is not None and select.select([output], [], [], START_TIMEOUT_S)[0]:
            line = output.readline().decode().strip()
        if line != READY:
            self._process.kill()
            self._close()
            raise UnsupportedGpu(line or "the watchdog that restores clocks did not start")

    @property
    def pid(self) -> int:
        """The process id of the watchdog."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process still watches."""
        return self._process.poll() is None

    def restored(self) -> None:
        """Say that the clocks are restored; the watchdog ends without touching the GPU."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe(), RESTORED)
        self._close()

    def _pipe(self) -> int:
        if self._process.stdin is None:
            raise RuntimeError("the watchdog has no pipe")
        return self._process.stdin.fileno()

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            self._process.wait(START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def reset(gpu: Gpu, locked: tuple[str, ...]) -> None:
    """Reset the clocks named in ``locked``; try each even if another fails.

    Raises:
        UnsupportedGpu: the driver refused a reset; the others were tried.
    """
    failure: UnsupportedGpu | None = None
    for name, restore in ((SM, gpu.reset_sm_clock), (MEMORY, gpu.reset_memory_clock)):
        if name in locked:
            try:
                restore()
            except UnsupportedGpu as error:
                failure = error
    if failure is not None:
        raise failure


def _watch(parent: int) -> bool:
    """Return whether the parent said that all is restored, once it speaks, closes or dies."""
    said = b""
    while os.getppid() == parent:
        if select.select([sys.stdin], [], [], PARENT_POLL_S)[0]:
            chunk = os.read(sys.stdin.fileno(), 64)
            if not chunk:
                break
            said += chunk
            if RESTORED in said:
                return True
    return RESTORED in said


def _main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("uuid")
    parser.add_argument("state", type=Path)
    arguments = parser.parse_args()
    parent = os.getppid()
    owner = process_token(parent)
    # A polite end would leave the clocks locked; only SIGKILL ends a watchdog early.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        gpu = NvmlGpu.open(arguments.uuid)
    except UserError as error:
        sys.stdout.write(f"{error}\n")
        return 2
    sys.stdout.write(READY + "\n")
    sys.stdout.flush()
    if _watch(parent):
        return 0
    record = read_record(arguments.state)
    # A later run may have taken the record over; its lock is not ours to reset.
    if record is not None and record.owner == owner:
        reset(gpu, record.locked)
        arguments.state.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
