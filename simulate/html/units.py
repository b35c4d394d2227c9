"""The unit in which a page tells energies, so that they are neither tiny nor huge.

In: the largest energy. Out: kWh for what people pay for, kJ or J for small replays.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class EnergyUnit:
    """A unit of energy: its name, and its joules."""

    name: str
    joules: float


_UNITS = (EnergyUnit("kWh", 3.6e6), EnergyUnit("kJ", 1e3), EnergyUnit("J", 1.0))

_LEAST = 0.05
"""How much of a unit is worth telling in it."""


def energy_unit(most_j: float) -> EnergyUnit:
    """Return the largest unit of which ``most_j`` is not a small part."""
    return next((unit for unit in _UNITS if most_j >= _LEAST * unit.joules), _UNITS[-1])
