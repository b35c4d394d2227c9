"""Scaling patterns against their definition, written out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.patterns import Pattern, patterns


def test_the_four_patterns_by_hand():
    quality = [[0.6, 0.7, 0.9], [0.4, 0.6, 0.9], [0.1, 0.4, 0.4], [0.9, 0.4, 0.9], [0.2, 0.2, 0.5]]
    assert patterns(quality, 0.5).tolist() == [
        Pattern.EASY,
        Pattern.HELPS,
        Pattern.HARD,
        Pattern.INCONSISTENT,
        Pattern.HELPS,
    ]
    assert set(patterns(quality, 0.0)) == {Pattern.EASY}
    assert set(patterns(quality, 0.95)) == {Pattern.HARD}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0, 1))
def test_a_pattern_is_what_its_name_says(row, threshold):
    good = [value >= threshold for value in row]
    (found,) = patterns(np.array([row]), threshold)
    if all(good):
        assert found == Pattern.EASY
    elif not any(good):
        assert found == Pattern.HARD
    elif good.index(True) == len(good) - sum(good):
        assert found == Pattern.HELPS
    else:
        assert found == Pattern.INCONSISTENT
