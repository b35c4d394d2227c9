"""A scenario file as it is written: every option with its help, and what words say filled in.

In: words. Out: TOML that :mod:`simulate.scenario_file` reads back to the same words.
"""

import json
import textwrap
from pathlib import Path
from typing import Any

import click

from simulate.cli import main
from simulate.scenario_file import file_options, tables
from simulate.scenario_paths import seen_from
from simulate.topics import OWN, topic_of
from simulate.words import Words, default_words, long_name

HEAD = """\
# A scenario: simulate --scenario FILE. What the command line says wins over what stands here.
# Keys are the long names of options. A line such as "# limit = N" says nothing until its # is
# taken away; it shows the default, or what may stand there. Paths are seen from this file.
"""


def scenario_text(words: Words, directory: Path = Path()) -> str:
    """Return a scenario file for ``directory`` that says ``words``, and what else could be said.

    Files that ``words`` name are named as seen from ``directory``.
    """
    defaults = default_words()
    topics: dict[str, list[str]] = {}
    for option in file_options(main).values():
        name = str(option.name)
        given = words.get(name)
        if name in words and given != defaults[name]:
            each = given if isinstance(given, tuple) else (given,)
            seen = [seen_from(v, option, directory) if isinstance(v, str) else v for v in each]
            told = _told(option, seen if option.multiple else seen[0])
        else:
            told = _told(option)
        topics.setdefault(f"# --- {topic_of(option)} ---", []).extend(told)
    for table, command in tables().items():
        own = [each for each in file_options(command).values() if topic_of(each) == OWN]
        if own:
            lines = topics.setdefault(f"# --- Only for `simulate {table}` ---", [f"[{table}]", ""])
            for option in own:
                lines += _told(option)
    return "\n".join((HEAD, *("\n".join((topic, "", *topics[topic])) for topic in topics)))


def toml_value(value: Any) -> str:
    """Return text, a number, a truth or a list of such as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str):
        # JSON escapes what TOML does, but for one control character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def _told(option: click.Option, value: Any = None) -> list[str]:
    help_ = textwrap.wrap(option.help or "", 98)
    said = f"{long_name(option)} = "
    said = f"# {said}{_default(option)}" if value is None else f"{said}{toml_value(value)}"
    return [*(f"# {line}" for line in help_), said, ""]


def _default(option: click.Option) -> str:
    """Return the default of ``option``, or what stands for a value where there is none."""
    default = option.get_default(click.Context(main))
    if isinstance(default, bool | str | int | float | tuple) and default != ():
        return toml_value(default)
    shown = option.metavar or "|".join(getattr(option.type, "choices", ())) or "..."
    if option.type.name not in ("integer", "float"):
        shown = toml_value(shown)
    return f"[{shown}]" if option.multiple else shown
