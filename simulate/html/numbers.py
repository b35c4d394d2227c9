"""Figures on the page: each carries the exact value and where in the summary it stands.

In: a summary. Out: HTML ``data`` elements.
"""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from simulate.html.units import EnergyUnit
from simulate.number import number

NONE = "-"


class Numbers:
    """Shows the figures of one run's summary."""

    def __init__(self, summary: Mapping[str, Any], run: int, energy_unit: EnergyUnit) -> None:
        self.summary = summary
        self.run = run
        self.energy_unit = energy_unit

    def raw(self, policy: int, *path: str) -> Any:
        """Return what stands at ``path`` in the policy of that number; None if nothing does."""
        found: Any = self.summary["policies"][policy]
        for step in path:
            found = found.get(step) if isinstance(found, Mapping) else None
        return found

    def of(self, policy: int, *path: str, times: float = 1.0, unit: str = "") -> Markup:
        """Return the figure at ``path``, ``times`` a factor; with three digits or so."""
        return self._shown(policy, path, lambda value: _signed(value * times) + unit, times)

    def energy(self, policy: int, *path: str, unit: bool = False) -> Markup:
        """Return the joules at ``path`` in the page's unit of energy, whose name may follow."""
        named = f" {self.energy_unit.name}" if unit else ""
        return self.of(policy, *path, times=1 / self.energy_unit.joules, unit=named)

    def count(self, policy: int, *path: str) -> Markup:
        """Return the count at ``path``."""
        return self._shown(policy, path, lambda value: f"{value:,.0f}", 1.0)

    def share(self, policy: int, *path: str, digits: int = 1) -> Markup:
        """Return the share at ``path`` in percent."""
        return self._shown(policy, path, lambda value: f"{value:.{digits}%}", 100.0)

    def less(self, policy: int, *path: str) -> Markup:
        """Return the negative share at ``path`` in percent, without its sign."""
        return self._shown(policy, path, lambda value: f"{-value:.1%}", -100.0)

    def change(self, policy: int, *path: str) -> Markup:
        """Return the relative change at ``path`` in percent, with its sign."""
        return self._shown(policy, path, lambda value: f"{value:+.1%}", 100.0)

    def energies(self, policy: int, *path: str) -> Markup:
        """Return both ends of the estimate of joules at ``path``; a dash where it has none."""
        if self.raw(policy, *path, "low") is None:
            return Markup(NONE)
        ends = (self.energy(policy, *path, end) for end in ("low", "high"))
        return Markup("{} to {}").format(*ends)

    def shares(self, policy: int, *path: str) -> Markup:
        """Return both ends of the estimate at ``path`` in percent; nothing where it has none."""
        if self.raw(policy, *path, "low") is None:
            return Markup()
        ends = (self.share(policy, *path, end) for end in ("low", "high"))
        return Markup("{} to {}").format(*ends)

    def _shown(self, policy: int, path: tuple[str, ...], words: Any, times: float) -> Markup:
        value = self.raw(policy, *path)
        if value is None:
            return Markup(NONE)
        place = ".".join(("policies", str(policy), *path))
        return Markup(
            '<data value="{}" data-run="{}" data-of="{}" data-times="{}">{}</data>'
        ).format(repr(value), self.run, place, f"{times:g}", words(value))


def _signed(value: float) -> str:
    return number(value) if value >= 0 else f"-{number(-value)}"
