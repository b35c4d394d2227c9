"""fleet-cap: one power limit for all replicas together, shared out as they get busy and idle.

In: watts, and which replicas are at work. Out: pilots that set power limits and lock no clock; the
sum of what replicas may draw never exceeds the watts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from model.curves import Curves
from model.mixed import mixed_curves
from model.work import Array, Phase, Work
from phasewatt.errors import BadPolicy
from policies.governor import UNLOCKED_MHZ, Governor, Setting, max_frequency, number
from policies.situation import Decision, Pilot, Situation

MARGIN = 1.02
"""On what replicas are found to draw at their lowest clock; chosen here."""


@dataclass(frozen=True)
class FleetCap:
    """``total_w`` for the whole fleet.

    Attributes:
        total_w: what all replicas may draw together.
        reserve_w: what is kept for a replica at rest, so that it can begin at its lowest clock at
            any time: the most that it draws there, in any step inside the calibrated ranges.
        limit_w: the GPU's own limit, which no share exceeds.
        pressed: for sizes of fleets: the untouched GPU.
    """

    total_w: float
    reserve_w: float
    limit_w: float
    pressed: Governor
    name: str
    cap_w: float | None = None
    idle_mhz: float | None = None
    coupled: bool = True

    def request_mhz(self, phase: Phase, work: Work) -> Array:
        """Return no lock: what holds depends on the others."""
        del phase
        return np.full(work.shape, UNLOCKED_MHZ)

    def part(self, share: float) -> "FleetCap":
        """Return the limit of a part of the fleet that stands alone."""
        return replace(self, total_w=self.total_w * share)

    def crew(self, replicas: int, idle_power_w: float) -> Sequence[Pilot]:
        """Return pilots that share one account.

        Raises:
            BadPolicy: so many replicas could draw more at their lowest clock.
        """
        reserve_w = max(self.reserve_w, idle_power_w)
        if self.total_w < replicas * reserve_w:
            raise BadPolicy(
                f"policy {self.name}: found {self.total_w:g} W for {replicas} replicas; expected "
                f"at least {replicas * reserve_w:.0f} W, {reserve_w:.0f} W each, which they may "
                f"draw at their lowest calibrated clock (idle: {idle_power_w:.0f} W)"
            )
        account = Account(self.total_w, reserve_w, self.limit_w, replicas)
        return [_FleetCapPilot(number, account) for number in range(replicas)]


def fleet_cap(argument: str, setting: Setting) -> Governor:
    """Hold the fleet's power to a limit: ``fleet-cap:4000``.

    Raises:
        BadPolicy: the argument is not a power.
    """
    total_w = number("fleet-cap", "a power in W, as in fleet-cap:4000", argument)
    return FleetCap(
        total_w,
        _most_at_lowest_w(setting),
        setting.gpu.power_limit_w,
        max_frequency("", setting),
        f"fleet-cap:{total_w:g}",
    )


class Account:
    """Who may draw how much; at any time all grants and reserves add up to ``total_w`` at most.

    Who rests has ``reserve_w`` reserved; nobody is granted more than ``limit_w``.
    """

    def __init__(self, total_w: float, reserve_w: float, limit_w: float, replicas: int) -> None:
        self._total_w, self._reserve_w, self._limit_w = total_w, reserve_w, limit_w
        self._granted_w: list[float | None] = [None] * replicas

    def grant(self, replica: int) -> float:
        """Return what a busy replica may draw from now on.

        That is an equal part of what those at rest leave, as far as others have given back what
        they were granted before.
        """
        granted_w, reserve_w = self._granted_w, self._reserve_w
        others = [w for number, w in enumerate(granted_w) if number != replica]
        busy = 1 + sum(w is not None for w in others)
        fair_w = (self._total_w - reserve_w * (len(granted_w) - busy)) / busy
        held_w = sum(reserve_w if w is None else max(w, reserve_w) for w in others)
        share_w = max(min(fair_w, self._total_w - held_w, self._limit_w), reserve_w)
        granted_w[replica] = share_w
        return share_w

    def give_back(self, replica: int) -> None:
        """Take note that a replica is at rest."""
        self._granted_w[replica] = None


class _FleetCapPilot:
    def __init__(self, number: int, account: Account) -> None:
        self._number, self._account = number, account

    def decide(self, situation: Situation) -> Decision:
        return Decision(UNLOCKED_MHZ, situation.steps, self._account.grant(self._number))

    def rest(self) -> None:
        self._account.give_back(self._number)


def _most_at_lowest_w(setting: Setting) -> float:
    """Return the most that a step inside the calibrated ranges draws at the lowest clock.

    Steps of few and of many prompts, sequences and tokens are tried, of either phase and, where
    steps mix, of both together; :data:`MARGIN` covers those between.
    """
    prefill, decode = setting.curves[Phase.PREFILL], setting.curves[Phase.DECODE]
    prompts = Work.prefill(*_crossed(prefill, prefill.domain.prompt_tokens))
    tokens = Work.decode(*_crossed(decode, decode.domain.context_tokens))
    most_w = max(
        float(np.max(curves.power_w(work, curves.domain.sm_mhz[0])))
        for curves, work in ((prefill, prompts), (decode, tokens))
    )
    if setting.mixes:
        mixed = mixed_curves(prefill, decode)
        these, those = np.indices((prompts.shape[0], tokens.shape[0])).reshape(2, -1)
        first, second = prompts.at(these), tokens.at(those)
        both = Work(*(getattr(first, f.name) + getattr(second, f.name) for f in fields(Work)))
        most_w = max(most_w, float(np.max(mixed.power_w(both, mixed.domain.sm_mhz[0]))))
    return most_w * MARGIN


def _crossed(curves: Curves, span: tuple[float, float] | None) -> tuple[Array, Array]:
    """Return batches and lengths inside the calibrated ranges, each with each, shape (36,)."""
    batches = np.geomspace(1.0, curves.domain.batch[1], 6)
    low, high = span or (1.0, 1.0)
    lengths = np.geomspace(max(low, 1.0), high, 6)
    batch, length = np.meshgrid(batches, lengths)
    return batch.ravel(), length.ravel()
