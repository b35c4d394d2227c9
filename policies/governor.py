"""Governors: the clock that each phase asks for.

In: the curves of both phases and a typical step of each. Out: requested clocks, a power cap.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from model.curves import Curves
from model.gpu import Gpu
from model.work import Array, Phase, Work
from phasewatt.errors import BadPolicy, OutOfRange

UNLOCKED_MHZ = float("inf")
"""A request for no lock at all: the GPU takes the highest clock that its power limit allows."""


@dataclass(frozen=True)
class Setting:
    """What a governor may look at when it is made.

    Attributes:
        gpu: the GPU that it governs.
        curves: the curves of each phase.
        typical: a step that stands for each phase, shape (1,): medians of the trace.
        max_slowdown: how much longer a phase may take than at the untouched clock, as a fraction.
        ttft_s, tpot_s: objectives that users are promised; None where there is none.
        switch_latency_s: how long a change of the requested clock stalls a replica.
        decode_steps: decode steps of a request, on average.
        mixes: whether a step may compute prompts beside decoding sequences.
        apart: whether each phase has replicas of its own.
        idle_power_w: what a replica with nothing to do draws; None if nobody knows.
    """

    gpu: Gpu
    curves: Mapping[Phase, Curves]
    typical: Mapping[Phase, Work]
    max_slowdown: float
    ttft_s: float | None = None
    tpot_s: float | None = None
    switch_latency_s: float = 0.0
    decode_steps: float = 0.0
    mixes: bool = False
    apart: bool = False
    idle_power_w: float | None = None


class Governor(Protocol):
    """Asks for a clock; the power limit may still hold a lower one."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def cap_w(self) -> float | None:
        """Power cap that it sets on its GPU in watts; None leaves the nominal limit."""
        ...

    @property
    def idle_mhz(self) -> float | None:
        """Clock that it asks for when its replica falls idle; None leaves the last one."""
        ...

    def request_mhz(self, phase: Phase, work: Work) -> Array:
        """Return the clock asked for, one per step of ``work``; inf asks for no lock."""
        ...


@dataclass(frozen=True)
class PhaseClocks:
    """A governor with one clock for each phase, under an optional power cap."""

    name: str
    clocks_mhz: Mapping[Phase, float]
    idle_mhz: float | None = None
    cap_w: float | None = None

    def request_mhz(self, phase: Phase, work: Work) -> Array:
        """Return the phase's clock for every step."""
        return np.full(work.shape, self.clocks_mhz[phase])


def max_frequency(argument: str, setting: Setting) -> Governor:
    """Leave the GPU alone: the highest clock, subject to its power limit."""
    no_argument("max-frequency", argument)
    del setting
    return PhaseClocks("max-frequency", dict.fromkeys(Phase, UNLOCKED_MHZ))


def race_to_idle(argument: str, setting: Setting) -> Governor:
    """Lock the highest clock that can be requested, so that replicas rest as soon as they can.

    Both phases have one clock, so that nothing ever stalls; the power limit may hold a lower one.

    Raises:
        BadPolicy: an argument.
        OutOfRange: no clock that can be requested lies inside the calibrated range of a phase.
    """
    no_argument("race-to-idle", argument)
    highest = [setting.gpu.clocks_mhz(setting.curves[phase])[-1:] for phase in Phase]
    if not all(clocks.size for clocks in highest):
        raise OutOfRange(
            f"none of the clocks that {setting.gpu.name} can be asked for lies inside the range "
            "at which both phases were calibrated"
        )
    fastest = min(float(clocks[0]) for clocks in highest)
    return PhaseClocks("race-to-idle", dict.fromkeys(Phase, fastest))


def fixed(argument: str, setting: Setting) -> Governor:
    """Lock one clock for everything: ``fixed:1380``.

    Raises:
        BadPolicy: the argument is not a clock.
        OutOfRange: the clock lies outside the calibrated range of a phase.
    """
    mhz = number("fixed", "a clock in MHz, as in fixed:1380", argument)
    _require_reachable(dict.fromkeys(Phase, mhz), setting)
    return PhaseClocks(f"fixed:{mhz:g}", dict.fromkeys(Phase, mhz), idle_mhz=mhz)


def power_cap(argument: str, setting: Setting) -> Governor:
    """Set the power limit and lock nothing: ``power-cap:250``.

    Raises:
        BadPolicy: the argument is not a power.
        OutOfRange: the cap is below what the lowest calibrated clock draws.
    """
    cap_w = number("power-cap", "a power in W, as in power-cap:250", argument)
    governor = PhaseClocks(f"power-cap:{cap_w:g}", dict.fromkeys(Phase, UNLOCKED_MHZ), cap_w=cap_w)
    for phase in Phase:
        held_mhz(governor, phase, setting.typical[phase], setting)
    return governor


def phase_aware(argument: str, setting: Setting) -> Governor:
    """Give each phase its own clock: ``phase-aware:prefill=1710,decode=1290`` or ``phase-aware``.

    A phase that is not named takes its lowest-energy clock among those that slow it by no more
    than ``setting.max_slowdown`` against the untouched GPU.

    Raises:
        BadPolicy: the argument names something else than prefill and decode.
        OutOfRange: a clock lies outside the calibrated range of its phase.
    """
    given = _phase_numbers(argument)
    clocks = {
        phase: given[phase]
        if phase in given
        else best_clock_mhz(phase, setting, _energy_j, setting.max_slowdown)
        for phase in Phase
    }
    _require_reachable(clocks, setting)
    return own_clocks("phase-aware" + (f":{argument}" if argument else ""), clocks)


def min_energy(argument: str, setting: Setting) -> Governor:
    """Run each phase at the clock of least energy, however slow."""
    return _minimising("min-energy", argument, setting, _energy_j)


def min_edp(argument: str, setting: Setting) -> Governor:
    """Run each phase at the clock of least energy-delay product (energy x time)."""
    return _minimising("min-edp", argument, setting, lambda e, t: e * t)


def min_ed2p(argument: str, setting: Setting) -> Governor:
    """Run each phase at the clock of least energy-delay-squared product (energy x time^2)."""
    return _minimising("min-ed2p", argument, setting, lambda e, t: e * t * t)


Objective = Callable[[Array, Array], Array]
"""What a clock choice minimises: (energy in J, time in s) per step, arrays of one shape."""


def best_clock_mhz(
    phase: Phase, setting: Setting, objective: Objective, max_slowdown: float = np.inf
) -> float:
    """Return the requestable clock that minimises ``objective`` on the phase's typical step.

    Only clocks that the power limit lets hold, and that slow the step by no more than
    ``max_slowdown`` (a fraction) against the untouched GPU, are considered; of equals, the fastest
    is taken. When no clock is as fast as that, the highest is returned, which holds as far as the
    power limit lets it.

    Raises:
        OutOfRange: no clock that can be requested lies inside the calibrated domain.
    """
    curves, typical = setting.curves[phase], setting.typical[phase]
    untouched = max_frequency("", setting)
    stock_mhz = held_mhz(untouched, phase, typical, setting)
    stock_s = float(curves.time_s(typical, stock_mhz)[0])
    clocks = setting.gpu.clocks_mhz(curves)[::-1]
    if clocks.size == 0:
        low, high = curves.domain.sm_mhz
        raise OutOfRange(
            f"{phase} of {curves.model} was calibrated from {low:g} to {high:g} MHz, and none of "
            f"the clocks that can be requested, in steps of {setting.gpu.sm_mhz_step:g} MHz, "
            "lies there: name a clock, as in fixed:MHZ"
        )
    holding = clocks[clocks <= stock_mhz]
    if holding.size == 0:
        holding = clocks[-1:]
    times_s = np.array([float(curves.time_s(typical, mhz)[0]) for mhz in holding])
    energies_j = np.array([float(curves.energy_j(typical, mhz)[0]) for mhz in holding])
    allowed = times_s <= stock_s * (1 + max_slowdown)
    if not np.any(allowed):
        return float(clocks[0])
    score = np.where(allowed, objective(energies_j, times_s), np.inf)
    return float(holding[int(np.argmin(score))])


def held_mhz(governor: Governor, phase: Phase, work: Work, setting: Setting) -> float:
    """Return the clock that holds for the single step ``work`` under ``governor``."""
    curves = setting.curves[phase]
    return float(settled_mhz(governor, phase, work, setting.gpu, curves)[0])


def requested_mhz(governor: Governor, phase: Phase, work: Work) -> Array:
    """Return the clock that ``governor`` asks for, one per step of ``work``.

    Raises:
        BadPolicy: it does not give one clock in MHz, or one per step.
    """
    given = governor.request_mhz(phase, work)
    try:
        asked = np.broadcast_to(np.asarray(given, dtype=np.float64), work.shape)
    except (TypeError, ValueError):
        asked = np.full(work.shape, np.nan)
    if not np.all(asked > 0):
        raise BadPolicy(
            f"policy {governor.name}: asked for a {phase} clock of {given!r}; expected MHz above "
            "0, or inf for no lock, one for each step"
        )
    return asked


def settled_mhz(governor: Governor, phase: Phase, work: Work, gpu: Gpu, curves: Curves) -> Array:
    """Return the clock that holds for every step of ``work`` under ``governor``.

    An unlocked GPU is taken to reach the highest calibrated clock where its power limit allows.

    Raises:
        OutOfRange: a clock that would hold lies outside the calibrated domain.
    """
    asked = requested_mhz(governor, phase, work)
    target = np.where(np.isinf(asked), curves.domain.sm_mhz[1], asked)
    return np.broadcast_to(gpu.settle(target, curves, work, governor.cap_w), work.shape)


def _energy_j(energy_j: Array, time_s: Array) -> Array:
    del time_s
    return energy_j


def _minimising(name: str, argument: str, setting: Setting, objective: Objective) -> Governor:
    no_argument(name, argument)
    return own_clocks(name, {p: best_clock_mhz(p, setting, objective) for p in Phase})


def own_clocks(name: str, clocks: Mapping[Phase, float]) -> Governor:
    """Return a governor of two clocks.

    An idle replica waits at the prefill clock, so that the switch is off the path to TTFT.
    """
    return PhaseClocks(name, clocks, idle_mhz=clocks[Phase.PREFILL])


def _require_reachable(clocks: Mapping[Phase, float], setting: Setting) -> None:
    for phase, mhz in clocks.items():
        curves = setting.curves[phase]
        setting.gpu.settle(mhz, curves, setting.typical[phase])


def no_argument(name: str, argument: str) -> None:
    """Raise :class:`BadPolicy` if ``argument`` holds anything."""
    if argument:
        raise BadPolicy(f"policy {name}: found argument {argument!r}; expected none")


def number(name: str, expected: str, text: str) -> float:
    """Return the positive number that policy ``name`` has as its argument.

    Raises:
        BadPolicy: ``text`` is not one; ``expected`` says what it should be.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < np.inf:
        raise BadPolicy(f"policy {name}: found {text!r}; expected {expected}")
    return value


def _phase_numbers(argument: str) -> dict[Phase, float]:
    given: dict[Phase, float] = {}
    for part in filter(None, argument.split(",")):
        key, _, value = part.partition("=")
        if key not in tuple(Phase) or Phase(key) in given:
            raise BadPolicy(
                f"policy phase-aware: found {part!r}; expected prefill=MHZ and decode=MHZ, "
                "each once"
            )
        given[Phase(key)] = number("phase-aware", f"{key}=MHZ", value)
    return given
