"""The replay options: what they keep, how they compose, and what they refuse."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasewatt.errors import BadTrace
from traces import Trace, limit, parse_window, scale_rate, shuffle, window


@st.composite
def some_traces(draw):
    gaps = draw(st.lists(st.floats(0, 100, allow_subnormal=False), min_size=1, max_size=30))
    n = len(gaps)
    tokens = st.lists(st.integers(1, 9999), min_size=n, max_size=n)
    return Trace(
        name="t",
        arrival_s=np.cumsum(gaps),
        prompt_tokens=draw(tokens),
        output_tokens=draw(tokens),
        query_id=[str(i) for i in range(n)],
        quality={"m": np.linspace(0, 1, n)},
    )


@given(some_traces(), st.integers(1, 40))
def test_limit_is_the_beginning(trace, n):
    part = limit(trace, n)
    assert len(part) == min(n, len(trace))
    assert part.query_id.to_pylist() == trace.query_id.to_pylist()[:n]
    assert np.array_equal(part.arrival_s, trace.arrival_s[:n])
    assert part.source.operations == ((f"limit {n}",) if n < len(trace) else ())


@given(some_traces(), st.floats(0, 200), st.floats(0.1, 500))
def test_window_is_half_open_and_starts_at_zero(trace, start_s, length_s):
    end_s = start_s + length_s
    inside = (trace.arrival_s >= start_s) & (trace.arrival_s < end_s)
    if not inside.any():
        with pytest.raises(BadTrace, match="found no queries"):
            window(trace, start_s, end_s)
        return
    part = window(trace, start_s, end_s)
    assert np.array_equal(part.arrival_s, trace.arrival_s[inside] - start_s)
    assert np.array_equal(part.prompt_tokens, trace.prompt_tokens[inside])


@given(some_traces(), st.integers(1, 40), st.integers(1, 40))
def test_the_smaller_of_two_limits_wins(trace, one, other):
    both = limit(limit(trace, one), other)
    assert np.array_equal(both.arrival_s, limit(trace, min(one, other)).arrival_s)


@given(some_traces(), st.floats(0.01, 100))
def test_scaling_the_rate_divides_arrivals_and_can_be_undone(trace, factor):
    scaled = scale_rate(trace, factor)
    assert np.allclose(scaled.arrival_s * factor, trace.arrival_s)
    assert np.allclose(scale_rate(scaled, 1 / factor).arrival_s, trace.arrival_s)
    assert np.array_equal(scaled.output_tokens, trace.output_tokens)


@given(some_traces(), st.sampled_from([0.25, 0.5, 2.0, 8.0]), st.integers(0, 60))
def test_a_window_of_a_scaled_trace_is_the_scaled_window(trace, factor, start_s):
    # Factors are powers of two, so that both ways round alike.
    end_s = start_s + 64.0
    if not ((trace.arrival_s >= start_s) & (trace.arrival_s < end_s)).any():
        return
    one = scale_rate(window(trace, start_s, end_s), factor)
    other = window(scale_rate(trace, factor), start_s / factor, end_s / factor)
    assert np.array_equal(one.arrival_s, other.arrival_s)
    assert one.query_id.equals(other.query_id)


@given(some_traces(), st.integers(0, 10))
def test_shuffle_permutes_whole_rows_and_keeps_arrivals(trace, seed):
    shuffled = shuffle(trace, seed)
    assert np.array_equal(shuffled.arrival_s, trace.arrival_s)

    def rows(of):
        return sorted(
            zip(
                of.query_id.to_pylist(),
                of.prompt_tokens.tolist(),
                of.output_tokens.tolist(),
                of.quality["m"].tolist(),
                strict=True,
            )
        )

    assert rows(shuffled) == rows(trace)
    assert shuffle(trace, seed).query_id.equals(shuffled.query_id)


def test_operations_are_noted_in_order():
    trace = Trace("t", np.arange(10.0), np.ones(10, dtype=int), np.ones(10, dtype=int))
    done = shuffle(scale_rate(limit(window(trace, 2, 9), 5), 2), 7)
    assert done.source.operations == ("window 2 s to 9 s", "limit 5", "rate x 2", "shuffle seed 7")
    assert done.arrival_s.tolist() == [0, 0.5, 1, 1.5, 2]
    assert trace.source.operations == ()


@settings(max_examples=50)
@given(st.integers(0, 1000), st.integers(1, 1000), st.sampled_from(["", "s", "m", "h"]))
def test_windows_are_read_in_every_unit(start, length, unit):
    per = {"": 1, "s": 1, "m": 60, "h": 3600}[unit]
    end = start + length
    assert parse_window(f"{start}{unit}:{end}{unit}") == (start * per, end * per)


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("10m:1.5h", (600.0, 5400.0)),
        (":30", (0.0, 30.0)),
        ("1h:", (3600.0, math.inf)),
        (":", (0.0, math.inf)),
        (" .5 : 2s ", (0.5, 2.0)),
    ],
)
def test_windows_may_be_open(text, bounds):
    assert parse_window(text) == bounds


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("10", "window: found '10', expected START:END such as 0:600, 10m:1.5h, or :30m"),
        ("5:5", "window: found '5:5', expected an end after the start"),
        ("2h:1m", "window: found '2h:1m', expected an end after the start"),
        (
            "-1:5",
            "window: found '-1' in '-1:5', expected a number >= 0 of seconds, or one with the "
            "suffix s, m or h",
        ),
        (
            "0:1d",
            "window: found '1d' in '0:1d', expected a number >= 0 of seconds, or one with the "
            "suffix s, m or h",
        ),
        (
            "0:1:2",
            "window: found '1:2' in '0:1:2', expected a number >= 0 of seconds, or one with the "
            "suffix s, m or h",
        ),
    ],
)
def test_a_malformed_window_is_refused_in_one_line(text, line):
    with pytest.raises(BadTrace) as error:
        parse_window(text)
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("option", "line"),
    [
        (lambda t: limit(t, 0), "limit: found 0, expected a number of queries >= 1"),
        (lambda t: scale_rate(t, 0), "rate scale: found 0, expected a finite number > 0"),
        (lambda t: scale_rate(t, math.nan), "rate scale: found nan, expected a finite number > 0"),
        (
            lambda t: scale_rate(t, 1e-320),
            "rate scale: found 1e-320, too small for arrivals to stay finite",
        ),
        (lambda t: shuffle(t, -1), "shuffle seed: found -1, expected an integer >= 0"),
        (
            lambda t: window(t, 5, 2),
            "window: found 5 s to 2 s, expected 0 <= start < end in seconds",
        ),
        (
            lambda t: window(t, 20, 30),
            "window 20 s to 30 s: found no queries in trace 't', whose arrivals lie from 0 s to 9 "
            "s",
        ),
    ],
)
def test_an_unusable_option_is_refused_in_one_line(option, line):
    trace = Trace("t", np.arange(10.0), np.ones(10, dtype=int), np.ones(10, dtype=int))
    with pytest.raises(BadTrace) as error:
        option(trace)
    assert str(error.value) == line
