"""What engine steps cost under a requested clock and a power limit: the seam that engines call.

In: a :class:`Step` and how often it repeats while its contexts grow. Out: :class:`Priced` columns,
one row a step: seconds, watts and the clock that held.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import numpy as np

from model.curves import Curves
from model.gpu import Gpu
from model.mixed import MixedCurves
from model.work import Array, Phase, Work


class Step(NamedTuple):
    """One step of an engine, as the counts of :class:`model.work.Work`, plain numbers."""

    prefill_batch: int
    prefill_tokens: int
    attended_pairs: int
    decode_batch: int
    context_tokens: int

    @property
    def phase(self) -> Phase:
        """Prefill where the step computes any prompt token, otherwise decode."""
        return Phase.PREFILL if self.prefill_tokens else Phase.DECODE

    @property
    def is_mixed(self) -> bool:
        """Whether the step computes prompts and decodes too."""
        return self.prefill_tokens > 0 and self.decode_batch > 0

    def work(self, steps: int) -> Work:
        """Return this step ``steps`` times, each context one token longer every time, (steps,)."""
        grown = self.context_tokens + self.decode_batch * np.arange(steps, dtype=np.float64)
        batch, tokens, pairs, decoding = (np.full(steps, float(count)) for count in self[:4])
        return Work(batch, tokens, pairs, decoding, grown)

    def alone(self) -> "tuple[Step, Step]":
        """Return what the step's prefill and its decode would be alone."""
        prefill = Step(self.prefill_batch, self.prefill_tokens, self.attended_pairs, 0, 0)
        return prefill, Step(0, 0, 0, self.decode_batch, self.context_tokens)


class Priced(NamedTuple):
    """Steps one after another, as columns of shape (steps,)."""

    time_s: Array
    power_w: Array
    sm_mhz: Array


class StepPrices(Protocol):
    """Prices every step of one model on one GPU under one power limit."""

    def price(self, step: Step, steps: int, asked_mhz: float) -> Priced:
        """Return what ``step`` costs, ``steps`` times over, at the clock that holds.

        ``asked_mhz`` is the clock asked for, inf for no lock. A step of both phases whose clock one
        phase asked for is set no lower than where both were calibrated.

        Raises:
            OutOfRange: a clock that would hold lies outside the calibrated domain.
        """
        ...

    def at_clocks(self, step: Step, steps: int, sm_mhz: Array) -> Priced:
        """Return what ``step`` costs at clocks that hold, whatever the power limit.

        ``sm_mhz`` lies inside the calibrated domain: one clock for each of ``steps`` repetitions,
        or any number of clocks for a single one.
        """
        ...

    def lowest_mhz(self, step: Step) -> float:
        """Return the lowest clock at which such a step was calibrated."""
        ...

    def capped(self, cap_w: float) -> "StepPrices":
        """Return the prices under another power limit in watts."""
        ...

    def prefill_time_share(self, step: Step, sm_mhz: float) -> float:
        """Return the part of a mixed step that is prefill's.

        That is the time of its prefill alone over the times of both phases alone, at ``sm_mhz``.
        """
        ...


@dataclass(frozen=True)
class CurvePrices:
    """Prices by the curves as they are, whatever their forms; ``mixed`` None prices no mix."""

    prefill: Curves
    decode: Curves
    gpu: Gpu
    cap_w: float | None
    mixed: MixedCurves | None = field(default=None)

    def price(self, step: Step, steps: int, asked_mhz: float) -> Priced:
        """Return what ``step`` costs; see :meth:`StepPrices.price`."""
        load = self._load(step)
        work = step.work(steps)
        target = load.domain.sm_mhz[1] if np.isinf(asked_mhz) else asked_mhz
        if step.prefill_tokens and step.decode_batch:
            target = max(target, load.domain.sm_mhz[0])
        held = np.broadcast_to(self.gpu.settle(target, load, work, self.cap_w), (steps,))
        return Priced(
            np.broadcast_to(load.time_s(work, held), (steps,)),
            np.broadcast_to(load.power_w(work, held), (steps,)),
            held,
        )

    def at_clocks(self, step: Step, steps: int, sm_mhz: Array) -> Priced:
        """Return what ``step`` costs at ``sm_mhz``; see :meth:`StepPrices.at_clocks`."""
        load, work = self._load(step), step.work(steps)
        time_s, power_w = load.time_s(work, sm_mhz), load.power_w(work, sm_mhz)
        return Priced(time_s, np.broadcast_to(power_w, time_s.shape), sm_mhz)

    def lowest_mhz(self, step: Step) -> float:
        """Return the lowest clock at which such a step was calibrated."""
        return self._load(step).domain.sm_mhz[0]

    def capped(self, cap_w: float) -> "CurvePrices":
        """Return the prices under another power limit in watts."""
        return replace(self, cap_w=cap_w)

    def prefill_time_share(self, step: Step, sm_mhz: float) -> float:
        """Return the part of a mixed step that is prefill's."""
        prefill, decode = step.alone()
        prefill_s = float(self.prefill.time_s(prefill.work(1), sm_mhz)[0])
        decode_s = float(self.decode.time_s(decode.work(1), sm_mhz)[0])
        return prefill_s / (prefill_s + decode_s)

    def _load(self, step: Step) -> Curves | MixedCurves:
        if step.is_mixed:
            assert self.mixed is not None
            return self.mixed
        return self.prefill if step.prefill_tokens else self.decode
