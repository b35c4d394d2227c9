"""slo-aware: step by step the lowest clock that keeps what users were promised.

In: objectives, and what steps are expected to take. Out: pilots that look at ages and the line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from policies.forecast import Forecast, repetitions
from policies.governor import Governor, Setting, max_frequency, no_argument
from policies.objectives import Objectives, Promised
from policies.situation import Decision, Pilot, Situation, Solo

PATIENCE = 16
"""Steps in a row for which a lower clock must have done before it is taken; chosen here. Where
switching costs nothing, none."""


@dataclass(frozen=True, kw_only=True)
class SloAware(Promised):
    """Per step the lowest clock, not below that of least energy, that keeps the objectives."""

    switch_latency_s: float

    def crew(self, replicas: int, idle_power_w: float) -> Sequence[Pilot]:
        """Return a pilot for each replica."""
        del idle_power_w
        return [_SloAwarePilot(self) for _ in range(replicas)]


def slo_aware(argument: str, setting: Setting) -> Governor:
    """Keep TTFT and TPOT at the lowest clock that does: ``slo-aware``, with ``--slo``.

    Raises:
        BadPolicy: an argument, or no objective.
    """
    no_argument("slo-aware", argument)
    return SloAware(
        name="slo-aware",
        forecast=Forecast.of(setting),
        objectives=Objectives.of("slo-aware", setting),
        pressed=max_frequency("", setting),
        switch_latency_s=setting.switch_latency_s,
    )


class _SloAwarePilot(Solo):
    def __init__(self, governor: SloAware) -> None:
        self._forecast, self._objectives = governor.forecast, governor.objectives
        self._stall_s = governor.switch_latency_s
        self._patience = PATIENCE if self._stall_s > 0 else 0
        self._level = governor.forecast.top
        self._calm_since: int | None = None

    def decide(self, situation: Situation) -> Decision:
        forecast, step, steps = self._forecast, situation.step, situation.steps
        floor = forecast.floor[step.phase]
        if step.prefill_tokens:
            self._follow(self._least_with_prompts(situation, floor), situation.watch.steps)
            return self._decision(1)
        if situation.waiting:
            # Who waits gets in when others end: the sooner the better.
            self._follow(forecast.top, situation.watch.steps)
            return self._decision(steps)
        limit_s = self._objectives.tpot_s
        need = forecast.least_within(step, limit_s, floor, self._level)
        self._follow(need, situation.watch.steps)
        if self._calm_since is not None:
            below_s = forecast.times_s(step, steps, self._level - 1)
            left = self._calm_since + self._patience - situation.watch.steps
            steps = min(repetitions(below_s <= limit_s), left)
        if need < forecast.top or self._level < forecast.top:
            here_s = forecast.times_s(step, steps, self._level)
            steps = min(steps, repetitions(here_s <= limit_s))
        return self._decision(steps)

    def _decision(self, steps: int) -> Decision:
        return Decision(self._forecast.clocks_mhz[self._level], steps)

    def _follow(self, need: int, made: int) -> None:
        """Take the level ``need``; a lower one only when a lower one has done for long."""
        if need < self._level and self._patience:
            if self._calm_since is None:
                self._calm_since = made
            if made - self._calm_since < self._patience:
                return
        self._level = need
        self._calm_since = None

    def _least_with_prompts(self, situation: Situation, floor: int) -> int:
        """Return the lowest level that gets prompts done in time, and tokens beside them."""
        forecast, step = self._forecast, situation.step
        set_level = _level_of(forecast, situation.set_mhz)

        def fits(level: int, stall_s: float) -> bool:
            return self._keeps(situation, stall_s + forecast.time_s(step, level), stall_s)

        stall_s = 0.0 if situation.set_mhz is None else self._stall_s
        need = forecast.least_level(lambda level: fits(level, stall_s), floor, self._level)
        if set_level is None or set_level < floor or stall_s == 0:
            return need
        if fits(set_level, 0.0):
            return min(need, set_level) if fits(need, stall_s) else set_level
        if not fits(need, stall_s):
            stays_s, leaves_s = forecast.time_s(step, set_level), forecast.time_s(step, need)
            return set_level if stays_s <= leaves_s + stall_s else need
        return need

    def _keeps(self, situation: Situation, taken_s: float, stall_s: float) -> bool:
        """Whether a step of ``taken_s``, ``stall_s`` of it stalled, keeps the objectives."""
        step, objectives = situation.step, self._objectives
        if step.decode_batch and taken_s > objectives.tpot_s:
            return False
        assert situation.prefill_wait_s is not None
        if situation.prefill_wait_s + taken_s > objectives.ttft_s:
            return False
        rounds = situation.prompt_tokens / step.prefill_tokens
        cleared_s = stall_s + (taken_s - stall_s) * rounds
        return situation.last_wait_s + cleared_s <= objectives.ttft_s


def _level_of(forecast: Forecast, mhz: float | None) -> int | None:
    try:
        return None if mhz is None else forecast.clocks_mhz.index(mhz)
    except ValueError:
        return None
