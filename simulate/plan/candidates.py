"""What a plan chooses among: every combination of the axes under every policy.

In: words and axes. Out: candidates, each the words of a fleet whose size is yet to be found.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from phasewatt.errors import BadOption
from policies import parse_policy
from policies.registry import require_known
from simulate.batching import Disaggregated
from simulate.inputs import scenario_of
from simulate.plan.split import POOLS, pools_of
from simulate.sweep.axes import CLOCKS, POLICY, Axis
from simulate.words import Words, worded
from traces.recipe import PREFIX

POLICIES = ("max-frequency", "phase-aware", "phase-aware-amortised", "min-edp", "feedback")
"""The governors that are tried unless others are named."""

STOCK = "max-frequency"

BATCHING = ("none", "continuous")
"""The ways of batching that are tried unless others are named."""

_NOT_PLANNED = (*CLOCKS, "replicas", "rate-scale", "trace", "slo", "group")
"""What is no axis of a plan: it finds sizes, policies name clocks, and all share the others."""

_OF_OUTPUTS = {"by": (), "token_times": False, "warm_up": "0"}
"""Options about what is told of a run, which a plan does not ask for."""


@dataclass(frozen=True)
class Candidate:
    """A kind of fleet.

    Attributes:
        items: its words, one policy among them, as items so that it can be a key.
        policy: that policy.
        setting: what tells it from others of the same policy, such as ``continuous``.
        gpus: GPUs of one replica.
        fixed: how many replicas it has; None: as many as it needs.
        pools: whether these are split into two pools; ``prefilling`` is the share of the first,
            which looks at the curves tell.
    """

    items: tuple[tuple[str, Any], ...]
    policy: str
    setting: str
    gpus: int
    fixed: int | None
    pools: bool = False
    prefilling: float | None = None

    @property
    def words(self) -> dict[str, Any]:
        """The words of the fleet, without its size."""
        return dict(self.items)

    @property
    def label(self) -> str:
        """What a table calls it."""
        return f"{self.setting} {self.policy}".strip()

    def sized(self, replicas: int) -> dict[str, Any]:
        """Return the words of the fleet of that size."""
        if self.fixed is not None:
            return self.words
        if self.pools:
            prefilling, decoding = pools_of(replicas, self.prefilling or 0.0)
            return {**self.words, "batching": f"{POOLS}:{prefilling}:{decoding}"}
        return {**self.words, "replicas": str(replicas)}

    def under(self, policy: str) -> "Candidate":
        """Return the same kind of fleet, of the same model, under another governor."""
        selection = parse_policy(self.policy).selection
        if selection is not None:
            policy = f"{selection}+{policy}"
        words = {**self.words, "policies": (policy,), "baseline": policy}
        return replace(self, items=tuple(words.items()), policy=policy)

    @property
    def kind(self) -> "Candidate":
        """The same kind of fleet under the policy that stands for all of them, not split yet."""
        return replace(self.under(STOCK), prefilling=None)

    @property
    def smallest(self) -> int:
        """Replicas of the smallest fleet."""
        return 2 if self.pools else 1

    @property
    def redraws(self) -> bool:
        """Whether another seed draws another trace, rather than other places of its lengths."""
        return str(self.words["trace"]).startswith(PREFIX)


def candidates_of(words: Words, axes: Sequence[Axis] = ()) -> tuple[Candidate, ...]:
    """Return a candidate for each combination of ``axes`` and each policy of ``words``.

    Raises:
        BadOption: an axis that is none of a plan, several groups, or options that contradict.
        BadPolicy: a policy that there is not.
    """
    if words["groups"]:
        raise BadOption("--group: a plan finds the size of a fleet of one kind; leave it out")
    for axis in axes:
        if axis.name in _NOT_PLANNED:
            raise BadOption(f"--grid {axis.name}: cannot be an axis of a plan")
    found: dict[tuple[bool, tuple[tuple[str, Any], ...]], Candidate] = {}
    for changes, setting in _combinations(axes):
        changed = {**worded(words, changes), **_OF_OUTPUTS}
        for policy in changed["policies"]:
            require_known(parse_policy(policy))
            each = {**changed, "policies": (policy,), "baseline": policy, "draws": 0}
            pools = each["batching"] == POOLS
            if pools:
                each["batching"] = f"{POOLS}:1:1"
            items = tuple(each.items())
            scenario = scenario_of(each, (policy,))
            fixed, batching = scenario.replicas, scenario.batching
            if isinstance(batching, Disaggregated) and not pools:
                fixed = batching.prefill_replicas + batching.decode_replicas
            gpus = scenario.tensor_parallel
            found.setdefault((pools, items), Candidate(items, policy, setting, gpus, fixed, pools))
    return tuple(found.values())


def _combinations(
    axes: Sequence[Axis],
) -> Iterator[tuple[dict[str, str | tuple[str, ...]], str]]:
    """Yield what each combination changes, and how it is told from the others."""
    for texts in product(*(axis.texts for axis in axes)):
        told = [
            _told(axis, text)
            for axis, text in zip(axes, texts, strict=True)
            if axis.varies and axis.name != POLICY
        ]
        yield {axis.name: text for axis, text in zip(axes, texts, strict=True)}, " ".join(told)


def _told(axis: Axis, text: str | tuple[str, ...]) -> str:
    """Return a value as a table tells it; a number alone would tell nothing."""
    told = text if isinstance(text, str) else " ".join(text)
    return f"{axis.name}={told}" if told.replace(".", "").isdecimal() else told
