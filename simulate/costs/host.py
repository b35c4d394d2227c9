"""What the node around the GPUs draws.

In: idle and active watts of a node, and how many GPUs share it. Out: watts of one GPU's share.
"""

from dataclasses import dataclass

from model.provenance import Kind, Origin
from phasewatt.errors import BadOption


@dataclass(frozen=True)
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

    @property
    def idle_gpu_w(self) -> float:
        """What one GPU's share draws at all times."""
        return self.idle_w / self.gpus

    @property
    def serving_gpu_w(self) -> float:
        """What one GPU's share draws on top while it serves."""
        return (self.active_w - self.idle_w) / self.gpus


DEFAULT_HOST = HostPower(
    1400.0,
    2800.0,
    8,
    Origin(
        Kind.ASSUMED,
        "active: a node of 8 H100s draws at most 8.4 kW (Latif et al., IEEE Access 13, 2025) less "
        "8 x 700 W; idle: half of it (Barroso and Hölzle, IEEE Computer 2007)",
    ),
)


def parse_host(text: str) -> HostPower:
    """Read ``idle=W,active=W,gpus=N``.

    Raises:
        BadOption: a word is missing, unknown or twice, or its number is unusable.
    """
    wrong = BadOption(
        f"--host-power: found {text!r}; expected idle=W,active=W,gpus=N with 0 <= idle <= active "
        "and gpus of 1 or more"
    )
    parts = [part.strip().partition("=") for part in text.split(",")]
    given = {name: value for name, _, value in parts}
    if len(given) < len(parts) or set(given) != {"idle", "active", "gpus"}:
        raise wrong
    try:
        idle_w, active_w, gpus = float(given["idle"]), float(given["active"]), int(given["gpus"])
    except ValueError:
        raise wrong from None
    if not 0 <= idle_w <= active_w < float("inf") or gpus < 1:
        raise wrong
    return HostPower(idle_w, active_w, gpus, Origin(Kind.ASSUMED, "given as --host-power"))
