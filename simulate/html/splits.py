"""Ways to split the energy of runs: by state of the replicas, by phase, by model.

In: summaries and what requests drew. Out: splits for bars.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from simulate.html.figures.energy import Split
from simulate.html.palette import SERIES_COUNT, STATES
from simulate.html.requests import Spread
from simulate.html.view import Series

Document = Mapping[str, Any]

_PHASES = {
    "prefill": "prefill",
    "decode": "decode",
    "switching": "switching clocks",
    "wasted": "lost with replicas that broke",
}
_NOBODY = "nobody: idle, asleep, starting"


def splits_of(
    summaries: Sequence[Document], spreads: Sequence[Spread], series: Sequence[Series]
) -> list[Split]:
    """Return the three splits, each with the joules of every series."""
    policies = [summaries[each.run]["policies"][each.policy] for each in series]
    return [
        Split(
            "energy-by-state",
            "Energy by state of the replicas",
            "Energy of the fleet by what its replicas were doing, a bar for each policy; mixed "
            "steps compute prompts and generate at once.",
            [policy["metrics"]["energy_by_state_j"] for policy in policies],
            {state: f"states-{index}" for index, state in enumerate(STATES)},
        ),
        Split(
            "energy-by-phase",
            "Energy by phase of the requests",
            "Energy that requests drew themselves, by phase, mixed steps shared out between both, "
            "and what nobody's request drew; a bar for each policy.",
            [
                _by_phase(policy["metrics"]["energy_j"], spread)
                for policy, spread in zip(policies, spreads, strict=True)
            ],
            {
                _PHASES["decode"]: "states-0",
                _PHASES["prefill"]: "states-1",
                _PHASES["switching"]: "states-3",
                _PHASES["wasted"]: "states-5",
                _NOBODY: "states-4",
            },
        ),
        _by_model(summaries, series),
    ]


def _by_phase(total_j: float, spread: Spread) -> dict[str, float]:
    own = {words: spread.own_j[phase] for phase, words in _PHASES.items()}
    return {**own, _NOBODY: max(total_j - sum(own.values()), 0.0)}


def _by_model(summaries: Sequence[Document], series: Sequence[Series]) -> Split:
    parts = []
    for each in series:
        policy = summaries[each.run]["policies"][each.policy]
        joules = policy["energy_by_replica_j"]
        found: dict[str, float] = {}
        for group in policy["groups"]:
            mine = sum(joules[replica] for replica in group["replicas"])
            found[group["model"]] = found.get(group["model"], 0.0) + mine
        parts.append(found)
    models = dict.fromkeys(model for found in parts for model in found)
    return Split(
        "energy-by-model",
        "Energy by model",
        "Energy of the replicas of each model over the whole run, idle time included, a bar for "
        "each policy.",
        parts,
        {model: f"series-{1 + index % (SERIES_COUNT - 1)}" for index, model in enumerate(models)},
    )
