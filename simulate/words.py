"""Words: what a command line, a scenario file, an axis of a grid and a slider say alike.

In: options as text, or as click parsed them. Out: a mapping from option to value, the inputs that
it names, and the command line that says the same. Which options there are, :mod:`simulate.options`
alone declares.
"""

import difflib
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import click

from phasewatt.errors import BadOption
from simulate.breakdown import parse_by
from simulate.inputs import Inputs, inputs_of, scenario_of
from simulate.options import REPLAY, said
from simulate.scenario import Scenario
from simulate.warmup import parse_warm_up

Words: TypeAlias = Mapping[str, Any]
"""The value of every option of `simulate` itself but those about outputs, by click's name of the
parameter (``rate_scale``), as click converts it."""


def default_words() -> dict[str, Any]:
    """Return every option at its default."""
    return dict(_defaults())


def worded(words: Words, changes: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
    """Return ``words`` with ``changes``, by long option name without dashes.

    Text is converted as on the command line; a flag takes ``true`` or ``false``, and an option that
    may be repeated takes one text or several. Values replace, they do not add.

    Raises:
        BadOption: no such option, or a value that it does not take.
    """
    return {
        **words,
        **dict(converted(option_named(name), text) for name, text in changes.items()),
    }


def inputs_of_words(words: Words) -> Inputs:
    """Return the trace, the calibration and the scenario that ``words`` name.

    Raises:
        BadTrace, BadCalibration, BadOption: something named does not exist or contradicts another.
    """
    return inputs_of(words, words["policies"], **_replay(words))


def scenario_of_words(words: Words) -> Scenario:
    """Return the scenario that ``words`` say; neither trace nor calibration is read.

    Raises:
        BadOption: an option contradicts another, or holds an unusable value.
    """
    return scenario_of(words, words["policies"], **_replay(words))


def command_line(words: Words, command: str = "simulate") -> str:
    """Return the shortest line of a shell that says ``words``: what differs from the defaults."""
    return " ".join((command, *map(shlex.quote, _arguments(words))))


def spelt(words: Words) -> dict[str, Any]:
    """Return ``words`` as a scenario file spells them: by long option name, without what is None.

    Options at their defaults are there, too: defaults may change between versions.
    """
    return {
        long_name(option): list(value) if option.multiple else value
        for option in word_options()
        for value in (words[str(option.name)],)
        if value is not None and value != ()
    }


def option_named(name: str, among: Iterable[click.Option] | None = None) -> click.Option:
    """Return the option of ``among`` (those that words hold) whose long name is ``name``.

    Raises:
        BadOption: there is none; the line suggests the nearest.
    """
    named = {long_name(each): each for each in (word_options() if among is None else among)}
    if name not in named:
        near = difflib.get_close_matches(name, named, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(named)}"
        raise BadOption(f"no option {name!r}; {hint}")
    return named[name]


def word_options() -> tuple[click.Option, ...]:
    """Return the options that words hold, in the order of help."""
    return tuple(each for each in _said().params if isinstance(each, click.Option))


def long_name(option: click.Option) -> str:
    """Return the long name of ``option`` without dashes: ``rate-scale``."""
    return max(option.opts, key=len).lstrip("-")


def converted(option: click.Option, text: str | Sequence[str]) -> tuple[str, Any]:
    """Return the name of ``option``'s parameter, and ``text`` as click converts it.

    Raises:
        BadOption: the option takes no such value.
    """
    context = click.Context(_said())
    texts = (text,) if option.multiple and isinstance(text, str) else text
    try:
        value = option.type_cast_value(context, texts)
    except click.BadParameter as error:
        raise BadOption(f"--{long_name(option)}: {error.message}") from None
    assert option.name is not None
    return option.name, value


def text_of(value: str | int | float) -> str:
    """Return ``value`` as one writes it: the shortest text that is read back as the same."""
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _replay(words: Words) -> dict[str, Any]:
    """Return what `simulate` itself puts into a scenario beside the shared options."""
    return {
        "baseline": words["baseline"],
        "draws": words["draws"],
        "warm_up": parse_warm_up(words["warm_up"]),
        "by": tuple(dict.fromkeys(parse_by(way) for way in words["by"])),
        "token_times": words["token_times"],
    }


@cache
def _defaults() -> Words:
    return _said().make_context("simulate", []).params


@cache
def _said() -> click.Command:
    """Return a command that takes what words hold and does nothing."""
    return click.command("simulate")(said(*REPLAY)(lambda **_words: None))


def _arguments(words: Words) -> Iterator[str]:
    defaults = default_words()
    for option in word_options():
        assert option.name is not None
        value = words[option.name]
        if value == defaults[option.name]:
            continue
        if option.is_flag:
            yield f"--{long_name(option)}"
            continue
        for each in value if option.multiple else (value,):
            yield f"--{long_name(option)}"
            yield text_of(each)
