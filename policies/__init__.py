"""Decisions: which model serves a query, and which clock a phase runs at.

In: curves and what a policy may see. Out: requested clocks and chosen models; no files, no events.
"""

from policies.governor import UNLOCKED_MHZ, Governor, PhaseClocks, Setting
from policies.pools import governor_of
from policies.registry import (
    PolicySpec,
    known_governors,
    make_governor,
    parse_policy,
    require_known,
)
from policies.selection import SELECTIONS, Selection, make_selection
from policies.sight import Choice, Predictions, Promise, Sight
from policies.situation import Decision, Looking, Pilot, Situation, Watch

__all__ = [
    "SELECTIONS",
    "UNLOCKED_MHZ",
    "Choice",
    "Decision",
    "Governor",
    "Looking",
    "PhaseClocks",
    "Pilot",
    "PolicySpec",
    "Predictions",
    "Promise",
    "Selection",
    "Setting",
    "Sight",
    "Situation",
    "Watch",
    "governor_of",
    "known_governors",
    "make_governor",
    "make_selection",
    "parse_policy",
    "require_known",
]
