"""One point, run: what a worker is sent, and the row that it sends back.

In: a task, in whatever process of whatever machine. Out: a row of plain values, the same wherever
it ran. A worker loads each trace and each calibration once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeAlias

import traces
from model.calibration import Calibration
from model.calibration import load as load_calibration
from phasewatt import __version__
from phasewatt.errors import UserError
from simulate.answers import answers_of
from simulate.batching import Disaggregated
from simulate.compare import Advance, Replay, compare
from simulate.groups import (
    Group,
    PreparedFleet,
    groups_of,
    models_of,
    prepare_fleet,
    run_fleet,
    sizes_of,
)
from simulate.inputs import Inputs, loaded_trace, replayed_trace
from simulate.outcome import Outcome
from simulate.prepare import queries_of
from simulate.serving import Queries
from simulate.sweep.digest import digest_of_file, name_of_trace
from simulate.sweep.figures import figures_of, refused
from simulate.words import Words, scenario_of_words
from traces import Trace

Row: TypeAlias = dict[str, Any]
"""What one point came to, by the names of :data:`simulate.sweep.figures.SCHEMA`."""

_KEPT = 4
"""Traces and calibrations that a worker holds at once."""


class Elsewhere(UserError):
    """A worker sees other files, or another version, than the sweep that sent it a point."""


@dataclass(frozen=True)
class Task:
    """A point as a worker needs it.

    Attributes:
        digest: what determines the row; see :mod:`simulate.sweep.digest`.
        words: the point's.
        sized_for: the policies that a fleet of ``--replicas auto`` keeps up under.
        trace, calibration: the digests of those that the words name.
        files: those of the other files that they name.
        version: of phasewatt.
    """

    digest: str
    words: Words
    sized_for: tuple[str, ...]
    trace: str
    calibration: str
    files: Mapping[str, str | None]
    version: str = __version__


def run_task(task: Task) -> Row:
    """Return the row of ``task``; of a point that cannot run, the row that says why.

    Raises:
        Elsewhere: trace, calibration, files or version are not those that the task was made from.
    """
    if task.version != __version__:
        raise Elsewhere(
            f"a worker runs phasewatt {__version__}; expected {task.version}, as this sweep does"
        )
    whole = _trace(name_of_trace(task.words), task)
    calibration = _calibration(task.words["calibration"], task)
    for name, expected in task.files.items():
        _require_same("file", name, _digest_of_file(name, expected), expected)
    try:
        scenario = scenario_of_words(task.words)
        inputs = Inputs(replayed_trace(whole, task.words), calibration, scenario)
        sized = None
        if scenario.replicas is None and not _says_how_many(inputs):
            sized = _SIZES.of(task, inputs)
            inputs = replace(inputs, scenario=replace(scenario, replicas=sized))
        replay = _BASELINES.replaying(task, sized, scenario.baseline)
        comparison = compare(inputs.trace, inputs.calibration, inputs.scenario, replay=replay)
    except UserError as error:
        return refused(task.digest, str(error))
    return figures_of(task.digest, comparison, sized)


def _says_how_many(inputs: Inputs) -> bool:
    scenario = inputs.scenario
    return bool(scenario.groups) or isinstance(scenario.batching, Disaggregated)


def _trace(name: tuple[Any, ...], task: Task) -> Trace:
    trace, found = _loaded_trace(name, task.trace)
    _require_same("trace", name[0], found, task.trace)
    return trace


def _calibration(name: str, task: Task) -> Calibration:
    calibration, found = _loaded_calibration(name, task.calibration)
    _require_same("calibration", name, found, task.calibration)
    return calibration


@lru_cache(_KEPT)
def _loaded_trace(name: tuple[Any, ...], _wanted: str) -> tuple[Trace, str]:
    named = dict(zip(("trace", "format_", "skip_bad_rows", "seed"), name, strict=True))
    try:
        loaded = loaded_trace(named)
    except UserError as error:
        raise Elsewhere(f"a worker cannot read what this sweep has read: {error}") from error
    return loaded, traces.digest(loaded)


@lru_cache(_KEPT)
def _loaded_calibration(name: str, _wanted: str) -> tuple[Calibration, str]:
    try:
        loaded = load_calibration(name)
    except UserError as error:
        raise Elsewhere(f"a worker cannot read what this sweep has read: {error}") from error
    return loaded, loaded.digest


@lru_cache(_KEPT)
def _digest_of_file(name: str, _wanted: str | None) -> str | None:
    return digest_of_file(name)


def _require_same(what: str, name: str, found: str | None, expected: str | None) -> None:
    if found != expected:
        raise Elsewhere(
            f"{what} {name}: a worker finds another content than this sweep did when it began: "
            "expected the same file everywhere, unchanged until the end"
        )


class _Sizes:
    """The size of the fleet of one setting, found once for all its policies."""

    def __init__(self) -> None:
        self._last: tuple[Any, int | None] = (None, None)

    def of(self, task: Task, inputs: Inputs) -> int | None:
        key = _setting(task, None)
        last, size = self._last
        if last != key:
            size = _fewest_replicas(inputs, (inputs.scenario.baseline, *task.sized_for))
            self._last = (key, size)
        return size


class _Baselines:
    """The outcome of one setting's baseline, replayed once for all its policies."""

    def __init__(self) -> None:
        self._last: tuple[Any, Outcome | None] = (None, None)

    def replaying(self, task: Task, sized: int | None, baseline: str) -> Replay:
        """Return what replays as :func:`simulate.groups.run_fleet` does, the baseline once."""
        key = _setting(task, sized)

        def replay(
            fleet: PreparedFleet,
            groups: tuple[Group, ...],
            queries: Queries,
            sizes: tuple[int, ...],
            advance: Advance,
        ) -> Outcome:
            if fleet.policy != baseline:
                return run_fleet(fleet, groups, queries, sizes, advance)
            last, outcome = self._last
            if last != (key, sizes) or outcome is None:
                outcome = run_fleet(fleet, groups, queries, sizes, advance)
                self._last = ((key, sizes), outcome)
            return outcome

        return replay


_SIZES = _Sizes()
_BASELINES = _Baselines()


def _setting(task: Task, sized: int | None) -> Any:
    """Return what tells the setting of ``task`` from others: all but its policy.

    Files of its policy count all the same: nobody can tell whether the baseline is in them.
    """
    words = {name: value for name, value in task.words.items() if name != "policies"}
    return (words, task.sized_for, task.trace, task.calibration, task.files, sized)


def _fewest_replicas(inputs: Inputs, policies: Sequence[str]) -> int | None:
    """Return the fewest replicas that keep up under every policy that can run; None if none can."""
    scenario = inputs.scenario
    queries = queries_of(inputs.trace, scenario)
    groups = groups_of(scenario, inputs.calibration)
    answers = answers_of(inputs.trace, scenario, models_of(groups))
    fleets = []
    for policy in dict.fromkeys(policies):
        try:
            fleets.append(prepare_fleet(policy, groups, queries, answers))
        except UserError:
            continue
    return sizes_of(groups, fleets, queries)[0] if fleets else None
