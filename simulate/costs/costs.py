"""What turns joules and time into money and carbon.

In: prices, intensities, PUE, host power, hardware. Out: bills of runs, or of rates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from model.host import HostPower
from model.provenance import Kind, Origin
from model.work import Array
from simulate.costs.bill import Bill
from simulate.costs.hardware import Hardware, Kit
from simulate.costs.host import DEFAULT_HOST
from simulate.costs.signal import Signal
from simulate.meter import SERVING
from simulate.power import clipped

if TYPE_CHECKING:
    from simulate.outcome import Outcome

DEFAULT_PUE = 1.56
PUE_ORIGIN = Origin(
    Kind.ASSUMED,
    "the average of the Uptime Institute's Global Data Center Survey 2024; new large sites have "
    "less",
)

GRAMS_PER_KG = 1e3
KG_PER_T = 1e3


@dataclass(frozen=True)
class Rate:
    """``replicas`` replicas of ``kit`` as an analysis sees them.

    ``gpu_power_w`` is the mean power of one replica's GPUs together, ``serving`` the share of the
    time that it serves.
    """

    kit: Kit
    replicas: float
    gpu_power_w: float
    serving: float


@dataclass(frozen=True)
class Costs:
    """Everything that a bill needs besides the run.

    Attributes:
        currency: of all money.
        price: of a kWh; None: energy costs nothing that is known.
        carbon: grams of CO2e per kWh; None: unknown.
        carbon_price: currency per tonne of operational CO2e; None: carbon costs nothing.
        pue: energy of the site over that of its nodes.
        pue_origin: where the PUE is from.
        host: what nodes draw besides their GPUs; None: what their calibration has measured, or
            else :data:`simulate.costs.host.DEFAULT_HOST`.
        hardware: what owning GPUs costs.
    """

    currency: str = "USD"
    price: Signal | None = None
    carbon: Signal | None = None
    carbon_price: float | None = None
    pue: float = DEFAULT_PUE
    pue_origin: Origin = PUE_ORIGIN
    host: HostPower | None = None
    hardware: Hardware = field(default_factory=Hardware)

    def require_cover(self, from_s: float, to_s: float) -> None:
        """Raise :class:`OutOfRange` where prices or intensities are unknown then."""
        for signal in (self.price, self.carbon):
            if signal is not None:
                signal.at([from_s, to_s])

    def bill(self, outcome: "Outcome", kits: Sequence[Kit], since_s: float = 0.0) -> Bill:
        """Return the bill of a run from ``since_s`` to its end; ``kits`` are of its groups.

        Raises:
            OutOfRange: a price or an intensity does not cover the run.
            BadOption: a group's hardware has no price where others have.
        """
        seconds = outcome.makespan_s - since_s
        intervals = outcome.replayed.intervals
        if since_s > 0:
            intervals = clipped(intervals, since_s, outcome.makespan_s)
        serves = np.isin(intervals.state, list(SERVING))
        more_w = _of_replicas(outcome, [k.gpus * self.host_of(k).serving_gpu_w for k in kits])
        host_w = np.where(serves, more_w[intervals.replica], 0.0)
        always_w = float(
            _of_replicas(outcome, [k.gpus * self.host_of(k).idle_gpu_w for k in kits]).sum()
        )
        host_j = always_w * seconds + float((host_w * intervals.duration_s).sum())

        def over(signal: Signal | None) -> float | None:
            if signal is None:
                return None
            drawn = signal.integral(
                intervals.start_s, intervals.duration_s, intervals.power_w + host_w
            )
            return self.pue * (drawn + signal.integral(since_s, seconds, always_w))

        sizes = [len(group.replicas) for group in outcome.groups]
        return self._bill(
            seconds,
            float(intervals.energy_j.sum()),
            host_j,
            over(self.price),
            over(self.carbon),
            list(zip(kits, sizes, strict=True)),
        )

    def bill_of_rates(self, rates: Sequence[Rate], seconds: float) -> Bill:
        """Return the bill of ``seconds`` from 0 s on of replicas that draw level power.

        Where price or intensity vary, their means over the span count.

        Raises:
            OutOfRange, BadOption: as :meth:`bill` does.
        """
        gpu_w = sum(rate.replicas * rate.gpu_power_w for rate in rates)
        host_w = sum(
            rate.replicas * rate.kit.gpus * _share_w(self.host_of(rate.kit), rate.serving)
            for rate in rates
        )

        def over(signal: Signal | None) -> float | None:
            if signal is None:
                return None
            return self.pue * signal.integral(0.0, seconds, gpu_w + host_w)

        return self._bill(
            seconds,
            gpu_w * seconds,
            host_w * seconds,
            over(self.price),
            over(self.carbon),
            [(rate.kit, rate.replicas) for rate in rates],
        )

    def site_power_w(
        self, gpu_power_w: float, gpus: float, serving: float = 1.0, host: HostPower | None = None
    ) -> float:
        """Return the site's power where ``gpus`` GPUs draw ``gpu_power_w`` together.

        ``serving`` is the share of them that serves; ``host`` that of their nodes
        (:meth:`host_of`), or else what is given or assumed.
        """
        host_w = gpus * _share_w(host or self.host or DEFAULT_HOST, serving)
        return self.pue * (gpu_power_w + host_w)

    def host_of(self, kit: Kit) -> HostPower:
        """Return the power of the nodes of ``kit``: given, else measured, else assumed."""
        return self.host or kit.host or DEFAULT_HOST

    @property
    def origins(self) -> dict[str, Origin]:
        """Where each figure that bills rest on is from, by what it is; hosts have their own."""
        found = {"PUE": self.pue_origin}
        if self.price is not None:
            found["price"] = self.price.origin
        if self.carbon is not None:
            found["carbon intensity"] = self.carbon.origin
        if self.carbon_price is not None:
            found["carbon price"] = Origin(Kind.ASSUMED, "given as --carbon-price")
        if self.hardware.price:
            found["hardware price"] = Origin(Kind.ASSUMED, "given as --gpu-price")
        if self.hardware.embodied_kg:
            found["embodied carbon"] = Origin(Kind.ASSUMED, "given as --embodied")
        if self.hardware.price or self.hardware.embodied_kg:
            found["years of use"] = self.hardware.years_origin
        return found

    def _bill(
        self,
        seconds: float,
        gpu_j: float,
        host_j: float,
        energy_cost: float | None,
        carbon_g: float | None,
        kits: Sequence[tuple[Kit, float]],
    ) -> Bill:
        carbon_kg = None if carbon_g is None else carbon_g / GRAMS_PER_KG
        priced = carbon_kg is not None and self.carbon_price is not None
        hardware = [(self.hardware.cost(kit, seconds), size) for kit, size in kits]
        embodied = [(self.hardware.embodied(kit, seconds), size) for kit, size in kits]
        return Bill(
            seconds=seconds,
            currency=self.currency,
            gpu_energy_j=gpu_j,
            host_energy_j=host_j,
            site_energy_j=self.pue * (gpu_j + host_j),
            energy_cost=energy_cost,
            hardware_cost=_of_all(hardware),
            carbon_cost=(carbon_kg or 0) / KG_PER_T * (self.carbon_price or 0) if priced else None,
            carbon_kg=carbon_kg,
            embodied_kg=_of_all(embodied),
        )


def _of_replicas(outcome: "Outcome", of_groups: Sequence[float]) -> Array:
    return np.asarray(np.array(of_groups)[outcome.group_of_replica])


def _share_w(host: HostPower, serving: float) -> float:
    """Return the power of one GPU's share of a node, serving for that share of the time."""
    return host.idle_gpu_w + serving * host.serving_gpu_w


def _of_all(each: Sequence[tuple[float | None, float]]) -> float | None:
    known = [figure * count for figure, count in each if figure is not None]
    return sum(known) if known else None
