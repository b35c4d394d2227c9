"""A real NVIDIA GPU through NVML (distribution nvidia-ml-py, module pynvml, imported lazily).

In: which GPU, by index or UUID. Out: the calls of :class:`calibrate.gpu.Gpu`; every NVML error
becomes one line that says what to do.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from calibrate.gpu import (
    Capabilities,
    Capability,
    ClockRange,
    GpuProcess,
    Identity,
    Kind,
    Modes,
    PowerLimit,
    Reading,
)
from phasewatt.errors import UnsupportedGpu


class NvmlGpu:
    """A :class:`calibrate.gpu.Gpu` that is hardware. Made by :meth:`open`."""

    def __init__(self, pynvml: ModuleType, handle: Any) -> None:
        self._pynvml = pynvml
        self._handle = handle
        self._absent: set[str] = set()

    @staticmethod
    def open(which: str = "0") -> "NvmlGpu":
        """Return the GPU with the NVML index or UUID ``which``.

        Raises:
            UnsupportedGpu: no nvidia-ml-py, no NVML library, no driver, or no such GPU.
        """
        pynvml = _import()
        _call(pynvml, "start NVML", pynvml.nvmlInit)
        if which.isdecimal():
            count = _call(pynvml, "count GPUs", pynvml.nvmlDeviceGetCount)
            if int(which) >= count:
                raise UnsupportedGpu(f"no GPU {which}: NVML lists {count}; pass one of them")
            handle = _call(
                pynvml, f"open GPU {which}", pynvml.nvmlDeviceGetHandleByIndex, int(which)
            )
        else:
            handle = _call(pynvml, f"open GPU {which}", pynvml.nvmlDeviceGetHandleByUUID, which)
        return NvmlGpu(pynvml, handle)

    def count(self) -> int:
        """Return how many GPUs NVML lists on this node."""
        return int(_call(self._pynvml, "count GPUs", self._pynvml.nvmlDeviceGetCount))

    def identity(self) -> Identity:
        """Return which GPU this is."""
        capability = self._maybe("nvmlDeviceGetCudaComputeCapability")
        pci = self._must("nvmlDeviceGetPciInfo").busId
        return Identity(
            kind=Kind.MEASURED,
            name=self._must("nvmlDeviceGetName"),
            uuid=self._must("nvmlDeviceGetUUID"),
            driver=_call(
                self._pynvml, "read the driver version", self._pynvml.nvmlSystemGetDriverVersion
            ),
            pci=pci.decode() if isinstance(pci, bytes) else pci,
            vbios=self._maybe("nvmlDeviceGetVbiosVersion"),
            memory_bytes=int(self._must("nvmlDeviceGetMemoryInfo").total),
            compute_capability=None if capability is None else (capability[0], capability[1]),
        )

    def clock_range(self) -> ClockRange:
        """Return the supported clocks; SM clocks are those at the highest memory clock."""
        memory_mhz = sorted(self._maybe("nvmlDeviceGetSupportedMemoryClocks") or ())
        if not memory_mhz:
            return ClockRange((), ())
        sm_mhz = self._maybe("nvmlDeviceGetSupportedGraphicsClocks", memory_mhz[-1]) or ()
        return ClockRange(tuple(sorted(sm_mhz)), tuple(memory_mhz))

    def power_limit(self) -> PowerLimit:
        """Return the power limit in force and its constraints; NaN where not told."""
        enforced_mw = self._maybe("nvmlDeviceGetEnforcedPowerLimit")
        default_mw = self._maybe("nvmlDeviceGetPowerManagementDefaultLimit")
        bounds_mw = self._maybe("nvmlDeviceGetPowerManagementLimitConstraints") or (None, None)
        return PowerLimit(
            *(_thousandth(value) for value in (enforced_mw, default_mw, bounds_mw[0], bounds_mw[1]))
        )

    def modes(self) -> Modes:
        """Return persistence mode, and MIG mode (None on GPUs that have no MIG)."""
        persistence = self._maybe("nvmlDeviceGetPersistenceMode")
        mig = self._maybe("nvmlDeviceGetMigMode")
        return Modes(
            persistence=None
            if persistence is None
            else persistence == self._pynvml.NVML_FEATURE_ENABLED,
            mig=None if mig is None else mig[0] == self._pynvml.NVML_DEVICE_MIG_ENABLE,
        )

    def capabilities(self) -> Capabilities:
        """Return what can be read (by reading it once) and set (by looking at who we are)."""
        reading = self.read()
        lock = lock_permission()
        return Capabilities(
            energy_counter=_seen(reading.energy_j, "nvmlDeviceGetTotalEnergyConsumption"),
            power_instant=_seen(reading.power_instant_w, "NVML_FI_DEV_POWER_INSTANT"),
            power_average=_seen(reading.power_average_w, "nvmlDeviceGetPowerUsage"),
            throttle_reasons=_present(self._throttle() is not None, "clock event reasons"),
            process_list=_present(self._process_rows() is not None, "list of compute processes"),
            lock_sm_clock=lock,
            lock_memory_clock=lock,
        )

    def processes(self) -> tuple[GpuProcess, ...]:
        """Return the processes with a compute context here, this one included.

        A display server is none: it draws on the GPU but runs no kernels that we would disturb.
        """
        rows = self._process_rows() or []
        return tuple(
            GpuProcess(int(row.pid), None if row.usedGpuMemory is None else int(row.usedGpuMemory))
            for row in rows
        )

    def read(self) -> Reading:
        """Return one look at the GPU."""
        pynvml = self._pynvml
        return Reading(
            energy_j=_thousandth(self._maybe("nvmlDeviceGetTotalEnergyConsumption")),
            power_instant_w=self._instant_w(),
            power_average_w=_thousandth(self._maybe("nvmlDeviceGetPowerUsage")),
            sm_mhz=_number(self._maybe("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_SM)),
            memory_mhz=_number(self._maybe("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_MEM)),
            temperature_c=_number(
                self._maybe("nvmlDeviceGetTemperature", pynvml.NVML_TEMPERATURE_GPU)
            ),
            throttle=self._throttle() or 0,
        )

    def lock_sm_clock(self, sm_mhz: int) -> None:
        """Ask for a fixed SM clock; success does not prove that it holds."""
        self._must("nvmlDeviceSetGpuLockedClocks", sm_mhz, sm_mhz)

    def reset_sm_clock(self) -> None:
        """Give the SM clock back to the governor."""
        self._must("nvmlDeviceResetGpuLockedClocks")

    def lock_memory_clock(self, memory_mhz: int) -> None:
        """Ask for a fixed memory clock; success does not prove that it holds."""
        self._must("nvmlDeviceSetMemoryLockedClocks", memory_mhz, memory_mhz)

    def reset_memory_clock(self) -> None:
        """Give the memory clock back to the governor."""
        self._must("nvmlDeviceResetMemoryLockedClocks")

    def close(self) -> None:
        """Let go of NVML; no setting is changed."""
        _call(self._pynvml, "close NVML", self._pynvml.nvmlShutdown)

    def _must(self, function: str, *arguments: Any) -> Any:
        doing = _DOING.get(function, f"call {function}")
        return _call(self._pynvml, doing, getattr(self._pynvml, function), self._handle, *arguments)

    def _maybe(self, function: str, *arguments: Any) -> Any:
        """Return what ``function`` says, or None where this GPU or driver does not know it."""
        if function in self._absent:
            return None
        pynvml = self._pynvml
        try:
            return getattr(pynvml, function)(self._handle, *arguments)
        except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
            # Not asked again: the sampler would pay for the refusal at every sample.
            self._absent.add(function)
            return None
        except pynvml.NVMLError_NoPermission:
            return None
        except pynvml.NVMLError as error:
            raise _translated(pynvml, f"call {function}", error) from error

    def _instant_w(self) -> float:
        pynvml = self._pynvml
        values = self._maybe("nvmlDeviceGetFieldValues", [pynvml.NVML_FI_DEV_POWER_INSTANT])
        if values is None or values[0].nvmlReturn != pynvml.NVML_SUCCESS:
            return math.nan
        return _thousandth(values[0].value.uiVal)

    def _throttle(self) -> int | None:
        for function in (
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetCurrentClocksThrottleReasons",
        ):
            mask = self._maybe(function)
            if mask is not None:
                return int(mask)
        return None

    def _process_rows(self) -> list[Any] | None:
        """Return compute processes, those behind MPS included, or None if they cannot be listed."""
        rows: list[Any] | None = None
        for kind in ("Compute", "MPSCompute"):
            for version in ("_v3", "_v2"):
                found = self._maybe(f"nvmlDeviceGet{kind}RunningProcesses{version}")
                if found is not None:
                    rows = [*(rows or []), *found]
                    break
        return rows


def lock_permission() -> Capability:
    """Return whether this process may lock clocks, without trying.

    The Linux driver lets processes with CAP_SYS_ADMIN change clocks; the kernel tells whether we
    have it. True here is no promise: a hypervisor can still refuse, and only a lock would tell.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        effective = int(status.split("CapEff:")[1].split()[0], 16)
    except (OSError, IndexError, ValueError):
        return Capability(None, "cannot read this process's capabilities")
    if effective >> _CAP_SYS_ADMIN & 1:
        return Capability(None, "CAP_SYS_ADMIN held; only a lock would prove it")
    user = "root in a container that lacks" if os.geteuid() == 0 else "a user without"
    return Capability(False, f"{user} CAP_SYS_ADMIN")


_CAP_SYS_ADMIN = 21
"""linux/capability.h."""

_DOING = {
    "nvmlDeviceSetGpuLockedClocks": "lock the SM clock",
    "nvmlDeviceResetGpuLockedClocks": "reset the SM clock",
    "nvmlDeviceSetMemoryLockedClocks": "lock the memory clock",
    "nvmlDeviceResetMemoryLockedClocks": "reset the memory clock",
}


def _import() -> ModuleType:
    try:
        import pynvml
    except ImportError as error:
        raise UnsupportedGpu(
            "nvidia-ml-py is not installed: pip install 'phasewatt[gpu]', or use --gpu twin:h100"
        ) from error
    module: ModuleType = pynvml
    return module


def _call(pynvml: ModuleType, doing: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except pynvml.NVMLError as error:
        raise _translated(pynvml, doing, error) from error


def _translated(pynvml: ModuleType, doing: str, error: Any) -> UnsupportedGpu:
    """Return the one line that says what failed and what to do about it."""
    remedies = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
            "no NVML library (libnvidia-ml.so.1): install the NVIDIA driver, or in a container "
            "start it with --gpus all; or use --gpu twin:h100"
        ),
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
            "the NVIDIA driver is not loaded: load it (modprobe nvidia) or reboot"
        ),
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
            "the NVML library and the loaded driver differ in version: reboot after the update"
        ),
        pynvml.NVML_ERROR_NOT_FOUND: "no such GPU: pass an index or UUID that nvidia-smi -L lists",
        pynvml.NVML_ERROR_GPU_NOT_FOUND: "no NVIDIA GPU found by the driver: see dmesg",
        pynvml.NVML_ERROR_INVALID_ARGUMENT: (
            "the driver refused the value: pass a GPU or clock that nvidia-smi lists"
        ),
        pynvml.NVML_ERROR_NO_PERMISSION: (
            "no permission: run as root, or measure without locks by --clocks steer or observe"
        ),
        pynvml.NVML_ERROR_NOT_SUPPORTED: (
            "not supported by this GPU or driver: see `calibrate doctor`"
        ),
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "this driver is too old for that: update it",
        pynvml.NVML_ERROR_GPU_IS_LOST: (
            "the GPU is lost (it fell off the bus): reset it or reboot, then run again to resume"
        ),
        pynvml.NVML_ERROR_RESET_REQUIRED: "the GPU needs a reset: nvidia-smi -r, or reboot",
    }
    remedy = remedies.get(error.value, f"NVML says {error}")
    return UnsupportedGpu(f"cannot {doing}: {remedy}")


def _thousandth(value: int | None) -> float:
    return math.nan if value is None else value / 1000


def _number(value: int | None) -> float:
    return math.nan if value is None else float(value)


def _seen(value: float, call: str) -> Capability:
    return _present(not math.isnan(value), call)


def _present(there: bool, what: str) -> Capability:
    return Capability(there, f"{what}: {'read' if there else 'not supported here'}")
