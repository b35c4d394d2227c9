"""Two clocks where switching between them is not free: what a change costs, and what steps mix.

In: curves, typical steps, how long a request decodes, how long a change stalls. Out: governors that
give both phases one clock where two do not pay, or that look at what a mixed step is made of.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from model.curves import Curves
from model.work import Array, Phase, Work
from policies.governor import (
    Governor,
    PhaseClocks,
    Setting,
    held_mhz,
    max_frequency,
    no_argument,
    own_clocks,
    phase_aware,
)


def phase_aware_amortised(argument: str, setting: Setting) -> Governor:
    """Be phase-aware where that saves more than its switches cost, else keep one clock.

    For a typical request, which is one prefill and its share of ``setting.decode_steps`` typical
    decode steps, two clocks cost two stalls, each at the larger of the powers on either side (none
    where each phase has its own replicas). One clock is that of least energy among those that slow
    neither phase by more than ``setting.max_slowdown``. What costs the request fewer joules is
    taken.

    Raises:
        BadPolicy: an argument.
    """
    no_argument("phase-aware-amortised", argument)
    two = phase_aware("", setting)
    asked = {p: float(two.request_mhz(p, setting.typical[p])[0]) for p in Phase}
    stalls = 0 if setting.apart or asked[Phase.PREFILL] == asked[Phase.DECODE] else 2
    two_j = _request_j(setting, two) + stalls * _stall_j(setting, two)
    one, one_j = _one_clock(setting)
    if one is not None and one_j < two_j:
        return PhaseClocks("phase-aware-amortised", dict.fromkeys(Phase, one), idle_mhz=one)
    return own_clocks("phase-aware-amortised", asked)


@dataclass(frozen=True)
class CompositionAware:
    """Two clocks; a step that mixes phases takes that of the phase that takes most of its time.

    Attributes:
        clocks_mhz: the clock of each phase.
        curves: the curves of each phase.
    """

    clocks_mhz: Mapping[Phase, float]
    curves: Mapping[Phase, Curves]
    idle_mhz: float | None
    name: str = "composition-aware"
    cap_w: float | None = None

    def request_mhz(self, phase: Phase, work: Work) -> Array:
        """Return prefill's clock where its part would take longer alone than decode's."""
        if phase is Phase.DECODE:
            return np.full(work.shape, self.clocks_mhz[Phase.DECODE])
        none = np.zeros(work.shape)
        prompts = Work(work.prefill_batch, work.prefill_tokens, work.attended_pairs, none, none)
        tokens = Work(none, none, none, work.decode_batch, work.context_tokens)
        mhz = self.clocks_mhz[Phase.DECODE]
        prefill_s = self.curves[Phase.PREFILL].time_s(prompts, mhz)
        decode_s = self.curves[Phase.DECODE].time_s(tokens, mhz)
        mostly_decode = (work.decode_batch > 0) & (decode_s > prefill_s)
        return np.where(mostly_decode, mhz, self.clocks_mhz[Phase.PREFILL])


def composition_aware(argument: str, setting: Setting) -> Governor:
    """Be phase-aware, but judge a mixed step by which phase takes most of its time.

    The parts are compared at decode's clock, each as if alone.

    Raises:
        BadPolicy: the argument names something else than prefill and decode.
        OutOfRange: a clock lies outside the calibrated range of its phase.
    """
    two = phase_aware(argument, setting)
    clocks = {p: float(two.request_mhz(p, setting.typical[p])[0]) for p in Phase}
    name = "composition-aware" + (f":{argument}" if argument else "")
    return CompositionAware(clocks, setting.curves, two.idle_mhz, name)


def _one_clock(setting: Setting) -> tuple[float | None, float]:
    """Return the clock of least energy that both phases may have, and a request's joules at it."""
    untouched = max_frequency("", setting)
    limit_s, stock_mhz = {}, {}
    for phase in Phase:
        stock_mhz[phase] = held_mhz(untouched, phase, setting.typical[phase], setting)
        stock_s = _time_s(setting, phase, stock_mhz[phase])
        limit_s[phase] = stock_s * (1 + setting.max_slowdown)
    clocks = np.intersect1d(
        setting.gpu.clocks_mhz(setting.curves[Phase.PREFILL]),
        setting.gpu.clocks_mhz(setting.curves[Phase.DECODE]),
    )
    best, least_j = None, np.inf
    for mhz in clocks[::-1].tolist():
        held = {phase: min(mhz, stock_mhz[phase]) for phase in Phase}
        if any(_time_s(setting, p, held[p]) > limit_s[p] for p in Phase):
            break
        spent_j = _request_j(setting, PhaseClocks("one", dict.fromkeys(Phase, mhz)))
        if spent_j < least_j:
            best, least_j = mhz, spent_j
    return best, least_j


def _request_j(setting: Setting, governor: Governor) -> float:
    """Return the joules of a typical request: its prompt, and its share of each decode step."""
    spent_j = 0.0
    for phase in Phase:
        work = setting.typical[phase]
        mhz = held_mhz(governor, phase, work, setting)
        each_j = float(setting.curves[phase].energy_j(work, mhz)[0])
        if phase is Phase.PREFILL:
            spent_j += each_j / float(work.prefill_batch[0])
        else:
            spent_j += each_j * setting.decode_steps / float(work.decode_batch[0])
    return spent_j


def _stall_j(setting: Setting, governor: Governor) -> float:
    """Return the joules of one change of clock, for each request that shares it."""
    watts = max(
        float(
            np.ravel(
                setting.curves[p].power_w(
                    setting.typical[p], held_mhz(governor, p, setting.typical[p], setting)
                )
            )[0]
        )
        for p in Phase
    )
    return setting.switch_latency_s * watts / float(setting.typical[Phase.PREFILL].prefill_batch[0])


def _time_s(setting: Setting, phase: Phase, mhz: float) -> float:
    return float(setting.curves[phase].time_s(setting.typical[phase], mhz)[0])
