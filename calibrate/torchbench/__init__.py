"""The real bench: transformers models on torch, in two engines, on a GPU or on the CPU.

In: a device and what model names mean. Out: a :class:`calibrate.bench.Bench`. Importing this
package needs neither torch nor transformers; opening a bench does.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from calibrate.torchbench.geometries import geometry_of
from model.geometry import Geometry
from phasewatt.errors import UnsupportedGpu

if TYPE_CHECKING:
    from calibrate.torchbench.bench import TorchBench

__all__ = ["geometry_of", "open_torch_bench"]


def open_torch_bench(
    device: str = "cuda",
    models: Mapping[str, Geometry | str] = MappingProxyType({}),
    seed: int = 0,
) -> "TorchBench":
    """Return a bench on ``device``: "cpu", "cuda", "cuda:N" or the UUID that NVML gives a GPU.

    Pass the UUID to load the GPU that NVML reads: CUDA_VISIBLE_DEVICES and CUDA's order renumber
    GPUs for torch alone. ``models`` says what names beside those of the built-in geometries mean:
    a geometry, to be filled with random weights drawn from ``seed``, or a folder or a name on the
    Hugging Face hub with weights to load.

    Raises:
        UnsupportedGpu: torch or transformers is missing, or torch does not see the device.
    """
    try:
        import torch
        import transformers
    except ModuleNotFoundError as missing:
        raise UnsupportedGpu(
            f"measuring needs {missing.name}; pip install 'phasewatt[gpu]'"
        ) from None
    except ImportError as broken:
        reason = str(broken).strip().partition("\n")[0]
        raise UnsupportedGpu(f"torch or transformers cannot be imported: {reason}") from None
    del torch, transformers
    from calibrate.torchbench.bench import TorchBench
    from calibrate.torchbench.device import find_device

    return TorchBench(find_device(device), models, seed)
