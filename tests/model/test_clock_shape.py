"""Shapes below an edge are the curves they stand for, and spread as their prior says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.clock_shape import (
    Normal,
    PowerPrior,
    PowerShapes,
    TimePrior,
    TimeShapes,
    one_power_shape,
    one_time_shape,
    power_shapes,
    time_shapes,
)

Y = np.linspace(0.2, 1.0, 9)


def one(*values):
    return [np.array([value]) for value in values]


@pytest.mark.parametrize("p", [1.0, 2.5, 9.0])
def test_time_is_the_p_norm_that_has_the_elasticity_of_the_edge(p):
    fixed_s, clocked_s, edge = 3.0, 2.0, 0.7
    time_s = (fixed_s**p + (clocked_s / (edge * Y)) ** p) ** (1 / p)
    elasticity = (clocked_s / edge) ** p / (fixed_s**p + (clocked_s / edge) ** p)
    shapes = TimeShapes(*one(p, 0.0, 1.0))
    found = shapes.log_factor(np.full_like(Y, elasticity), edge, Y)
    assert found[0] == pytest.approx(np.log(time_s / time_s[-1]))


@pytest.mark.parametrize(("knee", "edge"), [(0.5, 0.75), (0.3, 0.6)])
def test_power_is_static_and_a_voltage_that_is_level_below_the_knee(knee, edge):
    static_w, dynamic_w, slope = 80.0, 300.0, 1.2
    x = edge * Y

    def power_w(x):
        return static_w + dynamic_w * x * (1 + slope * np.maximum(x - knee, 0)) ** 2

    step = 1e-6
    elasticity = np.log(power_w(edge * (1 + step)) / power_w(edge)) / np.log1p(step)
    shapes = PowerShapes(*one(knee, 1 - static_w / power_w(edge), 0.0, 1.0))
    found = shapes.log_factor(np.full_like(Y, elasticity), edge, Y)
    assert found[0] == pytest.approx(np.log(power_w(x) / power_w(edge)), rel=1e-4, abs=1e-9)


def test_power_below_the_knee_is_a_straight_line():
    shapes = PowerShapes(*one(0.9, 0.8, 0.0, 1.0))
    found = shapes.log_factor(np.full_like(Y, 0.4), 0.7, Y)
    assert np.exp(found[0]) == pytest.approx(0.6 + 0.4 * Y)


prior_numbers = st.floats(-1.5, 1.5)


@given(prior_numbers, prior_numbers, st.floats(0.0, 1.2), st.floats(0.0, 3.0))
def test_lower_clocks_never_save_time_nor_cost_power(first, second, of_time, of_power):
    time_prior = TimePrior(Normal(1.0 + first, 1.0), Normal(second / 3, 0.2))
    power_prior = PowerPrior(
        Normal(0.6 + first / 5, 0.2), Normal(0.5 + first / 4, 0.2), Normal(second / 3, 0.3)
    )
    times = time_shapes(time_prior).log_factor(np.full_like(Y, of_time), 0.75, Y)
    assert np.all(np.diff(times, axis=1) <= 1e-12)
    assert np.all((times >= -1e-12) & (times <= -np.log(Y) + 1e-9))
    powers = power_shapes(power_prior).log_factor(np.full_like(Y, of_power), 0.75, Y)
    assert np.all(np.diff(powers, axis=1) >= -1e-12)
    assert np.all(powers <= 1e-12)
    assert np.all(np.isfinite(powers))


def test_ensembles_have_the_mean_and_the_spread_of_their_prior():
    prior = PowerPrior(Normal(0.6, 0.1), Normal(0.5, 0.05), Normal(0.1, 0.3))
    shapes = power_shapes(prior)
    for values, known in ((shapes.knee, prior.knee), (shapes.turn, prior.turn)):
        mean = float(shapes.weight @ values)
        assert mean == pytest.approx(known.mean)
        assert float(shapes.weight @ (values - mean) ** 2) == pytest.approx(known.sd**2)
    times = time_shapes(TimePrior(Normal(2.0, 0.2), Normal(0.0, 0.1)))
    logs = np.log(times.sharpness)
    assert float(times.weight @ logs) == pytest.approx(2.0)
    assert float(times.weight @ times.turn**2) == pytest.approx(0.01)


def test_a_drawn_shape_lies_as_many_deviations_off_as_it_was_drawn():
    time = one_time_shape(TimePrior(Normal(1.0, 0.5), Normal(0.0, 0.2)), np.array([1.0, -2.0]))
    assert time.sharpness == pytest.approx([np.exp(1.5)])
    assert time.turn == pytest.approx([-0.4])
    prior = PowerPrior(Normal(0.6, 0.1), Normal(0.5, 0.1), Normal(0.0, 0.3))
    power = one_power_shape(prior, np.array([-1.0, 2.0, 0.5]))
    assert [power.knee[0], power.dynamic[0], power.turn[0]] == pytest.approx([0.5, 0.7, 0.15])
