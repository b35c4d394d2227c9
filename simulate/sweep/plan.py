"""The points of a sweep: every setting of its axes, each a whole command line.

In: words, axes, how many repeats. Out: points in order, policies and clocks varying fastest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from model.calibration import load as load_calibration
from model.work import Phase
from phasewatt.errors import BadOption
from policies import parse_policy, require_known
from simulate.compare import require_sensible
from simulate.groups import in_reach
from simulate.inputs import replayed_trace
from simulate.sweep.axes import CLOCKS, POLICY, Axis, axis_of
from simulate.words import Words, scenario_of_words, text_of, worded
from traces import Trace, parse_window
from traces.recipe import PREFIX as RECIPE

MARKED = ("max-frequency", "phase-aware", "min-energy", "min-edp", "min-ed2p")
"""The policies that a sweep over clocks marks unless others are named."""

CLOCKS_PER_PHASE = 9
"""How many clocks of each phase are swept unless a range is given."""

_MOST_POINTS = 1_000_000


@dataclass(frozen=True)
class Point:
    """One policy at one setting of the other axes, in one repeat.

    Attributes:
        number: its place in the sweep, from 0 on.
        at: the value of every axis but the policy's, by its column; None where the point has none:
            the clocks of a policy that is marked beside the grid of clocks.
        policy: what runs, as after ``--policy``.
        seed: the repeat's.
        is_mark: whether it is a policy beside a grid of clocks.
        words: all of it, as plain ``simulate`` takes it.
    """

    number: int
    at: Mapping[str, Any]
    policy: str
    seed: int
    is_mark: bool
    words: Words


@dataclass(frozen=True)
class Plan:
    """What a sweep runs.

    Attributes:
        words: what no axis changes.
        axes: those that decide a setting, then policies, then clocks.
        seeds: how many repeats each setting has.
        policies: those named, beside pairs of clocks. A fleet of ``--replicas auto`` is the
            smallest that keeps up under each of them, and under the baseline.
        points: all, in order.
    """

    words: Words
    axes: tuple[Axis, ...]
    seeds: int
    policies: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def over_clocks(self) -> bool:
        """Whether clocks are among the axes."""
        return any(axis.name in CLOCKS for axis in self.axes)


def plan_of(words: Words, axes: Sequence[Axis], seeds: int = 1) -> Plan:
    """Return the points of all ``axes`` at once, each ``seeds`` times over.

    Of several repeats each has its own ``--seed``, counted from that of ``words``; a trace that is
    not drawn by it has its queries shuffled among its arrivals by it. Clocks may be axes: each pair
    of them is a point, and the policies are marked beside the pairs; a phase without an axis then
    gets :data:`CLOCKS_PER_PHASE` clocks, and so do both if there are no axes at all. Every value of
    every axis is tried alone before anything runs.

    Raises:
        BadOption: a value that an option does not take, options that contradict each other, or more
            points than anyone can want.
        BadPolicy: an unknown policy.
        BadCalibration, OutOfRange: clocks that the calibration does not have.
    """
    named = next((axis for axis in axes if axis.name == POLICY), None)
    others = [axis for axis in axes if axis.name not in (POLICY, *CLOCKS)]
    clocks = [axis for axis in axes if axis.name in CLOCKS]
    policies = tuple(dict.fromkeys(words["policies"] if named is None else named.values))
    repeats = _seeds(words, seeds)
    settings = math.prod(len(axis.values) for axis in others) * len(repeats)
    _require_few(settings * len(policies))
    _require_each(words, others, policies)
    if clocks or not axes:
        clocks = _both_clocks(_first(words, others), clocks)
    pairs = [pair for pair in product(*(axis.values for axis in clocks)) if pair]
    _require_few(settings * (len(policies) + len(pairs)))
    nowhere = dict.fromkeys(axis.column for axis in clocks)
    runs = [(nowhere, policy, bool(pairs)) for policy in policies]
    runs += [(_at_clocks(clocks, pair), _held_at(pair), False) for pair in pairs]
    points: list[Point] = []
    for values in product(*(range(len(axis.values)) for axis in others)):
        chosen = list(zip(others, values, strict=True))
        setting = worded(words, {axis.name: axis.texts[i] for axis, i in chosen})
        at = {axis.column: axis.values[i] for axis, i in chosen}
        for seed in repeats:
            repeated = setting if seed is None else _repeated(setting, seed)
            for where, policy, is_mark in runs:
                whole = {**repeated, "policies": (policy,)}
                placed = Point(len(points), at | where, policy, whole["seed"], is_mark, whole)
                points.append(placed)
    ordered = (*others, *([] if named is None else [named]), *clocks)
    return Plan(words, ordered, len(repeats), policies, tuple(points))


def _require_few(points: int) -> None:
    if points > _MOST_POINTS:
        raise BadOption(f"--grid: found {points:,} points; expected at most {_MOST_POINTS:,}")


def _first(words: Words, axes: Sequence[Axis]) -> Words:
    """Return ``words`` with the first value of each axis."""
    return worded(words, {axis.name: axis.texts[0] for axis in axes})


def _require_each(words: Words, axes: Sequence[Axis], policies: Sequence[str]) -> None:
    """Raise what is wrong with any value of ``axes`` on its own, or with a name of a policy."""
    first = _first(words, axes)
    _require_sensible(first)
    for axis in axes:
        for texts in axis.texts[1:]:
            _require_sensible(worded(first, {axis.name: texts}))
    for policy in policies:
        require_known(parse_policy(policy))


def _require_sensible(words: Words) -> None:
    """Raise what is wrong with ``words`` whatever trace and calibration they name."""
    require_sensible(scenario_of_words(words))
    replayed_trace(_ANY, {**words, "window": None})
    if words["window"] is not None:
        parse_window(words["window"])


_ANY = Trace("any", np.zeros(1), np.ones(1, dtype=np.int64), np.ones(1, dtype=np.int64))


def _seeds(words: Words, seeds: int) -> list[int | None]:
    """Return the seed of each repeat; one None where there is one, as ``words`` say."""
    if seeds < 1:
        raise BadOption(f"--seeds: found {seeds}; expected 1 or more")
    if seeds == 1:
        return [None]
    if words["shuffle_seed"] is not None:
        raise BadOption("--seeds shuffles by every seed: leave --shuffle-seed out")
    return [words["seed"] + repeat for repeat in range(seeds)]


def _repeated(words: Words, seed: int) -> Words:
    drawn = words["trace"].startswith(RECIPE)
    return {**words, "seed": seed, "shuffle_seed": None if drawn else seed}


def _at_clocks(clocks: Sequence[Axis], pair: tuple[float, ...]) -> dict[str, Any]:
    return {axis.column: mhz for axis, mhz in zip(clocks, pair, strict=True)}


def _held_at(pair: tuple[float, ...]) -> str:
    prefill_mhz, decode_mhz = map(text_of, pair)
    return f"phase-aware:prefill={prefill_mhz},decode={decode_mhz}"


def _both_clocks(words: Words, given: Sequence[Axis]) -> list[Axis]:
    """Return the axes of both phases' clocks, the missing ones spread over what was calibrated."""
    if words["groups"]:
        raise BadOption("--group: a sweep over clocks is one of a single group; leave it out")
    scenario = scenario_of_words(words)
    calibration = in_reach(load_calibration(words["calibration"]), scenario)
    model = scenario.model or calibration.models[0]
    found = []
    for name, phase in zip(CLOCKS, Phase, strict=True):
        curves = calibration.curves_of(model, phase, scenario.engine)
        axis = next((axis for axis in given if axis.name == name), None)
        if axis is None:
            all_mhz = calibration.gpu.clocks_mhz(curves)
            which = np.linspace(0, all_mhz.size - 1, CLOCKS_PER_PHASE).round().astype(int)
            axis = axis_of(name, map(text_of, all_mhz[np.unique(which)].tolist()))
        curves.require_clock(np.array(axis.values))
        found.append(axis)
    return found
