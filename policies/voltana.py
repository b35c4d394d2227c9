"""voltana: the frequency control of VoltanaLLM (Yu et al., arXiv 2509.04827), called EcoFreq.

Taken from what its authors say of EcoFreq and from ``freq_manager.py`` of the authors' code
(Supercomputing-System-AI-Lab/VoltanaLLM at 2741732): a short list of clocks; before every iteration
the lowest whose predicted latency fits the objective, for prefill less the longest time that its
requests have waited; the highest where a queue stands, or where none fits.

Different here: latencies are predicted by the calibration and not by a table; a step that computes
prompts beside decoding sequences, which VoltanaLLM never runs, keeps both objectives; the clock of
an idle replica is left alone, where VoltanaLLM takes the lowest after 5 s; its optional thresholds
on arriving requests and tokens are left out, as is its router, EcoRoute.
"""

from collections.abc import Sequence

import numpy as np

from model.work import Phase
from policies.forecast import Forecast, repetitions
from policies.governor import Governor, Setting, max_frequency, no_argument
from policies.objectives import Objectives, Promised
from policies.situation import Decision, Pilot, Situation, Solo

LEVELS = (1005 / 1410, 1095 / 1410, 1200 / 1410, 1305 / 1410, 1.0)
"""Clocks as shares of the highest: 1005 to 1410 MHz, as VoltanaLLM sets them on an A100."""


class Voltana(Promised):
    """Per iteration the lowest clock of a short list that keeps the objectives."""

    def crew(self, replicas: int, idle_power_w: float) -> Sequence[Pilot]:
        """Return a pilot for each replica."""
        del idle_power_w
        return [_VoltanaPilot(self) for _ in range(replicas)]


def voltana(argument: str, setting: Setting) -> Governor:
    """Control clocks as VoltanaLLM does: ``voltana``, with ``--slo``.

    Raises:
        BadPolicy: an argument, or no objective on TTFT or TPOT.
    """
    no_argument("voltana", argument)
    every = Forecast.of(setting)
    clocks = np.array(every.clocks_mhz)
    nearest = {int(np.argmin(np.abs(clocks - share * clocks[-1]))) for share in LEVELS}
    listed = tuple(clocks[sorted(nearest)].tolist())
    few = Forecast(every.prices, listed, dict.fromkeys(Phase, 0))
    return Voltana(
        name="voltana",
        forecast=few,
        objectives=Objectives.of("voltana", setting),
        pressed=max_frequency("", setting),
    )


class _VoltanaPilot(Solo):
    def __init__(self, governor: Voltana) -> None:
        self._forecast, self._objectives = governor.forecast, governor.objectives
        self._level = governor.forecast.top

    def decide(self, situation: Situation) -> Decision:
        forecast, step, steps = self._forecast, situation.step, situation.steps
        if situation.waiting:
            return self._decision(forecast.top, steps)
        limit_s = self._objectives.tpot_s if step.decode_batch else np.inf
        if situation.prefill_wait_s is not None:
            limit_s = min(limit_s, self._objectives.ttft_s - situation.prefill_wait_s)
        level = forecast.least_within(step, limit_s, 0, self._level)
        if level < forecast.top and steps > 1:
            steps = repetitions(forecast.times_s(step, steps, level) <= limit_s)
        return self._decision(level, steps)

    def _decision(self, level: int, steps: int) -> Decision:
        self._level = level
        return Decision(self._forecast.clocks_mhz[level], steps)
