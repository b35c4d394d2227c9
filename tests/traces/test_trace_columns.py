"""The noun itself: what it accepts, refuses and keeps."""

import numpy as np
import pyarrow as pa
import pytest

from phasewatt.errors import BadTrace
from traces import Source, Trace


def small(**columns):
    given = {"arrival_s": [0.0, 1.0, 1.0], "prompt_tokens": [5, 6, 7], "output_tokens": [0, 1, 2]}
    return Trace(name="small", **(given | columns))


def test_columns_are_read_only_arrays_of_the_right_type():
    trace = small(quality={"m": [0.0, np.nan, 1.0]}, text=["a", None, "c"])
    assert len(trace) == 3
    assert trace.duration_s == 1.0
    assert trace.arrival_s.dtype == np.float64
    assert trace.prompt_tokens.dtype == trace.output_tokens.dtype == np.int64
    assert trace.text.to_pylist() == ["a", None, "c"]
    assert trace.session is None
    for column in (trace.arrival_s, trace.prompt_tokens, trace.quality["m"]):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1
    with pytest.raises(TypeError):
        trace.quality["n"] = trace.quality["m"]


def test_an_array_that_the_caller_may_write_is_copied_and_stays_writable():
    arrival_s = np.array([0.0, 1.0, 2.0])
    trace = small(arrival_s=arrival_s)
    arrival_s[0] = 0.5
    assert trace.arrival_s[0] == 0.0


def test_a_read_only_array_is_shared():
    arrival_s = np.array([0.0, 1.0, 2.0])
    arrival_s.setflags(write=False)
    assert small(arrival_s=arrival_s).arrival_s is arrival_s


def test_take_keeps_the_columns_together():
    trace = small(
        query_id=["x", "y", "z"],
        task=pa.chunked_array([["a"], ["b", "c"]]),
        quality={"m": [0.1, 0.2, 0.3]},
        confidence={"m": [-1.5, np.nan, 0.0]},
        answer_tokens={"m": [4, 5, 6]},
        block_hashes=[[1], [], [2, 3]],
    )
    for rows in (slice(1, None), [1, 2], np.array([False, True, True])):
        part = trace.take(rows)
        assert part.arrival_s.tolist() == [1.0, 1.0]
        assert part.prompt_tokens.tolist() == [6, 7]
        assert part.query_id.to_pylist() == ["y", "z"]
        assert part.task.to_pylist() == ["b", "c"]
        assert part.quality["m"].tolist() == [0.2, 0.3]
        assert part.confidence["m"][1:].tolist() == [0.0]
        assert part.answer_tokens["m"].tolist() == [5, 6]
        assert part.block_hashes.to_pylist() == [[], [2, 3]]
    with pytest.raises(IndexError):
        trace.take([3])
    with pytest.raises(BadTrace, match="found no queries, expected at least one"):
        trace.take([])
    with pytest.raises(BadTrace, match=r"found 0\.0 after 1\.0, expected arrivals that never"):
        trace.take([2, 0])


def test_a_source_notes_operations_and_skipped_rows():
    source = Source("d", "l", "user", skipped=(("a", 2), ("b", 3)))
    assert source.skipped_rows == 5
    assert source.after("limit 3").after("rate x 2").operations == ("limit 3", "rate x 2")


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (
            {"arrival_s": []},
            "trace 'small': found no queries, expected at least one",
        ),
        (
            {"arrival_s": [0.0, np.nan, 1.0]},
            "trace 'small': query 1: column 'arrival_s': found nan, expected a finite number of "
            "seconds >= 0",
        ),
        (
            {"arrival_s": [-1.0, 0.0, 1.0]},
            "trace 'small': query 0: column 'arrival_s': found -1.0, expected a finite number of "
            "seconds >= 0",
        ),
        (
            {"arrival_s": [0.0, 2.0, 1.0]},
            "trace 'small': query 2: column 'arrival_s': found 1.0 after 2.0, expected arrivals "
            "that never decrease",
        ),
        (
            {"arrival_s": [[0.0], [1.0], [2.0]]},
            "trace 'small': column 'arrival_s': found shape (3, 1), expected one dimension",
        ),
        (
            {"arrival_s": ["0", "1", "2"]},
            "trace 'small': column 'arrival_s': found <U1, expected numbers",
        ),
        (
            {"prompt_tokens": [5, 0, 7]},
            "trace 'small': query 1: column 'prompt_tokens': found 0, expected an integer >= 1",
        ),
        (
            {"prompt_tokens": [5.0, 6.0, 7.0]},
            "trace 'small': column 'prompt_tokens': found float64, expected integers",
        ),
        (
            {"output_tokens": [0, 1, -2]},
            "trace 'small': query 2: column 'output_tokens': found -2, expected an integer >= 0",
        ),
        (
            {"output_tokens": [0, 1]},
            "trace 'small': column 'output_tokens': found shape (2,), expected 3 values, as many "
            "as arrival_s",
        ),
        (
            {"quality": {"m": [0.0, 1.5, 1.0]}},
            "trace 'small': query 1: column 'quality.m': found 1.5, expected a number in [0, 1], "
            "or NaN for unknown",
        ),
        (
            {"text": ["a"]},
            "trace 'small': column 'text': found 1 values, expected 3 values, as many as arrival_s",
        ),
    ],
)
def test_a_wrong_column_is_refused_in_one_line(columns, line):
    with pytest.raises(BadTrace) as error:
        small(**columns)
    assert str(error.value) == line


@pytest.mark.parametrize("columns", [{"text": [1, 2, 3]}, {"block_hashes": [["a"], [], []]}])
def test_a_column_of_the_wrong_type_is_refused(columns):
    with pytest.raises(BadTrace, match=r"^trace 'small': column '\w+': expected (strings|lists)"):
        small(**columns)
