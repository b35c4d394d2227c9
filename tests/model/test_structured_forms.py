"""The structured forms stay physical wherever their coefficients are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structured_rows import TRUTH, coefficients

from model.activity import ACTIVITY_FORMS
from model.forms import FORMS
from model.geometry import GEOMETRIES, demand_of
from model.roofline import ROOFLINE_FORMS, ROOFLINES, Launch, Roofline
from model.shape import Activity, Inputs
from model.work import Phase, Work

CLOCKS = np.linspace(0.1, 1.0, 40)

share = st.floats(0, 1)
steps = st.one_of(
    st.tuples(st.just(Phase.DECODE), st.integers(1, 256), st.integers(0, 32768)),
    st.tuples(st.just(Phase.PREFILL), st.integers(1, 64), st.integers(1, 32768)),
)


@st.composite
def rooflines(draw):
    form = draw(st.sampled_from(ROOFLINE_FORMS))
    changes = {name: draw(share) for name in form.names if name.endswith("_share")}
    factor = st.floats(0.1, 10)
    changes |= {n: TRUTH[n] * draw(factor) for n in form.names if n.endswith("_s")}
    return form, coefficients(form, **changes, overlap=draw(st.floats(1, 12)))


def inputs(step, model, clock):
    phase, batch, tokens = step
    make = Work.prefill if phase is Phase.PREFILL else Work.decode
    work = make(np.full(clock.size, batch), tokens)
    return Inputs(clock, work, phase, GEOMETRIES[model].constants())


@given(rooflines(), steps, st.sampled_from(list(GEOMETRIES)))
def test_time_is_positive_and_falls_as_the_clock_rises(roofline, step, model):
    form, theta = roofline
    time_s = form.evaluate(tuple(theta), inputs(step, model, CLOCKS))
    assert np.all(time_s > 0)
    assert np.all(np.diff(time_s) <= 1e-12 * time_s[:-1])
    # No clock slows a step by more than it is slower itself.
    assert np.all(time_s * CLOCKS <= (time_s * CLOCKS)[-1] * (1 + 1e-9))


@given(rooflines(), steps, st.sampled_from(list(GEOMETRIES)))
def test_more_work_takes_no_less_time(roofline, step, model):
    form, theta = roofline
    phase, batch, tokens = step
    less = form.evaluate(tuple(theta), inputs(step, model, CLOCKS))
    for more in ((phase, batch + 1, tokens), (phase, batch, tokens + 16)):
        assert np.all(
            form.evaluate(tuple(theta), inputs(more, model, CLOCKS)) >= less * (1 - 1e-12)
        )


@given(rooflines(), steps, st.sampled_from(list(GEOMETRIES)))
def test_parts_bracket_the_time(roofline, step, model):
    form, theta = roofline
    at = inputs(step, model, CLOCKS)
    parts, time_s = form.parts(tuple(theta), at), form.evaluate(tuple(theta), at)
    together = sum(vars(parts).values())
    largest = np.max([np.broadcast_to(part, CLOCKS.shape) for part in vars(parts).values()], axis=0)
    assert np.all(time_s <= together * (1 + 1e-9))
    assert np.all(time_s >= largest * (1 - 1e-9))


@given(
    st.sampled_from(ACTIVITY_FORMS),
    share,
    share,
    st.floats(0, 4),
    st.floats(0.05, 1),
    st.floats(0, 500),
)
def test_power_is_positive_and_rises_with_the_clock(form, memory, compute, slope, knee, static_w):
    theta = coefficients(form, voltage_slope=slope, knee=knee, static_w=static_w)
    activity = Activity(np.full(CLOCKS.size, memory), np.full(CLOCKS.size, compute))
    at = Inputs(CLOCKS, Work.decode(np.ones(CLOCKS.size), 1), Phase.DECODE, {}, activity)
    power_w = form.evaluate(tuple(theta), at)
    assert np.all(power_w >= static_w)
    assert np.all(np.diff(power_w) >= -1e-9)


@pytest.mark.parametrize("form", [ROOFLINES[Roofline()], ACTIVITY_FORMS[0]], ids=lambda f: f.name)
def test_draws_of_coefficients_broadcast_against_steps(form):
    drawn = coefficients(form)[:, None, None] * np.array([1.0, 1.1, 0.9])[:, None]
    at = inputs((Phase.DECODE, 4, 512), "llama-3.1-8b", CLOCKS)
    activity = Activity(np.full(CLOCKS.size, 0.8), np.full(CLOCKS.size, 0.1))
    at = Inputs(at.clock, at.work, at.phase, at.constants, activity)
    values = form.evaluate(tuple(drawn), at)
    assert values.shape == (3, CLOCKS.size)
    assert np.allclose(values[1], form.evaluate(tuple(drawn[:, 1, 0]), at))


def test_overlapped_launches_hide_behind_the_device_and_serial_ones_do_not():
    at = inputs((Phase.PREFILL, 8, 4096), "qwen2.5-14b", np.ones(1))
    overlapped, serial = (
        ROOFLINES[Roofline(launch)] for launch in (Launch.OVERLAPPED, Launch.SERIAL)
    )
    theta = coefficients(serial)
    parts = serial.parts(tuple(theta), at)
    gain_s = serial.evaluate(tuple(theta), at) - overlapped.evaluate(tuple(theta), at)
    assert gain_s[0] == pytest.approx(parts.launch_s[0], rel=1e-6)


def test_names_tell_every_form_apart():
    assert len({form.name for form in (*ROOFLINE_FORMS, *ACTIVITY_FORMS)}) == len(
        (*ROOFLINE_FORMS, *ACTIVITY_FORMS)
    )
    assert all(FORMS[form.name] is form for form in (*ROOFLINE_FORMS, *ACTIVITY_FORMS))


def test_demand_counts_what_a_step_of_llama_8b_asks_for():
    geometry = GEOMETRIES["llama-3.1-8b"]
    decode = demand_of(geometry.constants(), Work.decode([2.0], [1000.0]))
    # 8.03e9 parameters less the embedding table that decode does not stream.
    assert decode.weight_bytes[0] == pytest.approx(2 * (8.03e9 - 128256 * 4096), rel=1e-3)
    # 32 layers x 8 KV heads x 128 x (key and value) x 2 bytes = 128 KiB a token.
    assert decode.kv_bytes[0] == 2 * 1000 * 131072
    assert decode.attention_flops[0] == 4 * 32 * 128 * 32 * 2 * 1000
    assert decode.kv_walks[0] == 32 * 1000
    prefill = demand_of(geometry.constants(), Work.prefill([1.0], [10.0]))
    assert prefill.attention_flops[0] == 4 * 32 * 128 * 32 * 55
    assert prefill.kv_walks[0] == 0
