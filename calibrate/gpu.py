"""What measuring asks of a GPU: the seam between the campaign and NVML or the twin.

In: nothing but the calls of :class:`Gpu`. Out: frozen values with units in their names. Two real
sides: :class:`calibrate.nvml.NvmlGpu` and :class:`calibrate.twin.TwinGpu`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol


class Kind(StrEnum):
    """Whether figures come from hardware or from a simulated GPU; written into every provenance."""

    MEASURED = "measured"
    TWIN = "twin"


@dataclass(frozen=True)
class Identity:
    """Which GPU this is.

    Attributes:
        kind: hardware or twin.
        name: marketing name as the driver gives it; a twin's name contains "twin".
        uuid: stable identifier, the same after a reboot.
        driver: version of the driver.
        pci: PCI bus id.
        vbios: firmware version, None where the driver does not tell.
        memory_bytes: size of the device memory.
        compute_capability: (major, minor), None where the driver does not tell.
    """

    kind: Kind
    name: str
    uuid: str
    driver: str
    pci: str
    vbios: str | None
    memory_bytes: int
    compute_capability: tuple[int, int] | None


@dataclass(frozen=True)
class ClockRange:
    """The clocks that can be asked for, ascending; empty where the driver does not list them."""

    sm_mhz: tuple[int, ...]
    memory_mhz: tuple[int, ...]

    def nearest_sm_mhz(self, sm_mhz: float) -> int:
        """Return the supported SM clock nearest to ``sm_mhz``; itself if none is listed."""
        return min(self.sm_mhz, key=lambda clock: abs(clock - sm_mhz), default=round(sm_mhz))


@dataclass(frozen=True)
class PowerLimit:
    """The board power limit in force, and the range in which an administrator may set it."""

    enforced_w: float
    default_w: float
    minimum_w: float
    maximum_w: float


@dataclass(frozen=True)
class Modes:
    """Settings that change what a measurement means; None where the driver does not tell."""

    persistence: bool | None
    mig: bool | None


@dataclass(frozen=True)
class GpuProcess:
    """A process that holds a context on the GPU; ``memory_bytes`` is None where hidden."""

    pid: int
    memory_bytes: int | None


@dataclass(frozen=True)
class Reading:
    """One look at the GPU; a figure that this GPU does not give is NaN.

    Attributes:
        energy_j: the total-energy counter since the driver was loaded.
        power_instant_w: instantaneous board power.
        power_average_w: board power averaged over the past second (Ampere and later).
        sm_mhz: SM clock now.
        memory_mhz: memory clock now.
        temperature_c: temperature of the GPU die.
        throttle: bit mask of why the clock is below its maximum; see :func:`throttle_words`.
    """

    energy_j: float
    power_instant_w: float
    power_average_w: float
    sm_mhz: float
    memory_mhz: float
    temperature_c: float
    throttle: int


@dataclass(frozen=True)
class Capability:
    """Whether something works here: True, False, or None if only trying would tell; and why."""

    available: bool | None
    reason: str


@dataclass(frozen=True)
class Capabilities:
    """What this GPU, driver and user allow, found without changing any setting."""

    energy_counter: Capability
    power_instant: Capability
    power_average: Capability
    throttle_reasons: Capability
    process_list: Capability
    lock_sm_clock: Capability
    lock_memory_clock: Capability


class Gpu(Protocol):
    """A GPU that can be read, and whose clocks can be locked where permission allows.

    Every method raises :class:`phasewatt.errors.UnsupportedGpu` with one line that says what to do
    when the driver refuses. Lock and reset change the GPU for everybody who uses it: go through
    :mod:`calibrate.clocks`, which always restores.
    """

    def identity(self) -> Identity:
        """Return which GPU this is."""
        ...

    def clock_range(self) -> ClockRange:
        """Return the SM and memory clocks that can be asked for."""
        ...

    def power_limit(self) -> PowerLimit:
        """Return the power limit in force and its constraints."""
        ...

    def modes(self) -> Modes:
        """Return persistence and MIG mode."""
        ...

    def capabilities(self) -> Capabilities:
        """Return what can be read and set here, without setting anything."""
        ...

    def processes(self) -> tuple[GpuProcess, ...]:
        """Return every process that holds a context on the GPU, this one included."""
        ...

    def read(self) -> Reading:
        """Return one look at counter, power, clocks, temperature and throttle reasons."""
        ...

    def lock_sm_clock(self, sm_mhz: int) -> None:
        """Ask for a fixed SM clock; success does not prove that it holds."""
        ...

    def reset_sm_clock(self) -> None:
        """Give the SM clock back to the governor."""
        ...

    def lock_memory_clock(self, memory_mhz: int) -> None:
        """Ask for a fixed memory clock; success does not prove that it holds."""
        ...

    def reset_memory_clock(self) -> None:
        """Give the memory clock back to the governor."""
        ...

    def close(self) -> None:
        """Let go of the driver; no setting is changed."""
        ...


THROTTLE_IDLE = 0x1
THROTTLE_POWER_CAP = 0x4

THROTTLE_WORDS: Mapping[int, str] = MappingProxyType(
    {
        THROTTLE_IDLE: "idle",
        0x2: "application clocks",
        THROTTLE_POWER_CAP: "power cap",
        0x8: "hardware slowdown",
        0x10: "sync boost",
        0x20: "software thermal slowdown",
        0x40: "hardware thermal slowdown",
        0x80: "hardware power brake",
        0x100: "display clocks",
        0x200: "board limit",
        0x400: "reliability voltage",
    }
)
"""Bits of nvmlClocksEventReasons in nvml.h, in words."""


def throttle_words(throttle: int) -> tuple[str, ...]:
    """Return the reasons in a throttle bit mask as words; unknown bits as ``bit N``."""
    bits = (1 << n for n in range(throttle.bit_length()))
    return tuple(
        THROTTLE_WORDS.get(bit, f"bit {bit.bit_length() - 1}") for bit in bits if throttle & bit
    )
