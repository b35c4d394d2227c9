"""The noun of this package: a trace, that is, queries as columns.

In: columns of equal length, one row a query. Out: a validated, read-only ``Trace`` and the
``Source`` that says where its rows come from and what was done to them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, Self, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from phasewatt.errors import BadTrace

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

_Scalar = TypeVar("_Scalar", bound=np.generic)

TEXT_COLUMNS = ("query_id", "text", "task", "session")

PER_MODEL = {
    "quality": "quality.",
    "confidence": "confidence.",
    "answer_tokens": "output_tokens.",
}
"""What a trace may hold of each model, and how columns of our own schema that hold it start."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a trace comes from, under which licence, and what was done to it since.

    ``kind`` is "measured" (a published recording), "synthetic" (drawn from distributions) or
    "user" (a file of the user's own). ``operations`` lists, in order, the replay options that were
    applied. ``skipped`` counts the rows left out of the file, per reason.
    """

    description: str
    licence: str
    kind: Literal["measured", "synthetic", "user"]
    url: str = ""
    operations: tuple[str, ...] = ()
    skipped: tuple[tuple[str, int], ...] = ()

    @property
    def skipped_rows(self) -> int:
        """How many rows of the file were left out because they were broken."""
        return sum(count for _, count in self.skipped)

    def after(self, operation: str) -> "Source":
        """The same source with one more operation noted at the end."""
        return replace(self, operations=(*self.operations, operation))


BY_HAND = Source(description="given as arrays", licence="", kind="user")


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Queries as columns of length n >= 1, in order of arrival.

    Attributes:
        name: what to call the trace in tables and errors.
        arrival_s: (n,) float64, seconds since the start of the trace; finite, >= 0 and
            non-decreasing. The first may be later than 0.
        prompt_tokens: (n,) int64, >= 1.
        output_tokens: (n,) int64, >= 0; 0 is a query that generates nothing, such as
            classification by log-likelihood.
        query_id: (n,) strings or None where the trace has none; any entry may be null.
        text: (n,) the prompts as text, likewise.
        task: (n,) what kind of query each is, likewise.
        session: (n,) which conversation each belongs to, likewise.
        quality: per model name, (n,) float64 in [0, 1], NaN where unknown.
        confidence: per model name, (n,) float64: how sure it is of its own answer, on any scale
            that rises with it (a log-probability, say); NaN where unknown.
        answer_tokens: per model name, (n,) float64 whole and >= 0: output tokens of its answer; NaN
            where it is ``output_tokens``.
        block_hashes: (n,) lists of int64, one hash per block of the prompt's prefix; equal hashes
            mark blocks whose key-value cache can be reused. None where the trace has none.
        priority: (n,) int64, the lowest number the most urgent; None where the trace has none.
        source: where the rows come from.

    Writable arrays are copied and read-only arrays are shared, so no column changes later.

    Raises:
        BadTrace: a column breaks what is said above; the line names query, column, value and
            expectation.
    """

    name: str
    arrival_s: Floats
    prompt_tokens: Integers
    output_tokens: Integers
    query_id: pa.LargeStringArray | None = None
    text: pa.LargeStringArray | None = None
    task: pa.LargeStringArray | None = None
    session: pa.LargeStringArray | None = None
    quality: Mapping[str, Floats] = field(default_factory=dict)
    confidence: Mapping[str, Floats] = field(default_factory=dict)
    answer_tokens: Mapping[str, Floats] = field(default_factory=dict)
    block_hashes: pa.ListArray | None = None
    priority: Integers | None = None
    source: Source = BY_HAND

    def __post_init__(self) -> None:
        arrival_s = _floats(self.name, "arrival_s", self.arrival_s)
        n = len(arrival_s)
        if n == 0:
            raise BadTrace(f"trace '{self.name}': found no queries, expected at least one")
        columns: dict[str, object] = {"arrival_s": arrival_s}
        for column in ("prompt_tokens", "output_tokens"):
            columns[column] = _integers(self.name, column, getattr(self, column), n)
        for column in TEXT_COLUMNS:
            columns[column] = _strings(self.name, column, getattr(self, column), n)
        for column in PER_MODEL:
            figures = {
                model: _figures(self.name, column, model, values, n)
                for model, values in getattr(self, column).items()
            }
            columns[column] = MappingProxyType(figures)
        if self.priority is not None:
            columns["priority"] = _integers(self.name, "priority", self.priority, n)
        columns["block_hashes"] = _hashes(self.name, self.block_hashes, n)
        for column, values in columns.items():
            object.__setattr__(self, column, values)
        self._check_rows()

    def __len__(self) -> int:
        return len(self.arrival_s)

    def __repr__(self) -> str:
        return f"Trace({self.name!r}, {len(self)} queries over {self.duration_s:.6g} s)"

    @property
    def duration_s(self) -> float:
        """Seconds from the start of the trace to the last arrival."""
        return float(self.arrival_s[-1])

    def take(self, rows: slice | Sequence[int] | NDArray[np.integer | np.bool_]) -> Self:
        """The queries at ``rows`` (a slice, indices, or a mask of length n), arrivals unchanged.

        Raises:
            BadTrace: no row is left, or the chosen rows are not in order of arrival.
            IndexError: an index lies outside the trace.
        """
        index = np.arange(len(self))[rows]
        return self.permuted(index, arrival_s=self.arrival_s[index])

    def permuted(self, index: Integers, *, arrival_s: Floats) -> Self:
        """The queries at ``index`` (m,), arriving at ``arrival_s`` (m,) instead of their own time.

        Raises:
            BadTrace: no row is left, or ``arrival_s`` is not non-decreasing.
        """
        indices = pa.array(index)
        columns: dict[str, Any] = {
            column: None if values is None else values.take(indices)
            for column in (*TEXT_COLUMNS, "block_hashes")
            for values in (getattr(self, column),)
        }
        for column in PER_MODEL:
            figures = getattr(self, column)
            columns[column] = {model: _frozen(values[index]) for model, values in figures.items()}
        return replace(
            self,
            arrival_s=arrival_s,
            prompt_tokens=_frozen(self.prompt_tokens[index]),
            output_tokens=_frozen(self.output_tokens[index]),
            priority=None if self.priority is None else _frozen(self.priority[index]),
            **columns,
        )

    def without(self, *columns: str) -> Self:
        """The same trace with the optional ``columns`` (of ``TEXT_COLUMNS``) left out."""
        gone: dict[str, Any] = dict.fromkeys(columns)
        return replace(self, **gone)

    def renamed(self, name: str, source: Source) -> Self:
        """The same rows under another name and source."""
        return replace(self, name=name, source=source)

    def _check_rows(self) -> None:
        late = np.flatnonzero(np.diff(self.arrival_s) < 0)
        checks = (
            (
                "arrival_s",
                ~(np.isfinite(self.arrival_s) & (self.arrival_s >= 0)),
                "a finite number of seconds >= 0",
            ),
            ("prompt_tokens", self.prompt_tokens < 1, "an integer >= 1"),
            ("output_tokens", self.output_tokens < 0, "an integer >= 0"),
        )
        for column, wrong, expected in checks:
            if wrong.any():
                row = int(np.argmax(wrong))
                found = getattr(self, column)[row]
                raise BadTrace(
                    f"trace '{self.name}': query {row}: column '{column}': found {found}, "
                    f"expected {expected}"
                )
        if len(late):
            row = int(late[0]) + 1
            raise BadTrace(
                f"trace '{self.name}': query {row}: column 'arrival_s': found "
                f"{self.arrival_s[row]} after {self.arrival_s[row - 1]}, expected arrivals that "
                "never decrease"
            )


def _frozen(values: NDArray[_Scalar]) -> NDArray[_Scalar]:
    values.setflags(write=False)
    return values


def _column(name: str, column: str, values: ArrayLike, n: int | None) -> NDArray[np.generic]:
    array = np.asarray(values)
    if array.ndim != 1 or (n is not None and len(array) != n):
        expected = "one dimension" if n is None else f"{n} values, as many as arrival_s"
        raise BadTrace(
            f"trace '{name}': column '{column}': found shape {array.shape}, expected {expected}"
        )
    return array


def _floats(name: str, column: str, values: ArrayLike, n: int | None = None) -> Floats:
    array = _column(name, column, values, n)
    if array.dtype.kind not in "iuf":
        raise BadTrace(f"trace '{name}': column '{column}': found {array.dtype}, expected numbers")
    return _own(array, np.float64, given=array is values)


def _integers(name: str, column: str, values: ArrayLike, n: int) -> Integers:
    array = _column(name, column, values, n)
    if array.dtype.kind not in "iu":
        raise BadTrace(f"trace '{name}': column '{column}': found {array.dtype}, expected integers")
    return _own(array, np.int64, given=array is values)


def _own(array: NDArray[np.generic], dtype: type[_Scalar], *, given: bool) -> NDArray[_Scalar]:
    # An array that the caller can still write to is copied; a fresh or read-only one is kept.
    copy = given and array.flags.writeable
    return _frozen(np.array(array, dtype=dtype, order="C", copy=True if copy else None))


_FIGURES: Mapping[str, tuple[Callable[[Floats], NDArray[np.bool_]], str]] = {
    "quality": (
        lambda values: (values < 0) | (values > 1),
        "a number in [0, 1], or NaN for unknown",
    ),
    "confidence": (np.isinf, "a finite number, or NaN for unknown"),
    "answer_tokens": (
        lambda values: (values < 0) | (np.floor(values) < values) | np.isinf(values),
        "a whole number >= 0, or NaN for unknown",
    ),
}


def _figures(name: str, column: str, model: str, values: ArrayLike, n: int) -> Floats:
    array = _floats(name, f"{PER_MODEL[column]}{model}", values, n)
    is_wrong, expected = _FIGURES[column]
    wrong = is_wrong(array)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise BadTrace(
            f"trace '{name}': query {row}: column '{PER_MODEL[column]}{model}': found "
            f"{array[row]}, expected {expected}"
        )
    return array


def _strings(
    name: str, column: str, values: pa.Array | Iterable[str | None] | None, n: int
) -> pa.LargeStringArray | None:
    if values is None:
        return None
    try:
        array = _flat(values, pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise BadTrace(
            f"trace '{name}': column '{column}': expected strings or nulls: {error}"
        ) from error
    _check_length(name, column, array, n)
    return array


def _hashes(name: str, values: pa.Array | Iterable[Sequence[int]] | None, n: int) -> pa.ListArray:
    if values is None:
        return None
    try:
        array = _flat(values, pa.list_(pa.int64()))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise BadTrace(
            f"trace '{name}': column 'block_hashes': expected lists of integers: {error}"
        ) from error
    _check_length(name, "block_hashes", array, n)
    return array


def _flat(values: pa.Array | pa.ChunkedArray | Iterable[object], wanted: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays([pc.cast(chunk, wanted) for chunk in values.chunks])
    if isinstance(values, pa.Array):
        return values if values.type == wanted else pc.cast(values, wanted)
    return pa.array(list(values), type=wanted)


def _check_length(name: str, column: str, array: pa.Array, n: int) -> None:
    if len(array) != n:
        raise BadTrace(
            f"trace '{name}': column '{column}': found {len(array)} values, expected {n} values, "
            "as many as arrival_s"
        )
