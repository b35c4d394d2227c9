"""Scenario files: what a command line says, in TOML.

In: a file whose keys are long names of options, with a table for what only one command takes. Out:
those options filled where the command line leaves them out; or one line that names file, line and
key, what was found and what was expected.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from phasewatt.errors import BadOption, UserError
from simulate.cli import COMMANDS, main
from simulate.scenario_paths import seen_here
from simulate.toml_lines import Statement, parse_toml
from simulate.words import converted, default_words, long_name, option_named, text_of

_META = "simulate.scenario"

_NOT_SAID = ("scenario", "version", "help")
"""Options that are about the command line itself."""


@dataclass(frozen=True)
class Setting:
    """One key of a file: which, of what command's table if any, where, and what it says."""

    table: str | None
    key: str
    value: Any
    statement: Statement


@dataclass(frozen=True)
class ScenarioFile:
    """A file that was found right, as far as one can tell without its trace and calibration."""

    path: Path
    settings: tuple[Setting, ...]

    def of(self, command: click.Command) -> dict[str, Setting]:
        """Return the settings that hold for ``command``, by long name of the option.

        What stands outside of tables holds for every command that has such an option; what the
        command's own table says goes before it.
        """
        takes = file_options(command)
        return {
            setting.key: setting
            for table in (None, command.name)
            for setting in self.settings
            if setting.table == table and setting.key in takes
        }

    def defaults_of(self, command: click.Command) -> dict[str, Any]:
        """Return what the file says of the options of ``command``, by click's name of each."""
        takes = file_options(command)
        settings = self.of(command)
        return dict(self._converted(settings[key], takes[key]) for key in settings)

    def blamed(self, error: UserError, settings: Mapping[str, Setting]) -> UserError:
        """Return ``error`` with the line of the file that it is about, if it is about one.

        That is the one of ``settings`` whose option the message names first, or else the one whose
        text it quotes, most of it if several.
        """
        message = str(error)
        named = _named(message, settings)
        if named is not None:
            return type(error)(f"{self._at(named.statement)}: {message}")
        quoted = _quoted(message, settings)
        if quoted is not None:
            text, setting = quoted
            line = _line_with(text, setting.statement)
            return type(error)(f"{self.path}: line {line}: {setting.key}: {message}")
        return error

    def _at(self, statement: Statement) -> str:
        return f"{self.path}: line {statement.line}"

    def _converted(self, setting: Setting, option: click.Option) -> tuple[str, Any]:
        texts = _texts(option, setting.value)
        if texts is not None:
            texts = tuple(seen_here(text, option, self.path.parent) for text in texts)
            try:
                return converted(option, texts if option.multiple else texts[0])
            except BadOption:
                pass
        raise BadOption(
            f"{self._at(setting.statement)}: {setting.key}: found {_shown(setting.value)}; "
            f"expected {_expected(option)}"
        )


def read_scenario_file(path: Path) -> ScenarioFile:
    """Read a scenario file and check every key and the type of every value.

    Raises:
        BadOption: it cannot be read, is not TOML, has an unknown table or key, or a value that its
            option does not take.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadOption(
            f"{path}: no such scenario file; `simulate scenario init -o {path}` writes one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise BadOption(f"{path}: cannot be read: {reason}") from error
    values, places = parse_toml(text, str(path))
    found = []
    for name, value in values.items():
        if name in COMMANDS and isinstance(value, dict):
            found += [Setting(name, k, v, places[name, k]) for k, v in value.items()]
            _require_known(path, places[name,], name, tables())
        else:
            found.append(Setting(None, name, value, places[name,]))
    file = ScenarioFile(path, tuple(found))
    for table in dict.fromkeys(setting.table for setting in found):
        command = main if table is None else tables()[table]
        takes = file_options(command)
        for setting in found:
            if setting.table == table:
                _require_known(path, setting.statement, setting.key, takes, table)
        file.defaults_of(command)
    return file


def words_of(file: ScenarioFile) -> dict[str, Any]:
    """Return the words that ``file`` says to `simulate` itself, the rest at their defaults."""
    words = default_words()
    return words | {k: v for k, v in file.defaults_of(main).items() if k in words}


def words_of_summary(path: Path) -> dict[str, Any]:
    """Return the words that a result embeds: those of ``summary.json``, or of one in a directory.

    Raises:
        BadOption: it cannot be read, or holds no words that `simulate` takes today.
    """
    path = path / "summary.json" if path.is_dir() else path
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadOption(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise BadOption(f"{path}: not JSON; expected a summary that `simulate -o` wrote") from None
    words = document.get("words") if isinstance(document, dict) else None
    if not isinstance(words, dict):
        raise BadOption(
            f"{path}: holds no words; expected a summary of schema_version 2 or later that "
            "`simulate -o` wrote"
        )
    said = {}
    for key, value in words.items():
        try:
            option = option_named(key)
            texts = _texts(option, value)
            if texts is None:
                raise BadOption(f"found {_shown(value)}; expected {_expected(option)}")
            name, given = converted(option, texts if option.multiple else texts[0])
            said[name] = given
        except BadOption as error:
            raise BadOption(f"{path}: words: {key}: {error}") from None
    return said


def fill(context: click.Context, path: Path) -> None:
    """Let the file at ``path`` say what the command line of ``context`` leaves out."""
    file = read_scenario_file(path)
    context.default_map = file.defaults_of(context.command)
    context.meta[_META] = file, context


def blamed_on_file(context: click.Context, error: UserError) -> UserError:
    """Return ``error`` with the line of the scenario file that filled the option it is about."""
    if _META not in context.meta:
        return error
    file: ScenarioFile = context.meta[_META][0]
    filled: click.Context = context.meta[_META][1]
    takes = file_options(filled.command)
    filled_in = {
        key: setting
        for key, setting in file.of(filled.command).items()
        if filled.get_parameter_source(str(takes[key].name)) is ParameterSource.DEFAULT_MAP
    }
    return file.blamed(error, filled_in)


def file_options(command: click.Command) -> dict[str, click.Option]:
    """Return the options of ``command`` that a file can say, by long name."""
    named = {long_name(p): p for p in command.params if isinstance(p, click.Option)}
    return {name: option for name, option in named.items() if name not in _NOT_SAID}


def tables() -> dict[str, click.Command]:
    """Return the commands that a scenario file may have a table for: those that take one."""
    context = click.Context(main)
    commands = {name: main.get_command(context, name) for name in COMMANDS}
    return {
        name: command
        for name, command in commands.items()
        if command is not None and any(p.name == "scenario" for p in command.params)
    }


def _require_known(
    path: Path,
    statement: Statement,
    name: str,
    known: Mapping[str, object],
    table: str | None = None,
) -> None:
    if name in known:
        return
    place = f"{path}: line {statement.line}: found {_shown(name)}"
    where = "" if table is None else f" in [{table}]"
    homes = [t for t, command in tables().items() if name in file_options(command)]
    near = difflib.get_close_matches(name, (*known, *(tables() if table is None else ())), n=1)
    if table is None and homes:
        hint = f"it belongs into the table [{homes[0]}]"
    elif table is not None and name in file_options(main):
        hint = "it belongs before all tables"
    elif near:
        hint = f"did you mean {near[0]!r}?"
    else:
        hint = "expected the long name of an option, as `simulate --help` says"
    raise BadOption(f"{place}, which is no option{where}; {hint}")


def _texts(option: click.Option, value: Any) -> tuple[str, ...] | None:
    """Return ``value`` as words of a command line; None where it can be none."""
    if option.is_flag:
        return (str(value).lower(),) if isinstance(value, bool) else None
    if option.multiple and isinstance(value, list):
        each = [_text(one) for one in value]
    elif option.multiple and isinstance(value, dict):
        each = [_text({key: one}) for key, one in value.items()]
    else:
        each = [_text(value)]
    texts = tuple(text for text in each if text is not None)
    return texts if texts and len(texts) == len(each) else None


def _text(value: Any) -> str | None:
    """Return ``value`` as one word: a list as ``A,B``, a table as ``K=A,L=B``."""
    if isinstance(value, dict):
        each = {key: _text(one) for key, one in value.items()}
        whole = value and None not in each.values()
        return ",".join(f"{key}={one}" for key, one in each.items()) if whole else None
    if isinstance(value, list):
        texts = [_text(one) for one in value]
        return ",".join(map(str, texts)) if texts and None not in texts else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = text_of(value)
    return None if "\0" in text else text  # no command line can hold a null


def _expected(option: click.Option) -> str:
    if option.is_flag:
        return "true or false"
    if isinstance(option.type, click.Choice):
        return f"one of {', '.join(map(str, option.type.choices))}"
    one = {"integer": "a whole number", "float": "a number"}.get(
        option.type.name, f'text: "{option.metavar or "TEXT"}"'
    )
    return f"{one}, or a list of such" if option.multiple else one


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _named(message: str, settings: Mapping[str, Setting]) -> Setting | None:
    """Return the setting that ``message`` names: by its option, or in words as it begins."""
    for mention in re.findall(r"--([a-z][a-z0-9-]*)", message):
        if mention in settings:
            return settings[mention]
    begins = (
        s for key, s in settings.items() if re.match(rf"{key.replace('-', ' ')}(:| \d)", message)
    )
    return next(begins, None)


def _quoted(message: str, settings: Mapping[str, Setting]) -> tuple[str, Setting] | None:
    """Return the text that ``message`` quotes, whole or in part, with the setting that says it."""
    if message.startswith("--"):  # about an option that the command line gave
        return None
    texts = [(text, setting) for setting in settings.values() for text in _texts_in(setting.value)]
    whole = [pair for pair in texts if _quotes(message, pair[0])]
    if whole:
        return max(whole, key=lambda pair: len(pair[0]))
    pieces = re.findall(r"'([^']+)'", message)
    return next((pair for piece in pieces for pair in texts if _holds(pair[0], piece)), None)


def _quotes(message: str, text: str) -> bool:
    if f"'{text}'" in message or message.startswith(f"{text}: "):
        return True
    # A bare number stands in many messages.
    return re.search(r"[^\W\d]", text) is not None and _holds(message, text)


def _holds(text: str, part: str) -> bool:
    """Return whether ``part`` stands in ``text``, not within a word."""
    return re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) is not None


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _texts_in(one)
    else:
        text = _text(value)
        if text:
            yield text


def _line_with(text: str, statement: Statement) -> int:
    rows = statement.text.split("\n")
    return statement.line + next((n for n, row in enumerate(rows) if text in row), 0)
