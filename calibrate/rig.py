"""What a campaign measures with, in one bundle: GPU, bench, sampler and the clock that they keep.

In: which GPU, hardware by index or UUID, or a twin by name. Out: a :class:`Rig`; nothing runs on
the GPU until its bench is opened.
"""

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from calibrate.bench import Bench, Clock, MonotonicClock
from calibrate.gpu import Gpu, Identity
from calibrate.nvml import NvmlGpu
from calibrate.rapl import Rapl, open_rapl
from calibrate.sampler import ProcessSampler, Sampler
from calibrate.twin import (
    Faults,
    TwinBench,
    TwinGpu,
    TwinSampler,
    VirtualClock,
    step_cost,
    twin_truth,
)
from model.geometry import GEOMETRIES, Geometry

TWIN = "twin:"

NONE: Mapping[str, Geometry] = MappingProxyType({})


@dataclass(frozen=True)
class Rig:
    """Where a campaign runs.

    Attributes:
        gpu: the GPU.
        identity: who it is, asked once.
        clock: the clock that sampler and measurements share.
        sampler: looks at the GPU; not started yet.
        open_bench: makes the context on the GPU and returns the bench.
        software: versions of what measures, known without importing it.
        renew: called before record ``n`` of a log with when the last one ended, and how warm the
            GPU was then; None before the first. A twin goes on from there, by a seed of its own
            for each record, so that a resumed run equals one that was never stopped. Hardware is
            where it is.
        host: counters of what the node draws besides; None where none can be read.
    """

    gpu: Gpu
    identity: Identity
    clock: Clock
    sampler: Sampler
    open_bench: Callable[[], Bench]
    software: Mapping[str, str]
    renew: Callable[[int, tuple[float, float] | None], None]
    host: Rapl | None = None


def open_rig(which: str, seed: int, shapes: Mapping[str, Geometry] = NONE) -> Rig:
    """Return the rig of a twin (``twin:NAME``), or of the GPU with that NVML index or UUID.

    ``shapes`` are those of models that are not built in.

    Raises:
        UnsupportedGpu: no such twin or GPU, or no driver; one line says what to install or pass.
    """
    return twin_rig(which, seed, shapes) if which.startswith(TWIN) else real_rig(which, shapes)


def open_gpu(which: str) -> Gpu:
    """Return the GPU alone, for who only looks at it.

    Raises:
        UnsupportedGpu: as :func:`open_rig`.
    """
    return twin_rig(which, 0).gpu if which.startswith(TWIN) else NvmlGpu.open(which)


def twin_rig(
    name: str,
    seed: int,
    shapes: Mapping[str, Geometry] = NONE,
    faults: Faults | None = None,
) -> Rig:
    """Return the rig of a simulated GPU; ``faults`` are for tests.

    Raises:
        UnsupportedGpu: no such twin.
    """
    truth, clock = twin_truth(name), VirtualClock()
    chances = np.random.default_rng(seed).spawn(3)
    gpu = TwinGpu(truth, clock, chances[0], faults)
    known = {**GEOMETRIES, **shapes}
    bench = TwinBench(gpu, lambda point: step_cost(point, known), chances[1])
    sampler = TwinSampler(gpu, chances[2])

    def renew(record: int, last: tuple[float, float] | None) -> None:
        ended_s, temperature_c = last or (clock.now_s(), gpu.temperature_c)
        chances = np.random.default_rng((seed, record)).spawn(3)
        clock.set(ended_s)
        gpu.renew(chances[0], temperature_c)
        bench.renew(chances[1])
        sampler.renew(chances[2])

    return Rig(gpu, gpu.identity(), clock, sampler, lambda: bench, {}, renew)


def real_rig(which: str, shapes: Mapping[str, Geometry] = NONE) -> Rig:
    """Return the rig of a real GPU, with torch as its bench.

    A model whose name is a file, its ``config.json``, runs with random weights of that shape; any
    other that is not built in is loaded from the folder or the hub that its name says.

    Raises:
        UnsupportedGpu: nvidia-ml-py, the driver or the GPU is missing.
    """
    gpu = NvmlGpu.open(which)
    identity = gpu.identity()

    def open_bench() -> Bench:
        from calibrate.torchbench import open_torch_bench

        weightless = {name: shape for name, shape in shapes.items() if Path(name).is_file()}
        return open_torch_bench(identity.uuid, weightless)

    return Rig(
        gpu=gpu,
        identity=identity,
        clock=MonotonicClock(),
        sampler=ProcessSampler(identity.uuid),
        open_bench=open_bench,
        software=_versions(("torch", "transformers", "nvidia-ml-py")),
        renew=lambda _record, _last: None,
        host=open_rapl(gpu.count()),
    )


def _versions(names: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
