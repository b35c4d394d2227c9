"""What processors and memory of the node draw, from Intel's and AMD's RAPL counters in Linux.

In: the counters of /sys/class/powercap. Out: joules between two looks; None where there are none
that this user may read (since CVE-2020-8694 that takes root, or a permission granted to the files).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")

MICROJOULES = 1e6


@dataclass(frozen=True)
class Counter:
    """One zone: the file of its microjoules, and where that starts over from 0."""

    energy: Path
    range_uj: int


@dataclass(frozen=True)
class Rapl:
    """The counters of a node whose NVML lists ``gpus`` GPUs: each package, and memory beside it."""

    counters: tuple[Counter, ...]
    gpus: int

    def look(self) -> Mapping[Path, int]:
        """Return what every counter says now, in microjoules; nothing where one fails to be read.

        A counter that no longer answers is no reason to end a campaign of hours.
        """
        try:
            return {each.energy: int(each.energy.read_text()) for each in self.counters}
        except (OSError, ValueError):
            return {}

    def mean_w(
        self, before: Mapping[Path, int], after: Mapping[Path, int], seconds: float
    ) -> float | None:
        """Return mean watts between two looks ``seconds`` apart; None where one of them failed.

        A counter that fell has started over, once: at 400 W one of 262 kJ does so in ten minutes.
        """
        if not before or not after or seconds <= 0:
            return None
        used_uj = sum(
            (after[each.energy] - before[each.energy]) % (each.range_uj + 1)
            for each in self.counters
        )
        return used_uj / MICROJOULES / seconds


def open_rapl(gpus: int, root: Path = POWERCAP) -> Rapl | None:
    """Return the counters below ``root`` that can be read; None where a package cannot.

    Packages hold their cores; memory (``dram``) is beside them on servers. The zone ``psys`` of
    some machines holds everything once more, and is left out.
    """
    counters = []
    for zone in sorted(root.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            if not (name.startswith("package") or name == "dram"):
                continue
            int((zone / "energy_uj").read_text())
            range_uj = int((zone / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            return None
        counters.append(Counter(zone / "energy_uj", range_uj))
    return Rapl(tuple(counters), gpus) if counters else None
