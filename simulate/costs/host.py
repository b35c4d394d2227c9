"""The node around the GPUs as a user describes it, or as is assumed.

In: what follows ``--host-power``. Out: its power.
"""

from model.host import HostPower
from model.provenance import Kind, Origin
from phasewatt.errors import BadOption

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
