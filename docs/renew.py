"""Run the commands whose output the documentation shows, and put that output in its place.

In: blocks between ``<!-- output of: COMMAND -->`` and ``<!-- end -->`` in Markdown files. Out: the
same files with fresh output, and fresh pictures in docs/img.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"<!-- output of: (?P<command>.+?) -->\n```text\n(?P<text>.*?)```", re.DOTALL)

PICTURES = {
    "energy-latency.png": "simulate --trace azure-conv-2023 --policy phase-aware "
    "--policy fixed:1545 --policy fixed:1755 --output out",
    "sweep.png": "simulate sweep --trace azure-conv-2023 --limit 5000 --output out",
    "reproduction.png": "simulate reproduce 2501.08219 --output out",
    "phase-aware-under-batching.png": f"python {ROOT / 'docs' / 'phase_aware.py'}",
    "routing.png": "calibrate difficulty eval cascades --plot out/routing.png",
    "regimes-cuda-graph.png": "calibrate regimes h100-sxm --engine cuda-graph "
    "--plot out/regimes-cuda-graph.png",
    "regimes-eager.png": "calibrate regimes h100-sxm --engine eager --plot out/regimes-eager.png",
    "curves.png": "calibrate show rtx3090-club3090 --plot out/curves.png",
}
"""Pictures in docs/img, each with the command that writes it under ``out``."""


LENT = (
    "benchmarks/cross_checks.py",
    "model/shipped/logs",
    "tests/calibrate/h100",
)
"""What commands of the pages read, by its path from the root of the repository."""


def furnish(directory: Path) -> None:
    """Put what the pages take for granted into ``directory``, as a reader would have it."""
    for name in LENT:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).symlink_to(ROOT / name)
    for name in ("rtx3090-club3090.csv", "rtx3090-club3090.toml"):
        shutil.copy(ROOT / "model" / "shipped" / name, directory)


def output(command: str, directory: Path) -> str:
    """Return what ``command`` prints on standard output when run in ``directory``."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        shlex.split(command),
        cwd=directory,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Yield each command of ``page`` whose output is shown, and the output shown."""
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield match["command"], match["text"]


def renew(page: Path, directory: Path) -> None:
    """Replace every shown output of ``page`` by a fresh one."""

    def fresh(match: re.Match[str]) -> str:
        command = match["command"]
        return f"<!-- output of: {command} -->\n```text\n{output(command, directory)}```"

    page.write_text(BLOCK.sub(fresh, page.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> None:
    """Renew all pages and pictures."""
    for page in PAGES:
        with tempfile.TemporaryDirectory() as directory:
            furnish(Path(directory))
            renew(page, Path(directory))
    for name, command in PICTURES.items():
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "out").mkdir()
            output(command, Path(directory))
            shutil.copy(Path(directory) / "out" / name, ROOT / "docs" / "img" / name)


if __name__ == "__main__":
    main()
