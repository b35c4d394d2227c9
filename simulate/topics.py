"""Options that know what they are about, and help that says it in that order.

In: click options with a topic. Out: help whose sections are topics.
"""

import re
from typing import Any

import click

OWN = "Options"
"""The topic of options that name none: those of one command alone."""

WHOLE = re.compile(r".+", re.DOTALL)
"""The whole text may name a file."""

TRACE_FILE = re.compile(r"^(?!synthetic:).+|(?<=lengths=)[^,]+", re.DOTALL)
"""A trace, or the one whose lengths ``synthetic:...,lengths=FILE`` takes."""

POLICY_FILE = re.compile(r"[^+|:]+\.py(?=:)")
"""Each ``FILE.py`` of ``single:MODEL+FILE.py:NAME``, ``pools:FILE.py:NAME|FILE.py:NAME``."""

GROUP_FILE = re.compile(r"(?<=@)[^:]+")
"""The calibration of ``NAME=MODEL@CALIBRATION:N``."""

SERIES_FILE = re.compile(r"^[^,]+\.csv(?=,|$)")
"""The file of ``FILE.csv,from=TIME``."""


class Topical(click.Option):
    """An option with a topic; ``files`` finds those parts of its text that may name files."""

    def __init__(
        self, *args: Any, topic: str, files: re.Pattern[str] | None = None, **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self.topic = topic
        self.files = files


def topic_of(option: click.Parameter) -> str:
    """Return what ``option`` is about."""
    return option.topic if isinstance(option, Topical) else OWN


class ByTopic(click.Command):
    """A command whose help has a section for each topic, its own options first."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, topic by topic."""
        topics: dict[str, list[tuple[str, str]]] = {OWN: []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                topics.setdefault(topic_of(param), []).append(record)
        for topic, records in topics.items():
            if records:
                with formatter.section(topic):
                    formatter.write_dl(records)
