"""greenllm: the clocks of GreenLLM (Liu et al., arXiv 2508.16449), one control for each phase.

Taken from the paper's abstract: prefill's clock comes from an optimisation that knows the queue: of
the clocks that get the prompts in line done by the deadline on TTFT, the one of least energy, by
models of latency and power. Decode's comes from two loops: a coarse one looks up, by the tokens a
second that the replica makes, the clock that was found to keep TBT; a fine one moves it in small
steps, with hysteresis, by the measured tail of TBT.

Different here: the models are the calibration's curves. Requests wait in one line, first come first
served, where GreenLLM routes them into queues by the length of their prompts, with a clock for each
class. A step that computes prompts beside decoding sequences, which GreenLLM never runs, takes the
higher of both controls' clocks. The loops turn by steps made, and their periods, margins and widths
are chosen here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from model.pricing import Step
from model.work import Phase
from policies.feedback import Tails
from policies.forecast import Forecast
from policies.governor import UNLOCKED_MHZ, Governor, Setting, max_frequency, no_argument
from policies.objectives import Objectives, Promised
from policies.situation import Decision, Pilot, Situation, Solo

FINE_STEPS, COARSE_STEPS = 4, 32
"""Steps between two turns of each loop."""

MARGIN = 0.85
"""Share of its objective below which the tail of TBT lets the fine loop lower the clock."""

BAND_PARTS = 8
"""The fine loop stays within an eighth of the range of clocks around what the coarse one found;
that stays where it is until it would move by half as much."""


@dataclass(frozen=True, kw_only=True)
class GreenLlm(Promised):
    """``table`` holds tokens a second, ascending, and the level that keeps TPOT at each."""

    table: tuple[tuple[float, int], ...]

    def crew(self, replicas: int, idle_power_w: float) -> Sequence[Pilot]:
        """Return a pilot for each replica."""
        return [_GreenLlmPilot(self, idle_power_w) for _ in range(replicas)]


def greenllm(argument: str, setting: Setting) -> Governor:
    """Control clocks as GreenLLM does: ``greenllm``, with ``--slo`` on TTFT and TPOT.

    Raises:
        BadPolicy: an argument, or no objective on TTFT or TPOT.
    """
    no_argument("greenllm", argument)
    forecast, objectives = Forecast.of(setting), Objectives.of("greenllm", setting)
    table = _table(forecast, objectives, setting)
    return GreenLlm(
        name="greenllm",
        forecast=forecast,
        objectives=objectives,
        pressed=max_frequency("", setting),
        table=table,
    )


class _GreenLlmPilot(Solo):
    def __init__(self, governor: GreenLlm, idle_power_w: float) -> None:
        self._forecast, self._objectives = governor.forecast, governor.objectives
        self._table, self._idle_power_w = governor.table, idle_power_w
        self._tails = Tails(Objectives(np.inf, governor.objectives.tpot_s))
        self._level = self._middle = governor.forecast.top
        reach = governor.forecast.top - governor.forecast.floor[Phase.DECODE]
        self._band = max(1, reach // BAND_PARTS)
        self._coarse_at = self._fine_at = 0
        self._coarse_s, self._coarse_tokens = 0.0, 0

    def decide(self, situation: Situation) -> Decision:
        watch, step = situation.watch, situation.step
        if watch.steps - self._coarse_at >= COARSE_STEPS:
            self._turn_coarse(situation)
        if watch.steps - self._fine_at >= FINE_STEPS:
            self._turn_fine(situation)
        level = self._level if step.decode_batch else 0
        if step.prefill_tokens:
            level = max(level, self._prefill_level(situation))
        next_turn = min(self._coarse_at + COARSE_STEPS, self._fine_at + FINE_STEPS)
        steps = min(situation.steps, next_turn - watch.steps)
        return Decision(self._forecast.clocks_mhz[level], steps)

    def _turn_coarse(self, situation: Situation) -> None:
        watch = situation.watch
        elapsed_s = situation.now_s - self._coarse_s
        made = watch.tokens - self._coarse_tokens
        self._coarse_at, self._coarse_tokens = watch.steps, watch.tokens
        self._coarse_s = situation.now_s
        slower = takewhile(lambda row: row[0] < made / elapsed_s, self._table)
        place = min(sum(1 for _ in slower), len(self._table) - 1)
        found = self._table[place][1]
        if 2 * abs(found - self._middle) >= self._band:
            self._middle = found
            self._keep_in_band()

    def _turn_fine(self, situation: Situation) -> None:
        self._fine_at = situation.watch.steps
        worst = self._tails.worst(situation.watch)
        if worst > 1:
            self._level += 1
        elif worst < MARGIN:
            self._level -= 1
        self._keep_in_band()

    def _keep_in_band(self) -> None:
        low = max(self._middle - self._band, self._forecast.floor[Phase.DECODE])
        high = min(self._middle + self._band, self._forecast.top)
        self._level = min(max(self._level, low), high)

    def _prefill_level(self, situation: Situation) -> int:
        """Return the level of least energy above idle that clears the line by its deadline."""
        forecast, step = self._forecast, situation.step
        assert situation.prefill_wait_s is not None
        rounds = situation.prompt_tokens / step.prefill_tokens
        left_s = self._objectives.ttft_s - max(situation.prefill_wait_s, situation.last_wait_s)
        held_mhz = float(forecast.prices.price(step, 1, UNLOCKED_MHZ).sm_mhz[0])
        clocks = np.array(forecast.clocks_mhz)
        holding = clocks[: max(1, int(np.searchsorted(clocks, held_mhz, "right")))]
        priced = forecast.prices.at_clocks(step, 1, holding)
        above_idle_j = priced.time_s * (priced.power_w - self._idle_power_w)
        in_time = rounds * priced.time_s <= left_s
        if not in_time.any():
            return forecast.top
        return int(np.argmin(np.where(in_time, above_idle_j, np.inf)))


def _table(
    forecast: Forecast, objectives: Objectives, setting: Setting
) -> tuple[tuple[float, int], ...]:
    """Return the tokens a second of growing batches at the lowest level that keeps TPOT."""
    typical = setting.typical[Phase.DECODE]
    context = float(typical.context_tokens[0] / typical.decode_batch[0])
    floor = forecast.floor[Phase.DECODE]
    rows: list[tuple[float, int]] = []
    batch, most = 1, int(setting.curves[Phase.DECODE].domain.batch[1])
    while batch <= most:
        step = Step(0, 0, 0, batch, round(batch * context))
        level = forecast.least_within(step, objectives.tpot_s, floor, floor)
        tokens_per_s = batch / forecast.time_s(step, level)
        if not rows or tokens_per_s > rows[-1][0]:
            rows.append((tokens_per_s, level))
        batch *= 2
    return tuple(rows)
