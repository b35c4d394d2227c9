"""How fast a trace is replayed, and how much memory that takes.

In: nothing; it draws synthetic traces and serves them under phase-aware clocks. Out: a line for
each fleet and length with requests a second on one core, the ratio to a bare SimPy loop of one
timeout a request in the same process, and the peak memory of the process.
"""

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import simpy

import traces
from model.calibration import load
from model.work import Phase
from simulate.metrics import measure
from simulate.prepare import prepare, queries_of, run
from simulate.scenario import Scenario
from simulate.serving import ServingAlone

CALIBRATION = "rtx3090-club3090"
LENGTHS = "prompt=lognormal:1024:0.9,output=lognormal:128:0.9"
LOAD = 0.7


def main() -> None:
    """Measure each fleet and length in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        _measure(*options.measure)
        return
    print(
        f"{'replicas':>8} {'requests':>10} {'requests/s':>12} {'bare loop/s':>12} {'ratio':>6} "
        f"{'prepare s':>10} {'replay s':>9} {'metrics s':>10} {'peak MiB':>9}"
    )
    for requests in (100_000, 1_000_000):
        for replicas in (1, 8):
            command = [sys.executable, __file__, "--measure", str(replicas), str(requests)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            bare_s, prepare_s, replay_s, metrics_s, peak_bytes = map(float, answer.split())
            print(
                f"{replicas:8} {requests:10,} {requests / replay_s:12,.0f} "
                f"{requests / bare_s:12,.0f} {bare_s / replay_s:6.2f} {prepare_s:10.2f} "
                f"{replay_s:9.2f} {metrics_s:10.2f} {peak_bytes / 2**20:9.0f}",
                flush=True,
            )


def _measure(replicas: int, requests: int) -> None:
    scenario = Scenario((), "phase-aware", replicas=replicas)
    calibration = load(CALIBRATION)
    trace = traces.load(f"synthetic:poisson,rate=1,n={requests},{LENGTHS}")
    alone = prepare("phase-aware", scenario, calibration, queries_of(trace, scenario))
    assert isinstance(alone.serving, ServingAlone)
    busy_s = sum(float(alone.serving.service[phase].time_s.sum()) for phase in Phase)
    rate = LOAD * replicas / (busy_s / requests + 2 * scenario.switch_latency_s)
    queries = queries_of(traces.scale_rate(trace, rate), scenario)
    marks = [time.perf_counter()]
    _bare(requests)
    marks.append(time.perf_counter())
    prepared = prepare("phase-aware", scenario, calibration, queries)
    marks.append(time.perf_counter())
    outcome = run(prepared, scenario, queries, replicas)
    marks.append(time.perf_counter())
    measure(outcome)
    marks.append(time.perf_counter())
    print(*(after - before for before, after in itertools.pairwise(marks)), _peak_bytes())


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
