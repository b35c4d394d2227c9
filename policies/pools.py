"""pools: a governor for each of two pools, where one prefills and the other decodes.

In: two governors. Out: one that hands each phase to its own; and the part that a pool has of any.
"""

from dataclasses import dataclass

from model.work import Array, Phase, Work
from policies.governor import Governor


@dataclass(frozen=True)
class PoolGovernors:
    """``of_phase`` names the governor of the pool of each phase."""

    prefill: Governor
    decode: Governor
    cap_w: float | None = None

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"pools:{self.prefill.name}|{self.decode.name}"

    @property
    def idle_mhz(self) -> float | None:
        """The clock that the prefilling pool rests at."""
        return self.prefill.idle_mhz

    def of(self, phase: Phase) -> Governor:
        """Return the governor of the pool that has ``phase``."""
        return self.prefill if phase is Phase.PREFILL else self.decode

    def request_mhz(self, phase: Phase, work: Work) -> Array:
        """Return what the phase's own governor asks for."""
        return self.of(phase).request_mhz(phase, work)


def governor_of(governor: Governor, phase: Phase) -> Governor:
    """Return what governs the pool that has ``phase``: the governor itself, or its part."""
    return governor.of(phase) if isinstance(governor, PoolGovernors) else governor
