"""The cheapest fleet that keeps its promise: candidates in, a plan out.

In: words, axes, goals, an objective. Out: :class:`Plan`.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from phasewatt.errors import BadOption
from simulate.costs import Costs, Growth, Objective
from simulate.inputs import scenario_of
from simulate.plan.candidates import Candidate, candidates_of
from simulate.plan.goals import Goals
from simulate.plan.looks import look
from simulate.plan.months import Month, schedule
from simulate.plan.ranking import Choice, Ranking, look_at, rank
from simulate.plan.runs import forget, run
from simulate.plan.search import UNRUNNABLE, Question
from simulate.plan.what_if import Headroom, WhatIf, headroom, what_ifs
from simulate.plan.workers import Workers
from simulate.sweep.axes import Axis
from simulate.words import Words

DEFAULT_DRAWS = 5

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Plan:
    """What to buy and how to run it.

    Attributes:
        words: what all candidates have in common.
        question: what was asked, at the highest load that is planned for.
        costs: what bills are made of.
        candidates: all of them.
        ranking: choices and the others.
        schedule: the months of the best choice; none without growth.
        what_ifs: how the best choice changes with what was assumed; none without a choice.
        headroom: up to which load it keeps its goals; None without a choice.
        simulated: how many runs all of that took.
    """

    words: Words
    question: Question
    costs: Costs
    candidates: tuple[Candidate, ...]
    ranking: Ranking
    schedule: tuple[Month, ...]
    what_ifs: tuple[WhatIf, ...]
    headroom: Headroom | None
    simulated: int

    @property
    def choice(self) -> Choice | None:
        """The best choice; None where nothing keeps the promise."""
        return self.ranking.choices[0] if self.ranking.choices else None

    def words_of(self, choice: Choice) -> Words:
        """Return what ``simulate`` is told to replay ``choice``."""
        sized = choice.candidate.sized(choice.replicas)
        return {**sized, "baseline": self.words["baseline"], "draws": self.words["draws"]}


def plan(
    words: Words,
    goals: Goals,
    objective: Objective,
    axes: Sequence[Axis] = (),
    growth: Growth | None = None,
    draws: int = DEFAULT_DRAWS,
    jobs: int | None = None,
    advance: Advance = lambda _n: None,
) -> Plan:
    """Return the cheapest fleet that keeps ``goals``, among ``axes`` and the policies of ``words``.

    Same words, same plan, whatever ``jobs``; None takes all cores that may be used.

    Raises:
        BadTrace, BadCalibration, BadOption: words that contradict, or name what does not exist.
    """
    if draws < 2:
        raise BadOption(f"--seeds: found {draws}; expected 2 or more, for a promise")
    jobs = len(os.sched_getaffinity(0)) if jobs is None else jobs
    if jobs < 1:
        raise BadOption(f"--jobs: found {jobs}; expected 1 or more")
    candidates = candidates_of(words, axes)
    costs = scenario_of(candidates[0].words, words["policies"]).costs or Costs()
    objective.require(costs)
    question = Question(goals, objective, draws, 1.0 if growth is None else growth.highest)
    forget()
    with Workers(look, jobs) as looking:
        looks = look_at(candidates, question, looking)
    with Workers(run, jobs, advance) as running:
        ranking = rank(looks, question, costs, running)
        _require_some_can_run(ranking)
        months: tuple[Month, ...] = ()
        if growth is not None and ranking.choices:
            ranking, months = schedule(ranking, question, growth, running)
        changes: tuple[WhatIf, ...] = ()
        room = None
        if ranking.choices:
            changes = what_ifs(ranking, question, costs, running)
            room = headroom(ranking.choices[0], question, running)
        simulated = running.count
    return Plan(words, question, costs, candidates, ranking, months, changes, room, simulated)


def _require_some_can_run(ranking: Ranking) -> None:
    """Raise :class:`BadOption` where not one candidate can be run, with what keeps the first."""
    reasons = [each.reason for each in ranking.dropped]
    if not ranking.choices and all(reason.startswith(UNRUNNABLE) for reason in reasons):
        raise BadOption(reasons[0].removeprefix(UNRUNNABLE))
