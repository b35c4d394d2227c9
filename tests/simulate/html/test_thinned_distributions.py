"""A thinned distribution is off by no more than it says, and keeps its ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulate.html.cdf import thinned


@given(
    values=st.lists(st.floats(0, 1e6), min_size=1, max_size=400),
    most=st.integers(8, 200),
)
def test_no_line_is_off_by_more_than_it_says(values, most):
    found = thinned(np.array(values), most)
    ordered = np.sort(values)
    assert found.value.size <= max(most, 1)
    assert found.count == len(values)
    assert (found.value[0], found.value[-1]) == (ordered[0], ordered[-1])
    assert found.share[-1] == 1.0
    for at in ordered:
        share = np.searchsorted(ordered, at, side="right") / ordered.size
        below = found.share[found.value <= at]
        above = found.share[found.value >= at]
        # The line lies between the points on both sides, and so does the truth.
        low = below.max()
        high = max(above.min(), low)
        assert low - 1e-12 <= share <= high + found.off + 1e-12
        assert high - low <= found.off + 1e-12


def test_few_values_are_all_kept():
    found = thinned(np.array([3.0, 1.0, np.nan, 2.0]), 10)
    assert found.value.tolist() == [1.0, 2.0, 3.0]
    assert found.share.tolist() == [1 / 3, 2 / 3, 1.0]


def test_both_ends_are_drawn_closer_than_the_middle():
    found = thinned(np.arange(100_000.0), 600)
    gaps = np.diff(found.share)
    assert found.value.size <= 600
    assert found.off < 0.005
    assert gaps[-1] == pytest.approx(1e-5)
    assert gaps[0] == pytest.approx(1e-5)


def test_nothing_is_known_of_no_values():
    assert thinned(np.array([np.nan]), 10).count == 0
