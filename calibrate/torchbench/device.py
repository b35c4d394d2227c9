"""Which device torch computes on, and how much of its memory is free.

In: a device as torch or NVML names it. Out: a torch device, made current, and byte counts.
"""

import gc
import math
from typing import Any

import torch

from phasewatt.errors import UnsupportedGpu

Device = Any


def find_device(which: str) -> Device:
    """Return the torch device ``which``: "cpu", "cuda", "cuda:N" or a UUID from NVML.

    The device becomes torch's current one, since events and streams belong to the current device.

    Raises:
        UnsupportedGpu: torch does not see it.
    """
    if which == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UnsupportedGpu(
            f"torch {torch.__version__} sees no CUDA GPU; install a torch built for CUDA that "
            "this driver supports, or unset CUDA_VISIBLE_DEVICES"
        )
    count = torch.cuda.device_count()
    if which.startswith("GPU-"):
        uuids = [f"GPU-{torch.cuda.get_device_properties(each).uuid}" for each in range(count)]
        if which not in uuids:
            raise UnsupportedGpu(
                f"torch does not see {which}, only {', '.join(uuids)}; set "
                f"CUDA_VISIBLE_DEVICES={which}"
            )
        index = uuids.index(which)
    else:
        kind, _, number = which.partition(":")
        if kind != "cuda" or not (number.isdecimal() or not number):
            raise UnsupportedGpu(f"device {which}; expected cpu, cuda, cuda:N or GPU-UUID")
        index = int(number or 0)
        if index >= count:
            raise UnsupportedGpu(f"no device {which}: torch sees {count}, counted from 0")
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def free_bytes(device: Device) -> float:
    """Return the bytes that can be allocated on ``device`` now; infinite on the CPU.

    What torch has freed but kept is given back to the driver first.
    """
    gc.collect()
    if device.type == "cpu":
        return math.inf
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return float(free)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether ``error`` says that memory ran out, in torch or in a library under it."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    words = str(error)
    return "out of memory" in words or "ALLOC_FAILED" in words
