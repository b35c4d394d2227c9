"""What a planner wants least of.

In: what follows ``--objective``. Out: one number for a bill, and in which unit it is.
"""

from dataclasses import dataclass

from phasewatt.errors import BadOption
from simulate.costs.bill import Bill
from simulate.costs.costs import Costs

_UNITS = {"energy": "kWh", "cost": "", "carbon": "kg CO2e"}
_NEEDS = {
    "energy": "",
    "cost": "--price, --region or --gpu-price",
    "carbon": "--carbon, --region or --embodied",
}


@dataclass(frozen=True)
class Objective:
    """A weighted sum of a bill's energy at the site (kWh), money, and carbon (kg CO2e).

    A weight is what one unit is worth: in ``cost=1,carbon=0.1`` a kilogram counts as much as a
    tenth of the currency.
    """

    weights: tuple[tuple[str, float], ...]

    @property
    def name(self) -> str:
        """As it is written after ``--objective``."""
        if len(self.weights) == 1 and self.weights[0][1] == 1:
            return self.weights[0][0]
        return ",".join(f"{name}={weight:g}" for name, weight in self.weights)

    def unit(self, currency: str) -> str:
        """Return the unit of :meth:`of`; a mix that has money in it is told as money."""
        names = [name for name, _ in self.weights]
        if "cost" in names:
            return currency
        return _UNITS[names[0]] if len(names) == 1 else "weighted"

    def of(self, bill: Bill) -> float:
        """Return the weighted sum of what ``bill`` says, of costs that :meth:`require` let pass."""
        figures = {"energy": bill.site_energy_kwh, "cost": bill.cost, "carbon": bill.all_carbon_kg}
        return sum(weight * (figures[name] or 0.0) for name, weight in self.weights)

    def require(self, costs: Costs) -> None:
        """Raise :class:`BadOption` where ``costs`` do not tell what is weighed here."""
        told = {
            "energy": True,
            "cost": costs.price is not None or bool(costs.hardware.price),
            "carbon": costs.carbon is not None or bool(costs.hardware.embodied_kg),
        }
        for name, _ in self.weights:
            if not told[name]:
                raise BadOption(
                    f"--objective {self.name}: nothing tells {name}; expected {_NEEDS[name]}"
                )


def parse_objective(text: str) -> Objective:
    """Read ``energy``, ``cost``, ``carbon``, or weights as in ``cost=1,carbon=0.1``.

    Raises:
        BadOption: an unknown or repeated name, or a weight that is not a number of more than 0.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, sign, number = part.strip().partition("=")
        try:
            weight = float(number) if sign else 1.0
        except ValueError:
            weight = float("nan")
        if name not in _UNITS or name in weights or not 0 < weight < float("inf"):
            raise BadOption(
                f"--objective: found {part!r}; expected energy, cost or carbon, each once, with "
                "=WEIGHT of more than 0 in a mix"
            )
        weights[name] = weight
    return Objective(tuple(weights.items()))
