"""Where in a TOML file each key stands, which the parser does not tell.

In: the text of a file. Out: its values, and for each key the lines that say it.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from phasewatt.errors import BadOption

Key = tuple[str, ...]
"""A key with the tables that it is in: ``("sweep", "grid")``."""


@dataclass(frozen=True)
class Statement:
    """A statement of the file: the number of its first line, and its text."""

    line: int
    text: str


def parse_toml(text: str, source: str) -> tuple[dict[str, Any], dict[Key, Statement]]:
    """Return the values of a TOML document, and the statement that first names each key.

    Raises:
        BadOption: not TOML; the message names ``source`` and the line.
    """
    text = text.replace("\r\n", "\n")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadOption(_not_toml(error, text, source)) from None
    except RecursionError:
        raise BadOption(f"{source}: not TOML that can be read: nested too deeply") from None
    places: dict[Key, Statement] = {}
    table: Key = ()
    for statement, part in _statements(text):
        if statement.text.lstrip().startswith("["):
            table = _innermost(part)
            for depth in range(len(table)):
                places.setdefault(table[: depth + 1], statement)
        else:
            for key in _keys(part):
                places.setdefault((*table, *key), statement)
    return values, places


def _statements(text: str) -> Iterator[tuple[Statement, dict[str, Any]]]:
    """Yield each statement of a valid document, and what it says when it stands alone.

    A statement ends with the first line that makes it valid: one that goes on over several lines
    has an open bracket or string until then.
    """
    rows = text.split("\n")
    begin = 0
    for end in range(1, len(rows) + 1):
        statement = "\n".join(rows[begin:end])
        try:
            part = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        yield Statement(begin + 1, statement), part
        begin = end


def _innermost(header: Any) -> Key:
    """Return the table that a header opens: a nest of tables with one key each."""
    key: Key = ()
    while header:
        if isinstance(header, list):
            header = header[0]
        else:
            ((name, header),) = header.items()
            key = (*key, name)
    return key


def _keys(part: dict[str, Any]) -> Iterator[Key]:
    for name, value in part.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, *key) for key in _keys(value))


def _not_toml(error: tomllib.TOMLDecodeError, text: str, source: str) -> str:
    message = str(error)
    at = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL)
    if at:
        return f"{source}: line {at[2]}, column {at[3]}: not TOML: {at[1]}; expected KEY = VALUE"
    what = message.removesuffix(" (at end of document)")
    line = text.rstrip("\n").count("\n") + 1
    return f"{source}: line {line}: not TOML: {what} at the end of the file; expected KEY = VALUE"
