"""The files that a scenario names, as seen from another place.

In: the text of an option, and a directory. Out: the text with those parts that name files seen from
there, or from where the command runs.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

import click

from simulate.topics import Topical


def seen_from(text: str, option: click.Option, directory: Path) -> str:
    """Return ``text`` with those parts that name files as seen from ``directory``."""
    return _resolved(text, option, lambda name: os.path.relpath(name, directory), _is_file)


def seen_here(text: str, option: click.Option, directory: Path) -> str:
    """Return ``text``, written in ``directory``, with files named as seen from the command."""

    def there(name: str) -> str:
        return os.path.normpath(directory / name)

    # What is no file from either place is left to be refused as it is written.
    return _resolved(text, option, there, lambda name: _is_file(there(name)) or _is_file(name))


def _resolved(
    text: str, option: click.Option, seen: Callable[[str], str], is_file: Callable[[str], bool]
) -> str:
    if isinstance(option.type, click.Path):
        return seen(text)
    if not isinstance(option, Topical) or option.files is None:
        return text

    def replaced(match: re.Match[str]) -> str:
        name = match[0]
        # Names of what is shipped have neither a slash nor a dot.
        path = ("/" in name or "." in name) and not Path(name).is_absolute()
        return seen(name) if path and is_file(name) else name

    return option.files.sub(replaced, text)


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # a recipe may be longer than any name, or hold a null
        return False
