"""The words after a selection's colon: ``key=value`` parts, bare flags, one lone value.

In: text. Out: values by key, each checked when it is asked for; or one line what is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from phasewatt.errors import BadPolicy


@dataclass(frozen=True)
class Arguments:
    """The arguments of the selection written as ``policy``."""

    policy: str
    values: Mapping[str, str]

    @staticmethod
    def of(policy: str, argument: str, alone: str | None = None) -> "Arguments":
        """Read ``key=value,flag``; a first part without = is the value of ``alone``, if named.

        Raises:
            BadPolicy: a key comes twice, or a part is empty.
        """
        values: dict[str, str] = {}
        for index, part in enumerate(argument.split(",") if argument else ()):
            key, equals, value = part.strip().partition("=")
            if not equals and alone is not None and index == 0:
                key, value = alone, key
            if not key or (equals and not value):
                raise BadPolicy(f"policy {policy}: found {part!r}; expected KEY=VALUE")
            if key in values:
                raise BadPolicy(f"policy {policy}: found {key}= twice; expected it once")
            values[key] = value
        return Arguments(policy, values)

    def only(self, *known: str) -> "Arguments":
        """Return these arguments.

        Raises:
            BadPolicy: a key is not one of ``known``.
        """
        for key in self.values:
            if key not in known:
                raise BadPolicy(
                    f"policy {self.policy}: found {key!r}; expected "
                    f"{', '.join(known) or 'no arguments'}"
                )
        return self

    def has(self, key: str) -> bool:
        """Return whether ``key`` was given."""
        return key in self.values

    def text(self, key: str) -> str | None:
        """Return the words after ``key=``; None where it was not given."""
        return self.values.get(key)

    def flag(self, key: str) -> bool:
        """Return whether the bare word ``key`` was given.

        Raises:
            BadPolicy: it has a value.
        """
        if self.values.get(key):
            raise BadPolicy(
                f"policy {self.policy}: found {key}={self.values[key]}; expected {key} alone"
            )
        return key in self.values

    def number(
        self,
        key: str,
        least: float = -float("inf"),
        most: float = float("inf"),
        default: float | None = None,
    ) -> float:
        """Return the number after ``key=``; ``default`` where it was not given.

        Raises:
            BadPolicy: it is no finite number from ``least`` to ``most``, or is missing.
        """
        if key not in self.values and default is not None:
            return default
        found = self.values.get(key, "")
        try:
            value = float(found)
        except ValueError:
            value = float("nan")
        if not (least <= value <= most and abs(value) < float("inf")):
            limits = "" if least == -float("inf") else f" of {least:g} or more"
            limits = limits if most == float("inf") else f" from {least:g} to {most:g}"
            raise BadPolicy(
                f"policy {self.policy}: found {key}={found!r}; expected a number{limits}"
            )
        return value
