"""Signals: by hand, against a slow sum over small steps, and where they end."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.provenance import Kind, Origin
from phasewatt.errors import OutOfRange
from simulate.costs.signal import JOULES_PER_KWH, Signal, constant

MADE_UP = Origin(Kind.ASSUMED, "made up")


def series(begins_s, values, end_s, wraps=False):
    return Signal("--price made.csv", tuple(values), tuple(begins_s), end_s, wraps, MADE_UP)


TARIFF = series([0.0, 10.0, 30.0], [1.0, 3.0, 2.0], 40.0)


def test_a_constant_is_energy_times_the_value():
    signal = constant("--price", 0.25, MADE_UP)
    energy = signal.integral([0.0, 5.0, 1e9], [10.0, 2.0, 3.0], [JOULES_PER_KWH] * 3)
    assert energy == 0.25 * 15
    assert signal.mean(3.0, 3.0) == signal.mean(0.0, 1e12) == 0.25
    assert signal.at([-5.0, 1e12]).tolist() == [0.25, 0.25]


def test_an_interval_over_three_values_pays_each_for_its_part():
    # 5 to 35 s at 1 kW: 5 s at 1, 20 s at 3, 5 s at 2.
    assert TARIFF.integral(5.0, 30.0, JOULES_PER_KWH) == pytest.approx(5 * 1 + 20 * 3 + 5 * 2)
    assert TARIFF.mean(5.0, 35.0) == pytest.approx(75 / 30)
    assert TARIFF.at([0, 9.99, 10, 29, 30, 40]).tolist() == [1, 1, 3, 3, 2, 2]


def test_a_series_that_starts_over_does_so_before_its_begin_and_after_its_end():
    around = series([0.0, 10.0, 30.0], [1.0, 3.0, 2.0], 40.0, wraps=True)
    assert around.at([-1, 40, 50, 5000]).tolist() == [2, 1, 3, 1]
    whole = 10 * 1 + 20 * 3 + 10 * 2
    assert around.integral(-7.0, 120.0, JOULES_PER_KWH) == pytest.approx(3 * whole)


@pytest.mark.parametrize(("start_s", "duration_s"), [(-0.1, 1.0), (39.0, 1.1), (50.0, 1.0)])
def test_outside_its_span_a_series_says_so(start_s, duration_s):
    with pytest.raises(
        OutOfRange, match=r"made\.csv: it covers 0 s to 40 s of a run that asks for .*,wrap"
    ):
        TARIFF.integral(start_s, duration_s, 1.0)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.booleans())
def test_integrals_are_those_of_a_slow_sum_over_seconds(seed, wraps):
    rng = np.random.default_rng(seed)
    begins_s = np.cumsum(rng.integers(1, 30, rng.integers(2, 9)))
    end_s = float(begins_s[-1] + rng.integers(1, 30))
    signal = series(begins_s.tolist(), rng.uniform(-1, 5, begins_s.size).tolist(), end_s, wraps)
    low, high = (-100, 300) if wraps else (int(begins_s[0]), int(end_s))
    start_s = rng.integers(low, high, 20)
    stop_s = np.minimum(start_s + rng.integers(0, 40, 20), high)
    power_w = rng.uniform(0, 700, 20)
    slow = math.fsum(
        watts / JOULES_PER_KWH * float(signal.at(second + 0.5))
        for begin, stop, watts in zip(start_s, stop_s, power_w, strict=True)
        for second in range(begin, stop)
    )
    fast = signal.integral(start_s, stop_s - start_s, power_w)
    assert fast == pytest.approx(slow, rel=1e-9, abs=1e-12)


@given(st.floats(0.01, 1e4), st.floats(0, 1e6), st.floats(0, 1e5), st.floats(0, 700))
def test_a_series_of_equal_values_is_a_constant(value, start_s, duration_s, power_w):
    level = series([0.0, 77.0, 1000.0], [value] * 3, 5000.0, wraps=True)
    same = constant("--price", value, MADE_UP).integral(start_s, duration_s, power_w)
    # Differences of integrals from the begin on err by the last place of what came before.
    lost = 1e-12 * (start_s + duration_s) * value * power_w / JOULES_PER_KWH
    assert level.integral(start_s, duration_s, power_w) == pytest.approx(same, rel=1e-9, abs=lost)
