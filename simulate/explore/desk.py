"""What all open pages of one server share: the question, what may be chosen, and who answers.

In: words. Out: a desk; each page has an asker of its own, whose newest question overtakes others.
"""

import itertools
import traceback
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from model.calibration import load as load_calibration
from model.work import Phase
from phasewatt.errors import UserError
from policies import parse_policy
from simulate.explore.answer import Answer, Answers, Overtaken, broken
from simulate.explore.choices import Choices, Clocks, choices_of, clocks_of
from simulate.explore.state import Hand, State, state_of, words_of
from simulate.inputs import loaded_trace, replayed_trace
from simulate.words import Words, command_line, scenario_of_words

BUDGET_S = 0.5
"""How long a processor may work on an answer where nobody said how many requests to replay."""

STEADY = (
    *("max-frequency", "fixed", "power-cap", "race-to-idle"),
    *("phase-aware", "phase-aware-amortised", "min-energy", "min-edp", "min-ed2p"),
)
"""Policies that choose a clock for each phase once: a replay takes as long under one as another."""


class Desk:
    """Knows a trace and a calibration, and answers what pages ask."""

    def __init__(self, started: Words) -> None:
        """Read what ``started`` names, and answer the state in which every page begins.

        Raises:
            UserError: ``started`` names what is not there, or a state that cannot be replayed.
        """
        self.started = started
        scenario_of_words(started)
        self.calibration = load_calibration(started["calibration"])
        self._trace = trace = loaded_trace(started)
        available = len(replayed_trace(trace, {**started, "limit": None}))
        self.choices: Choices = choices_of(started, self.calibration, available)
        self.question = (
            f"{trace.name} on {self.calibration.gpu.name}: "
            "what would other clocks, loads and fleets cost?"
        )
        self.answers = Answers(trace, self.calibration)
        self._quick: dict[Hashable, int] = {}
        self.begin: State = state_of(started)
        if self.begin.limit is None:
            # The first replay of a process takes longer: modules load, caches fill.
            few = self._first(self.begin, self.choices.requests[0])
            Answers(trace, self.calibration).of(words_of(few, started))
            self.begin = self.in_time(self.begin)
        self.first: Answer = self.answers.of(words_of(self.begin, started))
        if self.first.error is not None:
            raise UserError(self.first.error)
        self.worker = ThreadPoolExecutor(1, "replay")

    def clocks_of(self, state: State, phase: Phase) -> Clocks:
        """Return the clocks that can be set in ``state``; see :func:`choices.clocks_of`."""
        return clocks_of(words_of(state, self.started), self.calibration, phase)

    def in_time(self, state: State, is_overtaken: Callable[[], bool] = lambda: False) -> State:
        """Return ``state`` with as many requests as are answered within the budget.

        How many that is, is found once for each engine, model and way of batching, and for each
        policy that plans step by step.

        Raises:
            Overtaken: ``is_overtaken`` said so meanwhile.
        """
        kind = (state.batching, state.model, state.engine, _planning(state))
        if kind not in self._quick:
            found = self._most_in_time(state, is_overtaken)
            if found is None:
                return self._first(state, self.choices.requests[0])
            self._quick[kind] = found
        return self._first(state, self._quick[kind])

    def close(self) -> None:
        """Let the replay that runs end, and take no other."""
        self.worker.shutdown(wait=True, cancel_futures=True)

    def _first(self, state: State, number: int) -> State:
        return replace(state, limit=None if number == self.choices.available else number)

    def _most_in_time(self, state: State, is_overtaken: Callable[[], bool]) -> int | None:
        """Return how many; None where the state cannot be replayed, which takes no time."""
        requests = self.choices.requests
        quick, took_s = requests[0], 0.0
        for before, number in itertools.pairwise((0, *requests)):
            # What an answer takes beside its requests may be most of what few of them take.
            words = words_of(self._first(state, number), self.started)
            answer = self.answers.of(words, is_overtaken)
            if answer.document is None:
                return None
            last_s, took_s = took_s, answer.cpu_s
            if took_s > BUDGET_S:
                break
            quick = number
            following = requests[requests.index(number) + 1 :]
            each_s = max(took_s - last_s, 0.0) / (number - before) if before else 0.0
            if following and took_s + each_s * (following[0] - number) > BUDGET_S:
                break
        return quick


def _planning(state: State) -> str:
    """Return the policy, or what all those have in common that keep one clock for each phase."""
    if isinstance(state.policy, Hand):
        return STEADY[0]
    name = parse_policy(state.policy).governor.partition(":")[0]
    return STEADY[0] if name in STEADY else state.policy


class Asker:
    """Asks for one page: of its questions, only the newest is answered."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._newest = desk, 0

    def ask(self, state: State, in_time: bool, tell: Callable[[State, Answer], object]) -> None:
        """Call ``tell`` with the answer, on another thread, unless a newer question comes first.

        ``in_time`` replays as many requests as are answered in time; ``tell`` is told the state
        that was answered.
        """
        self._newest += 1
        mine = self._newest

        def is_overtaken() -> bool:
            return mine != self._newest

        def work() -> None:
            asked, started = state, self._desk.started
            try:
                if in_time:
                    asked = self._desk.in_time(state, is_overtaken)
                answer = self._desk.answers.of(words_of(asked, started), is_overtaken)
            except Overtaken:
                return
            except Exception:
                # A bug must not leave the page waiting for ever: its traceback is for the terminal.
                traceback.print_exc()
                answer = broken(command_line(words_of(asked, started)))
            if not is_overtaken():
                tell(asked, answer)

        self._desk.worker.submit(work)

    def give_up(self) -> None:
        """Let nobody be told any more."""
        self._newest += 1
