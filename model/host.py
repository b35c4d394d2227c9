"""What the node around the GPUs draws.

In: idle and active watts of a node, and how many GPUs share it. Out: watts of one GPU's share.
"""

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from model.provenance import STRICT, Origin


@dataclass(frozen=True, config=STRICT)
class HostPower:
    """Processors, memory, fans, network and losses of a node, all but its GPUs.

    A node draws ``idle_w`` when none of its ``gpus`` GPUs serves and ``active_w`` when all do; in
    between, in proportion. A replica bears its GPUs' share of the node: the others serve others.
    Hosts are never switched off.
    """

    idle_w: float
    active_w: float
    gpus: int
    origin: Origin

    @model_validator(mode="after")
    def _sensible(self) -> "HostPower":
        if not 0 <= self.idle_w <= self.active_w:
            raise ValueError(
                f"idle_w is {self.idle_w:g} and active_w {self.active_w:g}; expected "
                "0 <= idle_w <= active_w"
            )
        if self.gpus < 1:
            raise ValueError(f"gpus is {self.gpus}; expected 1 or more")
        return self

    @property
    def idle_gpu_w(self) -> float:
        """What one GPU's share draws at all times."""
        return self.idle_w / self.gpus

    @property
    def serving_gpu_w(self) -> float:
        """What one GPU's share draws on top while it serves."""
        return (self.active_w - self.idle_w) / self.gpus
