"""How fast whole traces are replayed in batches, against a bare SimPy loop in the same process.

In: a calibration of a twin, fitted here unless one is given. Out: a line for each mode with
requests a second of the baseline and of one policy on one core, engine steps, the ratio to a bare
loop of one timeout a request, and the peak memory of the process.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import simpy

import traces
from model.calibration import load
from simulate.batching import Alone, Continuous, Static
from simulate.compare import compare
from simulate.scenario import Scenario

TRACE = "azure-conv-2023"
MODEL = "llama-3.1-8b"
MODES = {"none": Alone(), "static:8": Static(8), "continuous": Continuous()}
FLEETS = {"none": (16,), "static:8": (8,), "continuous": (1, 4)}


def main() -> None:
    """Measure each mode and fleet in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calibration", type=Path, help="a calibration of llama-3.1-8b")
    parser.add_argument("--measure", nargs=2, metavar=("MODE", "REPLICAS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        mode, replicas = options.measure
        _measure(options.calibration, mode, int(replicas))
        return
    with tempfile.TemporaryDirectory() as directory:
        path = options.calibration or _fitted(Path(directory) / "twin.json")
        print(
            f"{'mode':<11} {'replicas':>8} {'requests/s':>11} {'both, s':>8} {'steps':>9} "
            f"{'bare loop/s':>12} {'ratio':>7} {'peak MiB':>9}"
        )
        for mode, fleets in FLEETS.items():
            for replicas in fleets:
                command = [sys.executable, __file__, "--calibration", str(path)]
                command += ["--measure", mode, str(replicas)]
                print(
                    subprocess.run(command, check=True, capture_output=True, text=True).stdout[:-1]
                )


def _fitted(path: Path) -> Path:
    calibrate = Path(sys.executable).parent / "calibrate"
    words = ["--gpu", "twin:h100", "--models", f"llama-3.2-1b,{MODEL}", "--budget", "30m"]
    subprocess.run([calibrate, "run", *words, "-o", path], check=True, capture_output=True)
    return path


def _measure(path: Path, mode: str, replicas: int) -> None:
    calibration, trace = load(path), traces.load(TRACE)
    scenario = Scenario(
        ("phase-aware",), model=MODEL, replicas=replicas, batching=MODES[mode], draws=0
    )
    requests = 2 * len(trace)
    begun_s = time.perf_counter()
    _bare(requests)
    bare_s = time.perf_counter() - begun_s
    begun_s = time.perf_counter()
    results = compare(trace, calibration, scenario).results
    taken_s = time.perf_counter() - begun_s
    steps = sum(result.metrics.engine_steps or 0 for result in results)
    print(
        f"{mode:<11} {replicas:8} {requests / taken_s:11,.0f} {taken_s:8.2f} {steps:9,} "
        f"{requests / bare_s:12,.0f} {bare_s / taken_s:7.3f} {_peak_bytes() / 2**20:9.0f}"
    )


def _bare(events: int) -> None:
    environment = simpy.Environment()

    def ticks() -> Generator[simpy.Event, None, None]:
        for _ in range(events):
            yield environment.timeout(1.0)

    environment.process(ticks())
    environment.run()


def _peak_bytes() -> int:
    # Unlike ru_maxrss, this starts anew with each program that is run.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
