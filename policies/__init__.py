"""Decisions: which model serves a query, and which clock a phase runs at.

In: curves and what a policy may see. Out: requested clocks and chosen models; no files, no events.
"""

from policies.governor import UNLOCKED_MHZ, Governor, PhaseClocks, Setting
from policies.registry import PolicySpec, known_governors, make_governor, parse_policy
from policies.selection import Selection, Single, make_selection

__all__ = [
    "UNLOCKED_MHZ",
    "Governor",
    "PhaseClocks",
    "PolicySpec",
    "Selection",
    "Setting",
    "Single",
    "known_governors",
    "make_governor",
    "make_selection",
    "parse_policy",
]
