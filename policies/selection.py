"""Selections: which model serves a query, and which one answers after it.

In: a :class:`policies.sight.Sight`. Out: a :class:`policies.sight.Choice`; or one line why not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from phasewatt.errors import BadPolicy
from policies.arguments import Arguments
from policies.sight import Choice, Sight
from policies.thresholds import Cascade, Difficulty, Rule
from policies.worth import EnergyPerQuality, Oracle


class Selection(Protocol):
    """Chooses the models that answer every query."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def models(self, at_hand: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the models ``at_hand`` that it may choose.

        Raises:
            BadPolicy: it names a model that is not at hand.
        """
        ...

    def choose(self, sight: Sight) -> Choice:
        """Return who answers each query.

        Raises:
            BadPolicy: ``sight`` lacks what it must look at.
        """
        ...


@dataclass(frozen=True)
class Single:
    """Every query goes to one model."""

    model: str

    @property
    def name(self) -> str:
        """``single:MODEL``."""
        return f"single:{self.model}"

    def models(self, at_hand: tuple[str, ...]) -> tuple[str, ...]:
        """Return the one model."""
        _require(self.name, self.model, at_hand)
        return (self.model,)

    def choose(self, sight: Sight) -> Choice:
        """Return the one model for every query."""
        column = sight.index(self.name, self.model)
        return Choice.once(np.full(sight.queries, column, dtype=np.int64))


@dataclass(frozen=True)
class Random:
    """Every query goes to a model by lot: ``shares`` says how likely each is.

    Without ``shares`` the dearest model has probability ``large`` and the cheapest the rest.
    """

    name: str
    large: float
    shares: Mapping[str, float]

    def models(self, at_hand: tuple[str, ...]) -> tuple[str, ...]:
        """Return the models that have a share; all where none is named."""
        for model in self.shares:
            _require(self.name, model, at_hand)
        return tuple(m for m in at_hand if m in self.shares) if self.shares else at_hand

    def choose(self, sight: Sight) -> Choice:
        """Draw a model for every query."""
        chance = np.zeros(len(sight.models))
        if self.shares:
            for model, share in self.shares.items():
                chance[sight.index(self.name, model)] = share
        else:
            chance[0] += 1 - self.large
            chance[-1] += self.large
        rng = np.random.default_rng([sight.seed, sight.queries])
        return Choice.once(rng.choice(chance.size, size=sight.queries, p=chance / chance.sum()))


def make_selection(text: str) -> Selection:
    """Return the selection that ``text`` names: ``NAME`` or ``NAME:ARGUMENTS``.

    Raises:
        BadPolicy: there is no such selection, or its arguments are wrong.
    """
    name, _, argument = text.partition(":")
    if name not in SELECTIONS:
        raise BadPolicy(f"unknown selection {name!r}; expected one of {', '.join(SELECTIONS)}")
    if name == "single":
        if not argument:
            raise BadPolicy("policy single: found no model; expected single:MODEL")
        return Single(argument)
    if name == "random":
        return _random(text, argument)
    if name == "oracle":
        return Oracle.of(Arguments.of(text, argument))
    if name == "energy-per-quality":
        return EnergyPerQuality.of(Arguments.of(text, argument, alone="lambda"))
    if name == "rule":
        return Rule.of(Arguments.of(text, argument))
    if name == "difficulty":
        return Difficulty.of(Arguments.of(text, argument))
    return Cascade.of(Arguments.of(text, argument))


SELECTIONS = (
    "single",
    "random",
    "rule",
    "difficulty",
    "cascade",
    "energy-per-quality",
    "oracle",
)
"""The names that can be typed."""


def _random(text: str, argument: str) -> Random:
    """Read ``0.3``, the dearest model's part, or ``MODEL=0.3,MODEL=0.7``."""
    if "=" not in argument:
        return Random(text, Arguments.of(text, argument, alone="p").number("p", 0, 1), {})
    given = Arguments.of(text, argument)
    shares = {model: given.number(model, 0, 1) for model in given.values}
    if not np.isclose(sum(shares.values()), 1):
        raise BadPolicy(
            f"policy {text}: found shares that add up to {sum(shares.values()):g}; expected 1"
        )
    return Random(text, 0.0, shares)


def _require(policy: str, model: str, at_hand: tuple[str, ...]) -> None:
    if model not in at_hand:
        raise BadPolicy(
            f"policy {policy}: unknown model {model!r}; expected one of {', '.join(at_hand)}"
        )
