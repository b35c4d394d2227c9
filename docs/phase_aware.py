"""Draw where the saving of phase-aware clocks goes as batches mix, and print it as a table.

In: a calibration, the one that is named here. Out: ``out/phase-aware-under-batching.png`` in the
present directory, and a line for each way of batching and load on standard output.
"""

from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

import traces
from model.calibration import Calibration, load
from simulate.batching import Batching, parse_batching
from simulate.compare import compare
from simulate.scenario import Scenario

CALIBRATION = "h100-sxm"
"""Name of a shipped calibration."""

MODEL = "llama-3.1-8b"
REQUESTS = 600
LOADS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Requests a second and GPU."""

CAPACITY = {"none": 0.45, "static:8": 1.6}
"""Where queues begin to grow without bound, roughly: beyond, energy is that of a full replica."""


class Line(NamedTuple):
    """One line of the plot."""

    label: str
    batching: str
    policy: str
    switch_latency_s: float
    style: str


LINES = (
    Line("none", "none", "phase-aware", 0.02, "C0o-"),
    Line("static:8", "static:8", "phase-aware", 0.02, "C1s-"),
    Line("continuous", "continuous", "phase-aware", 0.02, "C3^-"),
    Line("continuous, free switches", "continuous", "phase-aware", 0.0, "C3^:"),
    Line(
        "continuous, one clock where two do not pay",
        "continuous",
        "phase-aware-amortised",
        0.02,
        "C4v--",
    ),
    Line("disaggregated:1:1", "disaggregated:1:1", "phase-aware", 0.02, "C2D-"),
)


def main() -> None:
    """Replay every line at every load that its batching can bear."""
    calibration = load(CALIBRATION)
    trace = traces.limit(traces.load("azure-conv-2023"), REQUESTS)
    rate = len(trace) / trace.duration_s
    figure, (above, below) = plt.subplots(2, sharex=True, figsize=(7, 6), height_ratios=(3, 2))
    print(f"{'batching':<43}{'load':>6}{'saving':>9}{'switching':>11}{'TPOT p95':>10}")
    for line in LINES:
        batching = parse_batching(line.batching)
        gpus = 2 if line.batching.startswith("disaggregated") else 1
        loads = [x for x in LOADS if x <= CAPACITY.get(line.batching, max(LOADS))]
        savings, switchings = [], []
        for per_gpu in loads:
            scaled = traces.scale_rate(trace, per_gpu * gpus / rate)
            saving, switching, slower = _replay(scaled, calibration, batching, line)
            savings.append(100 * saving)
            switchings.append(100 * switching)
            print(f"{line.label:<43}{per_gpu:>6g}{saving:>9.1%}{switching:>11.1%}{slower:>+10.1%}")
        above.plot(loads, savings, line.style, label=line.label)
        below.plot(loads, switchings, line.style)
    above.set_ylabel("energy saved against\nmax-frequency, %")
    below.set_ylabel("energy in switching, %")
    below.set_xlabel("requests a second and GPU")
    below.set_xscale("log")
    above.axhline(0, color="0.7", lw=0.8)
    above.legend(fontsize=8)
    figure.tight_layout()
    Path("out").mkdir(exist_ok=True)
    figure.savefig("out/phase-aware-under-batching.png", dpi=110, metadata={"Software": None})


def _replay(
    trace: traces.Trace, calibration: Calibration, batching: Batching, line: Line
) -> tuple[float, float, float]:
    """Return the energy saved, the share of energy in switching, and the change of TPOT p95."""
    scenario = Scenario(
        (line.policy,),
        model=MODEL,
        replicas=None if line.batching.startswith("disaggregated") else 1,
        batching=batching,
        switch_latency_s=line.switch_latency_s,
        draws=0,
    )
    _, result = compare(trace, calibration, scenario).results
    by_state = result.metrics.energy_by_state_j
    switching = by_state["switching"] / result.metrics.energy_j
    return result.saving.value, switching, result.latency_change["tpot_p95"].value


if __name__ == "__main__":
    main()
