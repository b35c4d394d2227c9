"""What ``calibrate run`` reads, held against other ways to read the same thing on the same GPU.

``run -o FILE`` needs a GPU, torch, transformers and the package zeus, takes about two minutes, and
touches no setting. ``show FILE...`` prints the tables of docs/accuracy.md from such files. A file
holds one JSON object a line: what the GPU is, then every comparison.
"""

import argparse
import datetime
import importlib.metadata
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from calibrate.bench import Engine, Point
from calibrate.torchbench import open_torch_bench
from model.work import Phase
from phasewatt.files import write_text

MODEL = "llama-3.1-8b"
DTYPE = "bfloat16"
DECODE = [Point(MODEL, Engine.CUDA_GRAPH, Phase.DECODE, b, 0, 1024, DTYPE) for b in (1, 8, 32)]
PREFILL = Point(MODEL, Engine.CUDA_GRAPH, Phase.PREFILL, 1, 512, 0, DTYPE)
EAGER = Point(MODEL, Engine.EAGER, Phase.DECODE, 8, 0, 1024, DTYPE)

ENERGY_S = 6.0
SETTLE_S = 0.8
READ_S = 0.7
DECODE_RATIOS = (0.4, 1.5, 5.0)
COPY_BYTES = 2**30
COPY_GEMMS = (0, 1, 3, 10)
GEMM_COPIES = (40, 12, 4, 2, 1, 0)
ZEROS_GEMMS = (0, 1, 2, 4, 10)
HELD_BELOW_MHZ = 1700.0
"""Above this clock a GEMM on random operands draws more than the power limit and is slowed while it
runs, which a clock that is read before and after it does not show."""


def main() -> None:
    """Run the comparisons, or show what they gave."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="compare on this GPU")
    running.add_argument("--gpu", default="0", help="NVML index")
    running.add_argument("--only", choices=list(_CHECKS), help="one kind of comparison")
    running.add_argument("-o", "--output", type=Path, required=True)
    showing = commands.add_parser("show", help="print tables of files that run wrote")
    showing.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    if options.command == "show":
        show([line for path in options.files for line in read(path)])
    else:
        lines = []
        for line in run(options.gpu, list(_CHECKS) if options.only is None else [options.only]):
            lines.append(json.dumps(line) + "\n")
            print(lines[-1], end="", file=sys.stderr, flush=True)
        write_text(options.output, "".join(lines))


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file, each with the GPU of its first one."""
    first, *others = [json.loads(line) for line in path.read_text().splitlines()]
    return [first, *({**line, "gpu": first["uuid"][:12]} for line in others)]


def run(gpu: str, checks: Sequence[str]) -> Iterable[dict[str, Any]]:
    """Yield what the GPU is, then one line for each comparison of the named kinds."""
    import torch

    from calibrate.nvml import NvmlGpu

    identity = NvmlGpu.open(gpu).identity()
    bench = open_torch_bench(identity.uuid)
    yield {
        "what": "gpu",
        "uuid": identity.uuid,
        "name": identity.name,
        "driver": identity.driver,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "torch": torch.__version__,
        "zeus": _zeus_version(),
    }
    for check in checks:
        yield from _CHECKS[check](bench, identity.uuid, int(gpu))


def sampled(bench: Any, uuid: str, index: int) -> Iterable[dict[str, Any]]:
    """Yield energies beside Zeus's, then the host's scatter while the GPU is sampled and not."""
    from calibrate.sampler import ProcessSampler

    sampler = ProcessSampler(uuid)
    sampler.start()
    try:
        yield from energies(bench, sampler, index)
        yield from host(bench, sampler)
    finally:
        sampler.stop()
    yield from host(bench, None)


def energies(bench: Any, sampler: Any, index: int) -> Iterable[dict[str, Any]]:
    """Yield our energy of a window beside that of ZeusMonitor, over the same calls."""
    from zeus.monitor import ZeusMonitor

    from calibrate.window import summarise

    zeus = ZeusMonitor(gpu_indices=[index], approx_instant_energy=False)
    for point in (DECODE[0], DECODE[2], PREFILL, EAGER):
        bench.prepare(point)
        step_s = float(np.median(bench.run(5).step_time_s))
        bench.run(math.ceil(SETTLE_S / step_s))
        zeus.begin_window("loop", sync_execution=False)
        start_s = time.monotonic()
        bench.run(math.ceil(ENERGY_S / step_s))
        end_s = time.monotonic()
        theirs = zeus.end_window("loop", sync_execution=False)
        ours = summarise(sampler.read(start_s), start_s, end_s)
        yield {
            "what": "energy",
            "load": str(point),
            "window_s": end_s - start_s,
            "ours_j": ours.power_w * (end_s - start_s),
            "ours_error_j": ours.power_se_w * (end_s - start_s),
            "zeus_s": theirs.time,
            "zeus_j": theirs.total_energy,
        }


def host(bench: Any, sampler: Any) -> Iterable[dict[str, Any]]:
    """Yield how much eager steps scatter while the sampler looks at the GPU, or does not."""
    bench.prepare(EAGER)
    bench.run(20)
    yield {
        "what": "host",
        "load": str(EAGER),
        "sampled": sampler is not None,
        "time_s": [float(np.mean(bench.run(40).step_time_s)) for _ in range(6)],
    }


def times(bench: Any, _uuid: str, _index: int) -> Iterable[dict[str, Any]]:
    """Yield our time of a step beside the wall clock's and the profiler's."""
    from torch.profiler import ProfilerActivity, profile

    for point in (*DECODE, PREFILL):
        bench.prepare(point)
        bench.run(20)
        begun_s = time.perf_counter()
        ours_s = bench.run(100).step_time_s
        wall_s = (time.perf_counter() - begun_s) / 100
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            bench.run(20)
        spans = sorted(
            (event.time_range.start, event.time_range.end)
            for event in seen.events()
            if str(event.device_type).endswith("CUDA")
        )
        yield {
            "what": "time",
            "load": str(point),
            "ours_s": float(np.mean(ours_s)),
            "wall_s": wall_s,
            # From the first kernel of the first step to the last of the last.
            "profiler_s": 1e-6 * (max(end for _, end in spans) - spans[0][0]) / 20,
        }


def decodes(bench: Any, _uuid: str, _index: int) -> Iterable[dict[str, Any]]:
    """Yield times of decode steps at the clocks that GEMMs steer to."""
    for point in DECODE:
        bench.prepare(point)
        step_s = float(np.median(bench.run(5).step_time_s))
        gemm_s = float(np.median(bench.run_mixed(3, 1).gemm_time_s))
        for ratio in DECODE_RATIOS:
            gemms = max(1, round(ratio * step_s / gemm_s))
            yield from _response(f"decode {point.batch} x 1024", bench.run_mixed, gemms)
    bench.release()


def kernels(_bench: Any, _uuid: str, _index: int) -> Iterable[dict[str, Any]]:
    """Yield times of a memory copy and of GEMMs at the clocks that load steers to.

    A GEMM on random operands draws more than the power limit allows at the highest clocks, so that
    its own clock falls while it runs; one on zeros, the same instructions, draws half.
    """
    import torch

    from calibrate.torchbench.mixture import Gemms, run_mixture

    device = torch.device("cuda")
    gemms = Gemms.allocate(torch.Generator(device).manual_seed(0))
    zeros = Gemms(*(torch.zeros_like(gemms.left) for _ in range(3)))
    copies = _Copies(torch)

    def copying(steps: int, fillers: int) -> Any:
        return run_mixture(copies.once, gemms, steps, fillers, device)

    def multiplying(steps: int, fillers: int) -> Any:
        return run_mixture(lambda: gemms.launch(1), copies, steps, fillers, device)

    def multiplying_zeros(steps: int, fillers: int) -> Any:
        return run_mixture(lambda: zeros.launch(1), gemms, steps, fillers, device)

    for fillers in COPY_GEMMS:
        yield from _response("copy", copying, fillers)
    for fillers in GEMM_COPIES:
        yield from _response("gemm", multiplying, fillers)
    for fillers in ZEROS_GEMMS:
        yield from _response("gemm of zeros", multiplying_zeros, fillers)


_CHECKS: dict[str, Callable[[Any, str, int], Iterable[dict[str, Any]]]] = {
    "sampled": sampled,
    "times": times,
    "decodes": decodes,
    "kernels": kernels,
}


def _zeus_version() -> str:
    try:
        return importlib.metadata.version("zeus")
    except importlib.metadata.PackageNotFoundError:
        return "absent"


class _Copies:
    """Copies of :data:`COPY_BYTES` from one place to another."""

    def __init__(self, torch: Any) -> None:
        self._from = torch.zeros(COPY_BYTES, dtype=torch.uint8, device="cuda")
        self._to = torch.empty_like(self._from)

    def once(self) -> None:
        self._to.copy_(self._from)

    def launch(self, count: int) -> None:
        for _ in range(count):
            self.once()


def _response(
    load: str, run_mixed: Callable[[int, int], Any], fillers: int
) -> Iterable[dict[str, Any]]:
    pilot = run_mixed(3, fillers)
    round_s = float(np.median(pilot.step_time_s + pilot.gemm_time_s))
    run_mixed(math.ceil(SETTLE_S / round_s), fillers)
    for _ in range(3):
        seen = run_mixed(max(math.ceil(READ_S / round_s), 3), fillers)
        sm_mhz = (seen.sm_mhz_before + seen.sm_mhz_after) / 2
        yield {
            "what": "response",
            "load": load,
            "fillers": fillers,
            "sm_mhz": float(np.mean(sm_mhz)),
            "time_s": float(np.mean(seen.step_time_s)),
        }


def elasticity(lines: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Return d ln time / d ln clock and the half-width of its 95% interval."""
    mhz = np.log([line["sm_mhz"] for line in lines])
    time_s = np.log([line["time_s"] for line in lines])
    fit = scipy.stats.linregress(mhz, time_s)
    half = float(fit.stderr * scipy.stats.t.ppf(0.975, len(lines) - 2))
    return float(fit.slope), half


def show(lines: Sequence[dict[str, Any]]) -> None:
    """Print one table for each kind of comparison."""
    for line in lines:
        if line["what"] == "gpu":
            about = f"driver {line['driver']}, torch {line['torch']}, zeus {line['zeus']}"
            print(f"{line['uuid'][:12]}: {line['name']}, {about}, {line['date']}")
    print(
        "\n| GPU | load | window, s | ours, J | Zeus, J | ours / Zeus |\n|---|---|--:|--:|--:|--:|"
    )
    for line in _kind(lines, "energy"):
        # Both as mean power, since the two windows begin and end microseconds apart.
        ratio = (line["ours_j"] / line["window_s"]) / (line["zeus_j"] / line["zeus_s"])
        print(
            f"| {line['gpu']} | {_short(line)} | {line['window_s']:.2f} | {line['ours_j']:.0f} "
            f"| {line['zeus_j']:.0f} | {ratio:.4f} |"
        )
    print("\n| GPU | load | events, ms | wall clock, ms | profiler, ms |\n|---|---|--:|--:|--:|")
    for line in _kind(lines, "time"):
        figures = " | ".join(f"{1e3 * line[key]:.3f}" for key in ("ours_s", "wall_s", "profiler_s"))
        print(f"| {line['gpu']} | {_short(line)} | {figures} |")
    print("\n| GPU | load | SM MHz | ms | elasticity |\n|---|---|--:|--:|--:|")
    found = list(_kind(lines, "response"))
    for gpu, load in dict.fromkeys((line["gpu"], line["load"]) for line in found):
        mine = [line for line in found if (line["gpu"], line["load"]) == (gpu, load)]
        _show_response(gpu, load, mine)
        held = [line for line in mine if line["sm_mhz"] < HELD_BELOW_MHZ]
        if load == "gemm" and len({line["fillers"] for line in held}) > 1:
            _show_response(gpu, f"gemm below {HELD_BELOW_MHZ:.0f} MHz", held)
    print("\n| GPU | eager step | sampler | ms, 40 steps each |\n|---|---|---|---|")
    for line in _kind(lines, "host"):
        each = ", ".join(f"{1e3 * part:.2f}" for part in line["time_s"])
        sampled = "on" if line["sampled"] else "off"
        print(f"| {line['gpu']} | {_short(line)} | {sampled} | {each} |")


def _show_response(gpu: str, load: str, lines: Sequence[dict[str, Any]]) -> None:
    low, high = (pick(lines, key=lambda line: line["sm_mhz"]) for pick in (min, max))
    slope, half = elasticity(lines)
    print(
        f"| {gpu} | {load} | {low['sm_mhz']:.0f} to {high['sm_mhz']:.0f} "
        f"| {1e3 * low['time_s']:.3f} to {1e3 * high['time_s']:.3f} "
        f"| {slope:+.3f} ± {half:.3f} |"
    )


def _kind(lines: Sequence[dict[str, Any]], what: str) -> Iterable[dict[str, Any]]:
    return (line for line in lines if line["what"] == what)


def _short(line: dict[str, Any]) -> str:
    return str(line["load"]).removesuffix(f" {DTYPE}").removeprefix(f"{MODEL} ")


if __name__ == "__main__":
    main()
