"""feedback: a controller on what users have seen lately, with hysteresis; it predicts nothing.

In: objectives, and the tail of what a replica has measured. Out: pilots that move one clock up and
down, whatever the phase.
"""

from collections.abc import Sequence

import numpy as np

from model.work import Array, Phase, Work
from policies.forecast import Forecast
from policies.governor import Governor, Setting, max_frequency, no_argument
from policies.objectives import Objectives, Promised
from policies.situation import Decision, Pilot, Situation, Solo, Watch, tail_s

REVIEW_STEPS = 32
"""Steps between two reviews; chosen here."""

CALM = 0.8
"""Share of its objective below which a tail lets the clock fall; chosen here."""

UP_PARTS, DOWN_PARTS = 4, 16
"""A late tail raises the clock by a quarter of the range, a calm one lowers it by a sixteenth, so
that promises broken are soon kept again; chosen here."""


class Feedback(Promised):
    """One clock, moved by the 95th percentiles of ITL and TTFT since the last review."""

    def request_mhz(self, phase: Phase, work: Work) -> Array:
        """Return the clock that every replica begins with: the highest."""
        del phase
        return np.full(work.shape, self.forecast.clocks_mhz[-1])

    def crew(self, replicas: int, idle_power_w: float) -> Sequence[Pilot]:
        """Return a pilot for each replica."""
        del idle_power_w
        return [_FeedbackPilot(self) for _ in range(replicas)]


def feedback(argument: str, setting: Setting) -> Governor:
    """Follow measured tails: ``feedback``, with ``--slo``; TPOT's objective is held against ITL.

    Raises:
        BadPolicy: an argument, or no objective on TTFT or TPOT.
    """
    no_argument("feedback", argument)
    objectives = Objectives.of("feedback", setting)
    return Feedback(
        name="feedback",
        forecast=Forecast.of(setting),
        objectives=objectives,
        pressed=max_frequency("", setting),
    )


class Tails:
    """The tails of ITL and TTFT since they were last looked at, over their objectives."""

    def __init__(self, objectives: Objectives) -> None:
        self._objectives = objectives
        self._gaps = self._firsts = 0

    def worst(self, watch: Watch) -> float:
        """Return the larger of both shares; NaN where neither was measured."""
        shares = (
            tail_s(watch.gap_s, self._gaps, watch.gap_tokens) / self._objectives.tpot_s,
            tail_s(watch.ttft_s, self._firsts) / self._objectives.ttft_s,
        )
        self._gaps, self._firsts = len(watch.gap_s), len(watch.ttft_s)
        return float(np.fmax(*shares))


class _FeedbackPilot(Solo):
    def __init__(self, governor: Feedback) -> None:
        forecast = governor.forecast
        self._clocks_mhz = forecast.clocks_mhz
        self._floor, self._top = forecast.floor[Phase.DECODE], forecast.top
        self._level = forecast.top
        self._tails = Tails(governor.objectives)
        self._reviewed = 0

    def decide(self, situation: Situation) -> Decision:
        watch = situation.watch
        if watch.steps - self._reviewed >= REVIEW_STEPS:
            self._reviewed = watch.steps
            self._review(self._tails.worst(watch))
        left = self._reviewed + REVIEW_STEPS - watch.steps
        return Decision(self._clocks_mhz[self._level], min(situation.steps, left))

    def _review(self, worst: float) -> None:
        """Move the clock; a tail that nobody measured moves nothing."""
        reach = self._top - self._floor
        if worst > 1:
            self._level = min(self._top, self._level + -(-reach // UP_PARTS))
        elif worst < CALM:
            self._level = max(self._floor, self._level - -(-reach // DOWN_PARTS))
