"""Builds the stand-in NVML library and runs the real code against it in processes of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PATIENCE_S = 15.0


@dataclass
class Standin:
    """One simulated machine: its faults, its log of locks, and where records of locks are kept."""

    library: Path
    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.library),
            "NVML_STANDIN": str(self.directory),
            "XDG_STATE_HOME": str(self.directory / "state"),
        }

    @property
    def records(self) -> list[Path]:
        return list((self.directory / "state").rglob("*.json"))

    @property
    def calls(self) -> list[tuple[str, int]]:
        """Every lock and reset so far: which, and the clock in MHz (0 for a reset)."""
        return [(what, int(mhz)) for what, mhz, _ in self._log()]

    @property
    def callers(self) -> list[int]:
        return [int(pid) for _, _, pid in self._log()]

    @property
    def sm_mhz(self) -> int:
        """The clock that is locked now, 0 for none."""
        path = self.directory / "sm"
        return int(path.read_text()) if path.exists() else 0

    def fail(self, *words: str) -> None:
        (self.directory / "faults").write_text(" ".join(words))

    def start(self, *arguments: str, session: bool = False) -> subprocess.Popen[str]:
        """Start ``child.py`` with ``arguments``."""
        return subprocess.Popen(
            [sys.executable, str(HERE / "child.py"), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=session,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run ``child.py`` with ``arguments``; return exit code, output and error output."""
        child = self.start(*arguments)
        out, err = child.communicate(timeout=4 * PATIENCE_S)
        return child.returncode, out, err

    def _log(self) -> list[list[str]]:
        path = self.directory / "log"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def until(condition: Callable[[], bool]) -> bool:
    """Wait for ``condition``; return whether it came true in time."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > give_up_s:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("nvml")
    built = directory / "libnvidia-ml.so.1"
    source = HERE / "nvml_standin.c"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", str(built), str(source)], check=True)
    return directory


@pytest.fixture
def standin(library: Path, tmp_path: Path) -> Iterator[Standin]:
    machine = Standin(library, tmp_path)
    machine.fail()
    yield machine
    # The watchdogs of killed children end by themselves; none may outlive its test.
    assert until(lambda: not _watchdogs(str(tmp_path)))


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], bool]:
    return until


def _watchdogs(mark: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "calibrate.watchdog" in command and mark in command:
            found.append(command)
    return found
