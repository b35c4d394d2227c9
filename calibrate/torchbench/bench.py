"""A :class:`calibrate.bench.Bench` on torch: one model at a time, one prepared point at a time.

In: a device, what model names mean, a seed. Out: device times of steps, and what was used to get
them (versions, attention kernels) for the provenance.
"""

import gc
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import transformers

from calibrate.bench import Engine, MixedTimes, OutOfMemory, Point, StepTimes
from calibrate.torchbench.attention import choose_kernel
from calibrate.torchbench.cores import on_quick_core
from calibrate.torchbench.device import free_bytes, is_out_of_memory
from calibrate.torchbench.geometries import geometry_of
from calibrate.torchbench.memory import step_bytes, weight_bytes
from calibrate.torchbench.mixture import Gemms, run_mixture
from calibrate.torchbench.steps import EAGER_ATTENTION, Step, build_step
from calibrate.torchbench.stopwatch import stopwatch
from calibrate.torchbench.weights import random_model, real_model
from model.geometry import GEOMETRIES, Geometry
from phasewatt.errors import BadOption

Device = Any

DTYPES: Mapping[str, Any] = MappingProxyType(
    {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
)

WARM_UP_STEPS = 3

LEAD_S = 0.25
MAX_LEAD = 64
"""How far the host may run ahead of the device: long enough to bridge a hiccup, short enough that
Ctrl-C is soon heard."""


class TorchBench:
    """Runs transformers models; made by :func:`calibrate.torchbench.open_torch_bench`.

    ``kernels`` restricts the attention kernels of the ``cuda-graph`` engine; by default the first
    that runs is used.
    """

    def __init__(
        self,
        device: Device,
        models: Mapping[str, Geometry | str],
        seed: int,
        kernels: tuple[str, ...] | None = None,
    ) -> None:
        self._device = device
        self._models = models
        self._seed = seed
        self._kernels = kernels
        self._chosen: dict[str, set[str]] = {}
        self._loaded: _Loaded | None = None
        self._point: Point | None = None
        self._step: Step | None = None
        self._lead = 1
        self._gemms: Gemms | None = None

    def prepare(self, point: Point) -> None:
        """Load or keep the model, fill the cache, capture, warm up.

        Raises:
            OutOfMemory: the point does not fit; what was allocated for it is free again.
            BadOption: no such model or dtype.
        """
        if point == self._point:
            return
        self._drop_step()
        if not self._fits(point):
            # Not in the except clause, whose traceback keeps what was allocated alive.
            free_bytes(self._device)
            raise OutOfMemory(point)
        self._point = point

    def run(self, steps: int) -> StepTimes:
        """Run ``steps`` steps back to back; block until they are done."""
        with self._launching():
            return self._run(self._prepared(), steps, self._lead)

    def run_mixed(self, steps: int, gemms_per_step: int) -> MixedTimes:
        """Run ``gemms_per_step`` 8192-cube bf16 products before each of ``steps`` steps.

        Raises:
            OutOfMemory: the operands of the products do not fit beside the point.
        """
        gemms = self._operands() if gemms_per_step else None
        with torch.inference_mode(), uncollected(), self._launching():
            return run_mixture(
                self._prepared(), gemms, steps, gemms_per_step, self._device, self._launched
            )

    def release(self) -> None:
        """Free the point, the model and the operands of GEMMs."""
        self._drop_step()
        self._loaded = None
        self._gemms = None
        free_bytes(self._device)

    def versions(self) -> dict[str, str]:
        """Return the versions of what computed, and how each engine attended so far."""
        found = {"torch": torch.__version__, "transformers": transformers.__version__}
        if self._device.type != "cpu":
            found["cuda"] = str(torch.version.cuda)
            found["cudnn"] = str(torch.backends.cudnn.version())
        return found | {what: ", ".join(sorted(each)) for what, each in self._chosen.items()}

    def _fits(self, point: Point) -> bool:
        """Prepare ``point`` if there is memory for it; return whether there was."""
        try:
            return self._prepare(point)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return False

    def _prepare(self, point: Point) -> bool:
        if point.dtype not in DTYPES:
            raise BadOption(f"dtype {point.dtype}; expected {' or '.join(DTYPES)}")
        dtype = DTYPES[point.dtype]
        if self._loaded is None or self._loaded.key != (point.model, point.dtype):
            self._loaded = None
            source = self._source(point.model)
            geometry = source if isinstance(source, Geometry) else geometry_of(source)
            needed = weight_bytes(geometry, dtype.itemsize)
            needed += step_bytes(geometry, point, dtype.itemsize)
            if needed > free_bytes(self._device):
                return False
            self._loaded = self._load(point, geometry)
        geometry = self._loaded.geometry
        if step_bytes(geometry, point, dtype.itemsize) > free_bytes(self._device):
            return False
        generator = torch.Generator(self._device).manual_seed(self._seed)
        with torch.inference_mode():
            kernel = self._kernel(point, geometry)
            step = build_step(self._loaded.model, geometry, point, kernel, generator)
            warm_up_s = self._run(step, WARM_UP_STEPS, lead=1).step_time_s
        self._lead = min(max(math.ceil(LEAD_S / warm_up_s[-1]), 1), MAX_LEAD)
        self._step = step
        return True

    def _source(self, name: str) -> Geometry | str:
        """Return the geometry to fill with random weights, or where real ones are."""
        return self._models.get(name) or GEOMETRIES.get(name) or name

    def _load(self, point: Point, geometry: Geometry) -> "_Loaded":
        source, dtype = self._source(point.model), DTYPES[point.dtype]
        if isinstance(source, Geometry):
            model = random_model(geometry, dtype, self._device, self._seed)
        else:
            model = real_model(source, dtype, self._device)
        return _Loaded((point.model, point.dtype), geometry, model)

    def _kernel(self, point: Point, geometry: Geometry) -> str:
        if point.engine is Engine.EAGER:
            kernel = EAGER_ATTENTION
        else:
            dtype = DTYPES[point.dtype]
            kernel = choose_kernel(point.phase, geometry, dtype, self._device, self._kernels)
        self._chosen.setdefault(f"{point.engine} {point.phase} attention", set()).add(kernel)
        return kernel

    def _operands(self) -> Gemms:
        """Return the operands of GEMMs, allocated once."""
        point = self._point
        if self._gemms is None and point is not None:
            generator = torch.Generator(self._device).manual_seed(self._seed)
            try:
                self._gemms = Gemms.allocate(generator)
            except torch.OutOfMemoryError:
                self.release()
                raise OutOfMemory(point) from None
        if self._gemms is None:
            raise RuntimeError("run before prepare")
        return self._gemms

    def _prepared(self) -> Step:
        if self._step is None:
            raise RuntimeError("run before prepare")
        return self._step

    @property
    def _launched(self) -> bool:
        return self._point is not None and self._point.engine is Engine.EAGER

    def _launching(self) -> AbstractContextManager[None]:
        """Return what to run steps in: on a quick core where they wait for their launches."""
        return on_quick_core() if self._launched and self._device.type != "cpu" else nullcontext()

    def _run(self, step: Step, steps: int, lead: int) -> StepTimes:
        watch = stopwatch(self._device, lead)
        with torch.inference_mode(), uncollected():
            watch.mark()
            for _ in range(steps):
                step()
                watch.mark()
        return StepTimes(watch.spans_s())

    def _drop_step(self) -> None:
        self._point = None
        self._step = None


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep Python's garbage collector out of what is timed."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@dataclass(frozen=True)
class _Loaded:
    """The model on the device; ``key`` is its name and dtype."""

    key: tuple[str, str]
    geometry: Geometry
    model: Any
