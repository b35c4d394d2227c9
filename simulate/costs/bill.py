"""What a run took at the site: energy, money, carbon.

In: sums. Out: one frozen value, None where nobody said what a figure needs.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

from simulate.costs.signal import JOULES_PER_KWH


@dataclass(frozen=True)
class Bill:
    """One run's, or one fleet's, of ``seconds``.

    Attributes:
        seconds: what span of time it is for.
        currency: of all money in it.
        gpu_energy_j: what the GPUs drew.
        host_energy_j: what their shares of nodes drew.
        site_energy_j: both, times the PUE.
        energy_cost: of the site's energy, at the price of each moment.
        hardware_cost: the share of the hardware's price that the span is of its years.
        carbon_cost: of the operational carbon, at the price of carbon.
        carbon_kg: kg of CO2e of the site's energy, at the intensity of each moment.
        embodied_kg: the span's share of what making the hardware emitted.
    """

    seconds: float
    currency: str
    gpu_energy_j: float
    host_energy_j: float
    site_energy_j: float
    energy_cost: float | None
    hardware_cost: float | None
    carbon_cost: float | None
    carbon_kg: float | None
    embodied_kg: float | None

    @property
    def site_energy_kwh(self) -> float:
        """The site's energy in kWh."""
        return self.site_energy_j / JOULES_PER_KWH

    @property
    def cost(self) -> float | None:
        """All money that is known; None where none is."""
        return _sum(self.energy_cost, self.hardware_cost, self.carbon_cost)

    @property
    def all_carbon_kg(self) -> float | None:
        """Operational and embodied carbon, as far as known; None where neither is."""
        return _sum(self.carbon_kg, self.embodied_kg)

    def scaled(self, factor: float) -> "Bill":
        """Return the bill of ``factor`` times as long a span that goes on as this one does."""
        scaled: dict[str, Any] = {
            each.name: factor * getattr(self, each.name)
            for each in fields(self)
            if isinstance(getattr(self, each.name), float)
        }
        return replace(self, **scaled)


def _sum(*figures: float | None) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) if known else None
