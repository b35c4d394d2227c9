"""Every form is physical inside its bounds: time falls and power rises with the clock."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.forms import FORMS, POWER_FORMS, TIME_FORMS, Inputs
from model.work import Phase, Work

CLOCKS = np.linspace(0.15, 1.3, 200)
LARGEST = 1000.0


def at(clock, phase=Phase.DECODE, tokens=1.0):
    n = np.size(clock)
    work = Work.prefill(1.0, [tokens] * n)
    if phase is Phase.DECODE:
        work = Work.decode(1.0, [tokens] * n)
    return Inputs(np.asarray(clock), work, phase, {})


def within_bounds(form):
    """Coefficients inside their bounds that make for some time or power at all."""
    each = st.tuples(*(st.floats(c.lower, min(c.upper, LARGEST)) for c in form.coefficients))
    return each.filter(lambda values: max(values[:2]) > 1e-9).map(
        lambda values: tuple(np.float64(v) for v in values)
    )


@pytest.mark.parametrize("form", TIME_FORMS, ids=lambda form: form.name)
@given(data=st.data())
def test_time_never_rises_with_the_clock(form, data):
    times = form.evaluate(data.draw(within_bounds(form)), at(CLOCKS))
    assert times.shape == CLOCKS.shape
    assert np.all(times >= 0)
    assert np.all(np.diff(times) <= 1e-9 * times[:-1])


@pytest.mark.parametrize("form", POWER_FORMS, ids=lambda form: form.name)
@given(data=st.data())
def test_power_never_falls_with_the_clock(form, data):
    powers = form.evaluate(data.draw(within_bounds(form)), at(CLOCKS))
    assert powers.shape == CLOCKS.shape
    assert np.all(powers >= 0)
    assert np.all(np.diff(powers) >= -1e-9 * powers[:-1])


@pytest.mark.parametrize("form", TIME_FORMS, ids=lambda form: form.name)
def test_prefill_time_is_per_token_and_decode_time_is_per_step(form):
    coefficients = tuple(np.float64(max(c.lower, 0.7)) for c in form.coefficients)
    one = form.evaluate(coefficients, at([0.5], Phase.PREFILL, 1.0))
    many = form.evaluate(coefficients, at([0.5], Phase.PREFILL, 600.0))
    assert many == pytest.approx(600 * one)
    steps = [form.evaluate(coefficients, at([0.5], Phase.DECODE, n)) for n in (1.0, 600.0)]
    assert steps[0] == steps[1] == pytest.approx(one)


@pytest.mark.parametrize("form", [*TIME_FORMS, *POWER_FORMS], ids=lambda form: form.name)
def test_draws_broadcast_against_steps(form):
    clocks = np.array([0.4, 0.7, 1.0])
    rows = [[max(c.lower, 0.6 + 0.1 * draw) for c in form.coefficients] for draw in range(4)]
    columns = tuple(np.array(column)[:, None] for column in zip(*rows, strict=True))
    together = form.evaluate(columns, at(clocks))
    assert together.shape == (4, 3)
    for row, values in zip(rows, together, strict=True):
        alone = form.evaluate(tuple(np.float64(v) for v in row), at(clocks))
        assert values == pytest.approx(alone, rel=1e-12)


def test_known_values():
    c = np.float64
    half = at([0.5])
    assert FORMS["b/f"].evaluate((c(3),), half) == pytest.approx([6.0])
    assert FORMS["a+b/f"].evaluate((c(1), c(3)), half) == pytest.approx([7.0])
    assert FORMS["a+b/f^k"].evaluate((c(1), c(3), c(2)), half) == pytest.approx([13.0])
    assert FORMS["p-norm"].evaluate((c(8), c(3), c(2)), half) == pytest.approx([10.0])
    assert FORMS["p-norm"].evaluate((c(8), c(3), c(1)), half) == pytest.approx([14.0])
    assert FORMS["linear"].evaluate((c(50), c(100)), half) == pytest.approx([100.0])
    assert FORMS["cubic"].evaluate((c(50), c(80)), half) == pytest.approx([60.0])
    assert FORMS["power-law"].evaluate((c(50), c(80), c(2)), half) == pytest.approx([70.0])
    # Voltage is 1 + 4 x 0.25 = 2 at a quarter above the knee: power is four times c x.
    knee = (c(50), c(80), c(0.25), c(4))
    assert FORMS["voltage-knee"].evaluate(knee, half) == pytest.approx([50 + 80 * 0.5 * 4])
    assert FORMS["voltage-knee"].evaluate(knee, at([0.2])) == pytest.approx([50 + 80 * 0.2])


def test_names_are_unique_and_every_coefficient_is_explained():
    assert len(FORMS) == len({form.formula for form in FORMS.values()} | set(FORMS)) / 2
    for name, form in FORMS.items():
        assert form.name == name
        assert len(set(form.names)) == len(form.names)
        assert all(c.unit and c.meaning and c.lower < c.upper for c in form.coefficients)
