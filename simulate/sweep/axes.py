"""Axes: which options of a scenario a sweep varies, and through which values.

In: texts as written after ``--grid``, such as ``replicas=1:16`` and ``policy=a,b``. Out: axes, each
with its values as text, and as tables hold them.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import click

from phasewatt.errors import BadOption
from simulate.words import converted, option_named, text_of

POLICY = "policy"

CLOCKS = ("prefill-mhz", "decode-mhz")
"""Axes that no option stands for: the clock of each phase, set as ``phase-aware:`` sets it."""

_APART = {
    "by": "breaks one run down",
    "token-times": "writes a table of its own",
    "seed": "is what --seeds sets",
    "shuffle-seed": "is what --seeds sets",
}
"""Options that are no axes, and why."""

_COUNTED = ("replicas",)
"""Options that take a count or a word, so that ranges of them make sense too."""

_WHOLE = ("autoscale", "group", "host-power", "slo")
"""Options whose values hold commas more often than not: only ``;`` is between them."""

_MOST_VALUES = 100_000
_NUMBER = r"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER}):({_NUMBER})(?::({_NUMBER}))?")


@dataclass(frozen=True)
class Axis:
    """One option and its values.

    Attributes:
        name: the long name of the option, without dashes.
        texts: the values as one writes them after that option; several for an option that may be
            repeated.
        values: the same as a table holds them: numbers where all are, else text.
    """

    name: str
    texts: tuple[str | tuple[str, ...], ...]
    values: tuple[Any, ...]

    @property
    def column(self) -> str:
        """What a table calls the axis."""
        return self.name.replace("-", "_")

    @property
    def varies(self) -> bool:
        """Whether there is more than one value."""
        return len(self.values) > 1


def parse_axes(grids: Sequence[str]) -> tuple[Axis, ...]:
    """Read what is written after each ``--grid``, in the order in which axes are first named.

    ``NAME=A,B,C`` lists values, ``NAME=A:B:STEP`` counts from A to B (STEP is 1 unless given) where
    the option takes numbers, ``NAME=A;B`` lists values that hold commas (``A;`` is one; values of
    ``slo`` and its like are never parted at commas), and ``&`` joins what an option that may be
    repeated takes at once. An axis named again gets more values;
    values named again do not count twice.

    Raises:
        BadOption: no such option, a value that it does not take, or none.
    """
    texts: dict[str, list[str]] = {}
    for grid in grids:
        name, equals, written = grid.partition("=")
        if not equals or not written.strip(" ;,"):
            raise BadOption(f"--grid: found {grid!r}; expected NAME=VALUES, such as replicas=1:8")
        texts.setdefault(name.strip(), []).extend(_texts(name.strip(), written))
    return tuple(axis_of(name, values) for name, values in texts.items())


def axis_of(name: str, texts: Iterable[str]) -> Axis:
    """Return the axis of the option ``name`` through ``texts``, each one value.

    Raises:
        BadOption: no such option, or a value that it does not take.
    """
    texts = list(dict.fromkeys(texts))
    if name in CLOCKS:
        mhz = [_clock_mhz(name, text) for text in texts]
        return Axis(name, tuple(map(text_of, mhz)), tuple(mhz))
    option = _option(name)
    said = [tuple(text.split("&")) if option.multiple else text for text in texts]
    taken = [converted(option, each)[1] for each in said]
    if name in _COUNTED and all(text.isdecimal() for text in texts):
        taken = [int(text) for text in texts]
    plain = all(isinstance(each, bool | int | float) for each in taken)
    return Axis(name, tuple(said), tuple(taken) if plain else tuple(texts))


def clock_axis(name: str, written: str) -> Axis:
    """Read ``A:B:STEP`` or ``A,B,C`` in MHz, as written after the option ``--NAME``.

    Raises:
        BadOption: anything else.
    """
    try:
        return axis_of(name, _texts(name, written))
    except BadOption:
        raise BadOption(f"--{name}: found {written!r}; expected A:B:STEP or A,B,C in MHz") from None


def _texts(name: str, written: str) -> list[str]:
    """Return the values of a list, with ranges written out."""
    separator = ";" if ";" in written or name in _WHOLE else ","
    parts = [part.strip() for part in written.split(separator)]
    if separator == ";" and not parts[-1]:
        parts.pop()
    if not all(parts):
        raise BadOption(f"--grid {name}: found an empty value in {written!r}")
    if not _takes_numbers(name):
        return parts
    return [text for part in parts for text in _counted(name, part)]


def _counted(name: str, part: str) -> list[str]:
    found = _RANGE.fullmatch(part)
    if found is None:
        return [part]
    low, high = Decimal(found[1]), Decimal(found[2])
    if found[3] is None and name in CLOCKS:
        raise BadOption(f"--grid {name}: found {part!r}; expected A:B:STEP in MHz")
    step = Decimal(found[3] or 1)
    wrong = f"--grid {name}: found {part!r}; expected"
    if high < low or step <= 0:
        raise BadOption(f"{wrong} A:B[:STEP], B not below A and STEP more than 0")
    count = int((high - low) / step) + 1
    if count > _MOST_VALUES:
        raise BadOption(f"{wrong} at most {_MOST_VALUES:,} values; these are {count:,}")
    return [format((low + i * step).normalize(), "f") for i in range(count)]


def _takes_numbers(name: str) -> bool:
    if name in CLOCKS or name in _COUNTED:
        return True
    return isinstance(_option(name).type, click.types.IntParamType | click.types.FloatParamType)


def _option(name: str) -> click.Option:
    if name in _APART:
        raise BadOption(f"--grid {name}: cannot be an axis: --{name} {_APART[name]}")
    try:
        return option_named(name)
    except BadOption as error:
        raise BadOption(f"--grid: {error}") from None


def _clock_mhz(name: str, text: str) -> float:
    try:
        mhz = float(text)
    except ValueError:
        mhz = float("nan")
    if not 0 < mhz < float("inf"):
        raise BadOption(f"--grid {name}: found {text!r}; expected MHz, more than 0")
    return mhz
