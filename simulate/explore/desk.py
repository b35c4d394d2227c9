"""What all open pages of one server share: the question, what may be chosen, and who answers.

In: words. Out: a desk; each page has an asker of its own, whose newest question overtakes others.
"""

import itertools
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from model.calibration import load as load_calibration
from model.work import Phase
from phasewatt.errors import UserError
from simulate.explore.answer import Answer, Answers, Overtaken, broken
from simulate.explore.choices import Choices, Clocks, choices_of, clocks_of
from simulate.explore.state import State, state_of, words_of
from simulate.inputs import loaded_trace, replayed_trace
from simulate.words import Words, command_line, scenario_of_words

BUDGET_S = 0.5
"""How long an answer may take where nobody said how many requests to replay."""


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
        self.begin: State = state_of(started)
        if self.begin.limit is None:
            self.begin = self._in_time()
        self.first: Answer = self.answers.of(words_of(self.begin, started))
        if self.first.error is not None:
            raise UserError(self.first.error)
        self.worker = ThreadPoolExecutor(1, "replay")

    def clocks_of(self, state: State, phase: Phase) -> Clocks:
        """Return the clocks that can be set in ``state``; see :func:`choices.clocks_of`."""
        return clocks_of(words_of(state, self.started), self.calibration, phase)

    def close(self) -> None:
        """Let the replay that runs end, and take no other."""
        self.worker.shutdown(wait=True, cancel_futures=True)

    def _in_time(self) -> State:
        """Return the first state with as many requests as are answered within the budget."""
        requests = self.choices.requests

        def first(number: int) -> State:
            return replace(self.begin, limit=None if number == self.choices.available else number)

        # The first replay of a process takes longer: modules load, caches fill.
        Answers(self._trace, self.calibration).of(words_of(first(requests[0]), self.started))
        quick, took_s = requests[0], 0.0
        for before, number in itertools.pairwise((0, *requests)):
            # What an answer takes beside its requests may be most of what few of them take.
            last_s, took_s = took_s, self.answers.of(words_of(first(number), self.started)).took_s
            if took_s > BUDGET_S:
                break
            quick = number
            following = requests[requests.index(number) + 1 :]
            each_s = max(took_s - last_s, 0.0) / (number - before) if before else 0.0
            if following and took_s + each_s * (following[0] - number) > BUDGET_S:
                break
        return first(quick)


class Asker:
    """Asks for one page: of its questions, only the newest is answered."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._newest = desk, 0

    def ask(self, words: Words, tell: Callable[[Answer], object]) -> None:
        """Call ``tell`` with the answer, on another thread, unless a newer question comes first."""
        self._newest += 1
        mine = self._newest

        def is_overtaken() -> bool:
            return mine != self._newest

        def work() -> None:
            try:
                answer = self._desk.answers.of(words, is_overtaken)
            except Overtaken:
                return
            except Exception:
                # A bug must not leave the page waiting for ever: its traceback is for the terminal.
                traceback.print_exc()
                answer = broken(command_line(words))
            if not is_overtaken():
                tell(answer)

        self._desk.worker.submit(work)

    def give_up(self) -> None:
        """Let nobody be told any more."""
        self._newest += 1
