"""What the page asks for each state: a real replay, remembered, given up for a newer question.

In: words. Out: an :class:`Answer`; the same words are replayed once, and so is a baseline whose
fleet and arrivals stay the same.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np

from model.calibration import Calibration
from model.work import Array
from phasewatt.errors import UserError
from simulate.compare import Comparison, Replay, compare, require_sensible
from simulate.coverage import is_saturated
from simulate.document import summary
from simulate.groups import Group, PreparedFleet, run_fleet
from simulate.inputs import replayed_trace
from simulate.outcome import Outcome
from simulate.power import bin_width_s, binned_power_w
from simulate.serving import Queries
from simulate.words import Words, command_line, scenario_of_words
from traces import Trace

ANSWERS, OUTCOMES = 512, 8
"""How many answers, and how many whole outcomes of baselines, are remembered."""


class Overtaken(Exception):
    """A newer question was asked; nobody waits for this answer."""


@dataclass(frozen=True)
class Power:
    """The fleet's mean power between ``edges_s``: shapes (n + 1,) and (n,)."""

    edges_s: Array
    power_w: Array


@dataclass(frozen=True)
class Answer:
    """What one state comes to.

    Attributes:
        line: the command line that says the state.
        document: what that command writes as ``summary.json``; None where it ends with an error.
        error: the one line that it ends with; None where it does not.
        power: of each policy of the document, by its name.
        saturated: what to know where queues still grew at the end; None where they did not.
        took_s: how long it took to find out.
        cpu_s: how long of that this process was at work: what it takes on a machine at rest.
    """

    line: str
    document: dict[str, Any] | None
    error: str | None
    power: dict[str, Power]
    saturated: str | None
    took_s: float
    cpu_s: float


def broken(line: str) -> Answer:
    """Return what is shown where a replay ended with a bug instead of an answer."""
    error = "a bug ended this replay: the terminal shows its traceback"
    return Answer(line, None, error, {}, None, 0.0, 0.0)


class Answers:
    """Answers questions about one trace and one calibration, one at a time, and remembers."""

    def __init__(self, trace: Trace, calibration: Calibration) -> None:
        """``trace`` is whole, as it was recorded; words say what is replayed of it."""
        self._trace, self._calibration = trace, calibration
        self._answers: _Memory[Answer] = _Memory(ANSWERS)
        self._outcomes: _Memory[Outcome] = _Memory(OUTCOMES)

    def of(self, words: Words, is_overtaken: Callable[[], bool] = lambda: False) -> Answer:
        """Return what ``words`` come to; an error of the user's is an answer, too.

        Raises:
            Overtaken: ``is_overtaken`` said so meanwhile.
        """
        return self._answers.of(_key(words), lambda: self._ask(words, is_overtaken))

    def _ask(self, words: Words, is_overtaken: Callable[[], bool]) -> Answer:
        begun_s, begun_cpu_s = time.monotonic(), time.thread_time()
        document, error, saturated = None, None, None
        power: dict[str, Power] = {}
        try:
            comparison = self._compare(words, is_overtaken)
        except UserError as mistake:
            error = str(mistake)
        else:
            document, power = summary(comparison), _powers(comparison)
            saturated = _saturated(comparison)
        return Answer(
            *(command_line(words), document, error, power, saturated),
            took_s=time.monotonic() - begun_s,
            cpu_s=time.thread_time() - begun_cpu_s,
        )

    def _compare(self, words: Words, is_overtaken: Callable[[], bool]) -> Comparison:
        def advance(_queries: int) -> None:
            if is_overtaken():
                raise Overtaken

        advance(0)
        scenario = scenario_of_words(words)
        require_sensible(scenario)
        trace = replayed_trace(self._trace, words)
        replay = self._remembering(words)
        compared = compare(trace, self._calibration, scenario, advance, replay)
        return replace(compared, words=words)

    def _remembering(self, words: Words) -> Replay:
        """Return what replays, and remembers the baseline's outcome for other policies."""
        rest = _key({name: value for name, value in words.items() if name != "policies"})

        def remembering(
            fleet: PreparedFleet,
            groups: tuple[Group, ...],
            queries: Queries,
            sizes: tuple[int, ...],
            advance: Callable[[int], None],
        ) -> Outcome:
            def replay() -> Outcome:
                return run_fleet(fleet, groups, queries, sizes, advance)

            if fleet.policy != words["baseline"]:
                return replay()
            return self._outcomes.of((rest, sizes), replay)

        return remembering


def _saturated(comparison: Comparison) -> str | None:
    policies = [
        result.outcome.policy
        for result in comparison.results
        if is_saturated(result.outcome, comparison.scenario)
    ]
    if not policies:
        return None
    return (
        f"Saturated under {' and '.join(policies)}: queues still grow at the end, so latencies "
        "depend on how much is replayed. Add replicas, or lower the load."
    )


def _powers(comparison: Comparison) -> dict[str, Power]:
    outcomes = [result.outcome for result in comparison.results]
    width_s = bin_width_s(max(outcome.makespan_s for outcome in outcomes))
    found = {}
    for outcome in outcomes:
        edges_s = np.append(np.arange(0.0, outcome.makespan_s, width_s), outcome.makespan_s)
        power_w = binned_power_w(outcome.replayed.intervals, edges_s)
        found[outcome.policy] = Power(edges_s, power_w)
    return found


def _key(words: Words) -> Hashable:
    return tuple(sorted(words.items(), key=lambda item: item[0]))


_T = TypeVar("_T")


class _Memory(Generic[_T]):
    """The values asked for last, ``most`` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[Hashable, _T] = OrderedDict()

    def of(self, key: Hashable, find: Callable[[], _T]) -> _T:
        if key not in self._known:
            self._known[key] = find()
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return self._known[key]
