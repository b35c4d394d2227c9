"""What owning GPUs costs and what making them emitted, spread over their years of use.

In: prices and kilograms per GPU, by calibration. Out: money and kilograms of a span of time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from model.host import HostPower
from model.provenance import Kind, Origin
from phasewatt.errors import BadOption

YEAR_S = 365 * 86400.0

AMORTISED_YEARS = 4.0
YEARS_ORIGIN = Origin(Kind.ASSUMED, "a round figure, without a source")

ANY = ""
"""The key of a figure that holds for every calibration."""


@dataclass(frozen=True)
class Kit:
    """What one replica is made of: so many GPUs of the kind that ``calibration`` names.

    ``host`` is the power of their node where the calibration has measured it.
    """

    gpus: int
    calibration: str
    host: HostPower | None = None


@dataclass(frozen=True)
class Hardware:
    """Prices and embodied kilograms of CO2e of a GPU with its share of a node, by calibration.

    Both are spread evenly over ``years`` of 365 days, whether the GPU serves or not: an idle one
    costs as much as a busy one.
    """

    price: Mapping[str, float] = field(default_factory=dict)
    embodied_kg: Mapping[str, float] = field(default_factory=dict)
    years: float = AMORTISED_YEARS
    years_origin: Origin = YEARS_ORIGIN

    def require(self, kit: Kit) -> None:
        """Raise :class:`BadOption` where others have a figure and ``kit`` has none."""
        self.cost(kit, 0.0)
        self.embodied(kit, 0.0)

    def cost(self, kit: Kit, seconds: float) -> float | None:
        """Return what ``seconds`` of one replica of ``kit`` cost; None without prices."""
        return self._share("--gpu-price", self.price, kit, seconds)

    def embodied(self, kit: Kit, seconds: float) -> float | None:
        """Return the kg of CO2e of ``seconds`` of one replica of ``kit``; None without figures."""
        return self._share("--embodied", self.embodied_kg, kit, seconds)

    def _share(
        self, option: str, of: Mapping[str, float], kit: Kit, seconds: float
    ) -> float | None:
        if not of:
            return None
        each = of.get(kit.calibration, of.get(ANY))
        if each is None:
            raise BadOption(f"{option}: found {', '.join(of)}; expected {kit.calibration}=, too")
        return each * kit.gpus * seconds / (self.years * YEAR_S)


def parse_by_calibration(option: str, texts: Sequence[str]) -> dict[str, float]:
    """Read ``30000``, or ``NAME=30000`` for the calibration NAME, each once.

    Raises:
        BadOption: one is written otherwise, or twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, sign, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not 0 <= value < float("inf") or (sign and not name) or name in found:
            raise BadOption(
                f"{option}: found {text!r}; expected a number of 0 or more, or CALIBRATION=NUMBER, "
                "each once"
            )
        found[name] = value
    return found
