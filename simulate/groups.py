"""Groups of a fleet: each a model on a GPU, with replicas of its own.

In: what follows ``--group``, a scenario, a calibration. Out: every group with its calibration; a
policy made ready for each of them, and a run of all together.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.beyond import beyond_measured
from model.calibration import Calibration
from model.calibration import load as load_calibration
from model.tensor_parallel import tensor_parallel
from phasewatt.errors import BadOption
from policies import parse_policy
from simulate.answers import Answers
from simulate.batching import Alone, Disaggregated
from simulate.costs.hardware import Kit
from simulate.legs import both_answers
from simulate.outcome import Outcome, ServedGroup
from simulate.pools import RanPools
from simulate.prepare import (
    Prepared,
    fleet_of,
    fleet_size,
    prepare,
    redrawn,
    serving_only,
)
from simulate.replay import Ran, Replayed
from simulate.scenario import Scenario
from simulate.selecting import Selected, select
from simulate.serving import Queries, run_on

_WRITTEN = re.compile(
    r"(?P<name>[^=,]+)=(?P<model>[^@,]+?)(@(?P<calibration>[^,]+?))?"
    r":(?P<replicas>\d+)(:(?P<decoding>\d+))?(,engine=(?P<engine>[^,]+))?(,gpus=(?P<gpus>[1-9]\d*))?"
)


@dataclass(frozen=True)
class Group:
    """Replicas of one model on one kind of GPU; ``name`` is empty where a fleet has no others.

    ``source`` says where its calibration is from, empty for that of the fleet. ``scenario`` is that
    of the fleet, with the group's own model, engine and pools. ``replicas`` is None where no
    groups are written and the scenario says how many.
    """

    name: str
    source: str
    calibration: Calibration
    scenario: Scenario
    replicas: int | None

    @property
    def kit(self) -> Kit:
        """What each of its replicas is made of."""
        calibration = self.calibration
        return Kit(self.scenario.tensor_parallel, calibration.name, calibration.host)


@dataclass(frozen=True)
class PreparedFleet:
    """A policy made ready for every group of a fleet, and who may serve what.

    ``selected`` is whom its selection chose; None where it has none, or the fleet one group.
    """

    policy: str
    groups: tuple[Prepared, ...]
    may: NDArray[np.bool_] | None
    selected: Selected | None = None


def groups_of(scenario: Scenario, calibration: Calibration) -> tuple[Group, ...]:
    """Return the groups of ``scenario``; one without a name, of ``calibration``, if it has none.

    Raises:
        BadOption: a group is not written as it should be, or twice.
        BadCalibration: a group's calibration does not exist.
    """
    calibration = in_reach(calibration, scenario)
    if not scenario.groups:
        joined = tensor_parallel(calibration, scenario.tensor_parallel, scenario.links)
        return (Group("", "", joined, scenario, None),)
    if scenario.replicas is not None:
        raise BadOption("--replicas: every --group says how many; leave it out")
    if scenario.model is not None or scenario.engine is not None:
        raise BadOption("--model and --engine: every --group names its own; leave them out")
    loaded = {"": calibration}
    groups = [_group(text, scenario, loaded) for text in scenario.groups]
    names = [group.name for group in groups]
    for name in names:
        if names.count(name) > 1:
            raise BadOption(f"--group: found {name!r} twice; expected another name for each")
    return tuple(groups)


def in_reach(calibration: Calibration, scenario: Scenario) -> Calibration:
    """Return ``calibration`` with the clocks that ``scenario`` lets policies use."""
    return beyond_measured(calibration) if scenario.beyond_measured else calibration


def sizes_of(
    groups: Sequence[Group], fleets: Sequence[PreparedFleet], queries: Queries
) -> tuple[int, ...]:
    """Return the replicas of each group; see :func:`simulate.prepare.fleet_size`."""
    if groups[0].replicas is None:
        runs = [fleet.groups[0] for fleet in fleets]
        return (fleet_size(runs, groups[0].scenario, queries),)
    return tuple(group.replicas or 0 for group in groups)


def models_of(groups: Sequence[Group]) -> tuple[str, ...]:
    """Return the models that the groups may run: of a fleet without --group, the calibration's."""
    found = [m for g in groups for m in ([g.scenario.model] if g.name else g.calibration.models)]
    return tuple(dict.fromkeys(model for model in found if model is not None))


def prepare_fleet(
    policy: str, groups: Sequence[Group], queries: Queries, answers: Answers
) -> PreparedFleet:
    """Make the policy named ``policy`` ready on every group: each has a governor of its own.

    Typical steps are those of replicas that share all queries evenly.

    Raises:
        BadPolicy, BadCalibration, OutOfRange: see :func:`simulate.prepare.prepare`.
    """
    if len(groups) == 1:
        only = prepare(policy, groups[0].scenario, groups[0].calibration, queries)
        return PreparedFleet(policy, (only,), None)
    spec = parse_policy(policy)
    whole = sum(group.replicas or 0 for group in groups)
    prepared = [
        replace(
            prepare(
                *(spec.governor, group.scenario, group.calibration),
                answers.answered_by(group.scenario.model, queries),
                share=(group.replicas or 0) / whole,
            ),
            policy=policy,
        )
        for group in groups
    ]
    if spec.selection is None:
        return PreparedFleet(policy, tuple(prepared), None)
    selected = select(spec.selection, prepared, answers, groups[0].scenario.seed)
    return PreparedFleet(policy, tuple(prepared), selected.first(prepared), selected)


def drawn_of(groups: Sequence[Group], seed: int, draw: int) -> dict[str, Calibration]:
    """Return every group's calibration, by its source, with coefficients of one draw."""
    calibrations = {group.source: group.calibration for group in groups}
    return {
        source: calibration.drawn(
            np.random.default_rng([seed, draw, index] if index else [seed, draw])
        )
        for index, (source, calibration) in enumerate(calibrations.items())
    }


def redrawn_fleet(
    fleet: PreparedFleet, groups: Sequence[Group], drawn: Mapping[str, Calibration]
) -> PreparedFleet:
    """Return ``fleet`` as it would fare on the calibrations ``drawn``, by their sources."""
    return replace(
        fleet,
        groups=tuple(
            redrawn(ready, drawn[group.source], group.scenario.engine)
            for ready, group in zip(fleet.groups, groups, strict=True)
        ),
    )


def run_fleet(
    fleet: PreparedFleet,
    groups: Sequence[Group],
    queries: Queries,
    sizes: Sequence[int],
    advance: Callable[[int], None] = lambda _n: None,
) -> Outcome:
    """Replay ``queries`` under one policy on ``sizes`` replicas of each group.

    Raises:
        BadOption: nobody knows a GPU's idle power.
    """
    served = _served(fleet, groups, sizes)
    selected = fleet.selected
    if selected is None or not selected.choice.escalated.any():
        ran = _run(fleet.groups, groups, sizes, replace(queries, may=fleet.may), advance)
        replayed = ran.replayed(ran.end_s)
    else:
        replayed = _replay_twice(fleet, selected, groups, sizes, served, queries, advance)
    if isinstance(groups[0].scenario.batching, Alone):
        # Governors that look are served step by step even there: nothing was batched.
        replayed = replace(replayed, batches=None)
    outcome = Outcome(
        policy=fleet.policy,
        groups=served,
        arrival_s=queries.arrival_s,
        prompt_tokens=queries.lengths.prompt_tokens,
        output_tokens=queries.lengths.output_tokens,
        replayed=replayed,
    )
    if all(ready.lengths is queries.lengths for ready in fleet.groups):
        return outcome
    tokens = np.stack([ready.lengths.output_tokens for ready in fleet.groups])
    return replace(outcome, output_tokens=tokens[outcome.group_of, np.arange(tokens.shape[1])])


def _run(
    ready: Sequence[Prepared],
    groups: Sequence[Group],
    sizes: Sequence[int],
    queries: Queries,
    advance: Callable[[int], None],
    stream: int = 0,
) -> Ran | RanPools:
    parts = []
    for each, group, size in zip(ready, groups, sizes, strict=True):
        fleet = fleet_of(each, group.scenario, size)
        if fleet.faults is not None:
            fleet = replace(fleet, faults=replace(fleet.faults, stream=stream))
        parts.append(each.serving.on(replace(queries, lengths=each.lengths), fleet))
    return run_on(parts, queries, advance)


_SECOND_STREAM = 2
"""Of the faults of replicas that answer second; two pools that answer first have 0 and 1."""


def _replay_twice(
    fleet: PreparedFleet,
    selected: Selected,
    groups: Sequence[Group],
    sizes: Sequence[int],
    served: Sequence[ServedGroup],
    queries: Queries,
    advance: Callable[[int], None],
) -> Replayed:
    """Replay first answers, then the second ones, which are asked for where the first ones end.

    They are given by groups of other models, so that the one run knows nothing of the other.
    """
    then = selected.then(fleet.groups)
    is_second = then.any(axis=0)
    legs = [np.flatnonzero(~is_second).tolist(), np.flatnonzero(is_second).tolist()]
    of_leg = [([groups[g] for g in leg], [sizes[g] for g in leg]) for leg in legs]
    may = selected.first(fleet.groups)[:, legs[0]]
    ready = [fleet.groups[g] for g in legs[0]]
    first = _run(ready, *of_leg[0], replace(queries, may=may), advance)
    again = np.flatnonzero(selected.choice.escalated & ~np.isnan(first.finish_s))
    if again.size == 0:
        whole = replace(queries, may=selected.first(fleet.groups))
        ran = _run(fleet.groups, groups, sizes, whole, lambda _n: None)
        return ran.replayed(ran.end_s)
    again = again[np.argsort(first.finish_s[again], kind="stable")]
    ready = [serving_only(fleet.groups[g], again) for g in legs[1]]
    asked = replace(
        queries,
        arrival_s=first.finish_s[again],
        lengths=queries.lengths.take(again),
        may=then[again][:, legs[1]],
    )
    second = _run(ready, *of_leg[1], asked, lambda _n: None, _SECOND_STREAM)
    end_s = max(first.end_s, second.end_s)
    numbers = [
        _numbers(*of, [served[g] for g in leg]) for of, leg in zip(of_leg, legs, strict=True)
    ]
    return both_answers(
        (first.replayed(end_s), numbers[0]), (second.replayed(end_s), numbers[1]), again
    )


def _numbers(
    groups: Sequence[Group], sizes: Sequence[int], served: Sequence[ServedGroup]
) -> list[int]:
    """Return what the fleet calls the replicas of some of its groups, in the order of a run."""
    counts = [size - _decoding(group) for group, size in zip(groups, sizes, strict=True)]
    both = list(zip(served, counts, strict=True))
    return [n for mine, count in both for n in mine.replicas[:count]] + [
        n for mine, count in both for n in mine.replicas[count:]
    ]


def _served(
    fleet: PreparedFleet, groups: Sequence[Group], sizes: Sequence[int]
) -> tuple[ServedGroup, ...]:
    """Return the groups with the numbers of their replicas: of pools, those that prefill first."""
    decoding = [_decoding(group) for group in groups]
    first = 0
    numbers: list[list[int]] = []
    for size, of_decode in zip(sizes, decoding, strict=True):
        numbers.append(list(range(first, first + size - of_decode)))
        first += size - of_decode
    for mine, of_decode in zip(numbers, decoding, strict=True):
        mine.extend(range(first, first + of_decode))
        first += of_decode
    return tuple(
        ServedGroup(group.name, ready.model, tuple(mine))
        for group, ready, mine in zip(groups, fleet.groups, numbers, strict=True)
    )


def _decoding(group: Group) -> int:
    batching = group.scenario.batching
    return batching.decode_replicas if isinstance(batching, Disaggregated) else 0


def _group(text: str, scenario: Scenario, loaded: dict[str, Calibration]) -> Group:
    pooled = isinstance(scenario.batching, Disaggregated)
    found = _WRITTEN.fullmatch(text)
    if found is None or pooled != bool(found["decoding"]):
        counts = "PREFILLING:DECODING" if pooled else "REPLICAS"
        raise BadOption(
            f"--group: found {text!r}; expected NAME=MODEL[@CALIBRATION]:{counts}"
            "[,engine=NAME][,gpus=N]"
        )
    sizes = [int(found[key]) for key in ("replicas", "decoding") if found[key]]
    if min(sizes) < 1:
        raise BadOption(f"--group {found['name']}: found 0 replicas; expected 1 or more")
    gpus = int(found["gpus"] or scenario.tensor_parallel)
    file = found["calibration"] or ""
    source = f"{file} x {gpus}"
    if file not in loaded:
        loaded[file] = in_reach(load_calibration(file), scenario)
    if source not in loaded:
        loaded[source] = tensor_parallel(loaded[file], gpus, scenario.links)
    batching = scenario.batching
    if isinstance(batching, Disaggregated):
        batching = replace(batching, prefill_replicas=sizes[0], decode_replicas=sizes[1])
    own = replace(
        scenario,
        groups=(),
        model=found["model"],
        engine=found["engine"],
        batching=batching,
        tensor_parallel=gpus,
        replicas=None if pooled else sizes[0],
    )
    return Group(found["name"], source, loaded[source], own, sum(sizes))
