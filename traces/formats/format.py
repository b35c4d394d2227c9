"""What the reading loop must know of a trace format: its columns, their units and their limits.

In: nothing. Out: ``Format`` and ``Clock``, of which each module beside this one holds a value.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from traces.content import Container
from traces.trace import Source


@dataclass(frozen=True, slots=True)
class Clock:
    """The column of arrival times and how to turn it into seconds since the trace's start.

    ``kind`` is "number", or "local" and "offset" for ISO 8601 date-times without and with an
    offset from UTC. ``per_s`` is how many units of a number make a second. ``rebase`` moves the
    first arrival to 0, for clocks whose zero is not the start of the trace.
    """

    column: str
    kind: Literal["number", "local", "offset"] = "number"
    per_s: float = 1.0
    rebase: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """One trace format.

    Attributes:
        name: what ``format=`` calls it.
        containers: which of CSV, JSON lines and Parquet it comes in.
        clock: the arrival times.
        prompt_tokens, output_tokens: the columns of token counts.
        source: what is known of every file in this format.
        least_output: the smallest valid number of output tokens.
        expected_output: what an error says is expected of that column.
        texts: which columns fill the optional text columns of a trace, by the trace's names.
        block_hashes: the column of prefix hashes, if any.
        priority: the column of priorities, if any.
        always_one: columns that must hold 1 if they are there, as nothing else can be replayed.
        per_model: how columns that hold one figure a model start, if the format has any, by the
            trace's names for them.
        matches: whether the first record is of this format, where column names do not settle it.
    """

    name: str
    containers: tuple[Container, ...]
    clock: Clock
    prompt_tokens: str
    output_tokens: str
    source: Source
    least_output: int = 0
    expected_output: str = "an integer >= 0"
    texts: Mapping[str, str] = field(default_factory=dict)
    block_hashes: str | None = None
    priority: str | None = None
    always_one: tuple[str, ...] = ()
    per_model: Mapping[str, str] = field(default_factory=dict)
    matches: Callable[[Mapping[str, str]], bool] = lambda _: True

    @property
    def required(self) -> tuple[str, ...]:
        """The columns without which a file cannot be read."""
        return (self.clock.column, self.prompt_tokens, self.output_tokens)

    def reads(self, column: str) -> bool:
        """Whether this format makes anything of ``column``; the others are left unread."""
        known = (*self.required, *self.texts.values(), *self.always_one)
        optional = (self.block_hashes, self.priority)
        return column in known or column in optional or self.model_of(column) is not None

    def model_of(self, column: str) -> tuple[str, str] | None:
        """What ``column`` holds of which model, as (trace's name, model); None for no such one."""
        for name, prefix in self.per_model.items():
            if column.startswith(prefix) and column != prefix:
                return name, column.removeprefix(prefix)
        return None
