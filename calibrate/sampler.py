"""Samples a GPU from a process of its own, so that polling does not slow what is measured.

In: which GPU and how often. Out: :class:`calibrate.window.Samples` on the monotonic clock. The
process appends rows to a file that the measured process reads; it ends when its parent does.
"""

import argparse
import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from calibrate.nvml import NvmlGpu
from calibrate.window import Samples
from phasewatt.errors import UnsupportedGpu, UserError

START_TIMEOUT_S = 30.0
SILENCE_S = 2.0
"""A sampler that has written nothing for this long is taken for dead."""


class SamplerDied(UnsupportedGpu):
    """The sampling process ended or fell silent while a measurement needed it."""


class Sampler(Protocol):
    """Looks at a GPU at a steady pace: a process for a real one, the history of a twin."""

    def start(self) -> None:
        """Sample from now on."""
        ...

    def read(self, since_s: float) -> Samples:
        """Return the samples taken from ``since_s`` until now.

        Raises:
            SamplerDied: no samples are being taken any more.
        """
        ...

    def stop(self) -> None:
        """Take no more samples; safe to call twice."""
        ...


class ProcessSampler:
    """A :class:`Sampler` that runs ``python -m calibrate.sampler`` beside the measured process."""

    def __init__(self, gpu: str, period_s: float = 0.01) -> None:
        """Sample the GPU with the UUID or index ``gpu`` every ``period_s`` seconds."""
        self._gpu = gpu
        self._period_s = period_s
        self._process: subprocess.Popen[str] | None = None
        self._rows: Path | None = None

    def start(self) -> None:
        """Start the process and wait until its first sample is written.

        Raises:
            UnsupportedGpu: the GPU cannot be opened or read.
        """
        handle, name = tempfile.mkstemp(prefix="phasewatt-samples-")
        os.close(handle)
        self._rows = Path(name)
        command = ["-m", "calibrate.sampler", self._gpu, str(self._period_s), name]
        # A session of its own keeps a terminal's Ctrl-C from ending it before its parent.
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        line = _line(self._process.stdout, START_TIMEOUT_S)
        if line != READY:
            self.stop()
            raise SamplerDied(line or "the sampling process did not start; see `calibrate doctor`")

    def read(self, since_s: float) -> Samples:
        """Return the samples taken from ``since_s`` (monotonic) until now.

        Raises:
            SamplerDied: the process ended, or has been silent for :data:`SILENCE_S`.
        """
        if self._process is None or self._rows is None:
            raise RuntimeError("read before start")
        if self._process.poll() is not None:
            line = _line(self._process.stdout, 0.0)
            code = self._process.returncode
            raise SamplerDied(
                line or f"the sampling process died (exit code {code}); run again to resume"
            )
        samples = _load(self._rows, since_s)
        last_s = samples.time_s[-1] if samples.time_s.size else since_s
        if time.monotonic() - last_s > SILENCE_S:
            raise SamplerDied(
                f"the sampling process has been silent for {time.monotonic() - last_s:.1f} s; "
                "run again to resume"
            )
        return samples

    def stop(self) -> None:
        """End the process and remove its file."""
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            try:
                self._process.wait(timeout=SILENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._rows is not None:
            self._rows.unlink(missing_ok=True)
            self._rows = None


READY = "ready"

_COLUMNS = 8
_ROW_BYTES = _COLUMNS * 8


def _load(path: Path, since_s: float) -> Samples:
    """Return the whole rows of ``path`` whose time is at least ``since_s``."""
    data = path.read_bytes()
    rows = np.frombuffer(data, count=len(data) // _ROW_BYTES * _COLUMNS).reshape(-1, _COLUMNS)
    first = int(np.searchsorted(rows[:, 0], since_s, side="left"))
    time_s, energy_j, instant_w, average_w, sm_mhz, memory_mhz, temperature_c, throttle = rows[
        first:
    ].T.copy()
    return Samples(
        time_s,
        energy_j,
        instant_w,
        average_w,
        sm_mhz,
        memory_mhz,
        temperature_c,
        throttle.astype(np.int64),
    )


def _line(stream: IO[str] | None, timeout_s: float) -> str:
    """Return the next line of ``stream``, or "" if none comes in time."""
    if stream is None or not select.select([stream], [], [], timeout_s)[0]:
        return ""
    return stream.readline().strip()


def _sample(gpu: NvmlGpu, period_s: float, rows: int) -> None:
    """Write one row a period until the parent closes our standard input."""
    due_s = time.monotonic()
    first = True
    while True:
        before_s = time.monotonic()
        reading = gpu.read()
        # The reading takes a while: it belongs to the middle of the call.
        middle_s = (before_s + time.monotonic()) / 2
        row = (
            middle_s,
            reading.energy_j,
            reading.power_instant_w,
            reading.power_average_w,
            reading.sm_mhz,
            reading.memory_mhz,
            reading.temperature_c,
            float(reading.throttle),
        )
        os.write(rows, np.array(row).tobytes())
        if first:
            _say(READY)
            first = False
        due_s = max(due_s + period_s, time.monotonic())
        if select.select([sys.stdin], [], [], max(due_s - time.monotonic(), 0.0))[0]:
            return


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("gpu")
    parser.add_argument("period_s", type=float)
    parser.add_argument("rows")
    arguments = parser.parse_args()
    rows = os.open(arguments.rows, os.O_WRONLY | os.O_APPEND)
    # The parent removes the file when it stops; if it is killed instead, nobody else does.
    try:
        gpu = NvmlGpu.open(arguments.gpu)
        _sample(gpu, arguments.period_s, rows)
    except UserError as error:
        _say(str(error))
        return 2
    finally:
        os.close(rows)
        Path(arguments.rows).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
