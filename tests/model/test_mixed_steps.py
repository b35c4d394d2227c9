"""Steps of both phases: one price for the whole step, fast and by the curves alike."""

import json
from dataclasses import replace

import numpy as np
import pytest
import structured
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from model.affine import AffinePrices, is_affine
from model.beyond import reaching
from model.calibration import parse
from model.mixed import mixed_curves
from model.pricing import CurvePrices, Step
from model.work import Phase
from phasewatt.errors import BadCalibration, OutOfRange

INF = float("inf")

STEPS = st.one_of(
    st.builds(
        lambda n, tokens: Step(n, tokens, tokens * (tokens + 1) // 2, 0, 0),
        st.integers(1, 5),
        st.integers(5, 4000),
    ),
    st.builds(
        lambda batch, context: Step(0, 0, 0, batch, batch * context),
        st.integers(1, 64),
        st.integers(1, 4000),
    ),
    st.builds(
        lambda tokens, done, batch, context: Step(
            1, tokens, tokens * done + tokens * (tokens + 1) // 2, batch, batch * context
        ),
        st.integers(1, 4000),
        st.integers(0, 2000),
        st.integers(1, 64),
        st.integers(1, 4000),
    ),
)


@pytest.mark.parametrize("prices", ["curves", "affine"])
def test_a_step_of_both_phases_is_set_no_lower_than_both_were_calibrated(prices):
    calibration = structured.calibration()
    prefill, decode = curves_of(calibration)
    low = replace(prefill, domain=replace(prefill.domain, sm_mhz=(500.0, 2000.0)))
    high = replace(decode, domain=replace(decode.domain, sm_mhz=(900.0, 2000.0)))
    made = {
        "curves": CurvePrices(low, high, calibration.gpu, None, mixed_curves(low, high)),
        "affine": AffinePrices(low, high, calibration.gpu, None),
    }[prices]
    mixed = Step(1, 64, 64 * 65 // 2, 4, 400)
    assert made.price(mixed, 1, 600.0).sm_mhz == pytest.approx([900.0])
    assert made.price(mixed, 1, 1200.0).sm_mhz == pytest.approx([1200.0])
    assert made.price(Step(1, 64, 64 * 65 // 2, 0, 0), 1, 600.0).sm_mhz == pytest.approx([600.0])
    with pytest.raises(OutOfRange):
        made.price(Step(0, 0, 0, 4, 400), 1, 600.0)


def curves_of(calibration):
    return [calibration.curves_of("tiny", phase) for phase in Phase]


def apart(prefill, decode, rng):
    """Both phases' curves, as fits that saw one phase each may leave them."""

    def moved(form, reference_mhz):
        away = np.exp(rng.uniform(-3, 3, form.theta.size))
        factors = [
            f if c.reciprocal else 1.0
            for c, f in zip(form.definition.coefficients, away, strict=True)
        ]
        scale = float(rng.uniform(0.5, 2))
        return replace(
            form.with_theta(form.theta * factors), scale=scale, reference_mhz=reference_mhz
        )

    def other_overlap(form):
        if "overlap" not in form.coefficients:
            return form
        return replace(form, coefficients=form.coefficients | {"overlap": rng.uniform(1, 8)})

    powers = decode.power.coefficients | {"static_w": 60.0, "compute_dynamic_w": 300.0}
    return (
        replace(prefill, time=moved(prefill.time, 2000.0)),
        replace(
            decode,
            time=other_overlap(moved(decode.time, float(rng.choice([1800.0, 2000.0])))),
            power=replace(decode.power, coefficients=powers),
        ),
    )


@settings(max_examples=150, deadline=None)
@given(
    STEPS,
    st.integers(1, 9),
    st.sampled_from([INF, 2000.0, 1730.0, 1000.0, 500.0]),
    st.sampled_from([None, 230.0]),
    st.sampled_from([1.0, 1.6]),
    st.integers(0, 2**32),
)
def test_fast_prices_are_those_of_the_curves(step, steps, asked_mhz, cap_w, decode_faster, seed):
    rng = np.random.default_rng(seed)
    calibration = structured.calibration(
        structured.random_terms(rng),
        decode_faster,
        voltage_slope=float(rng.uniform(0, 1.2)),
        knee=float(rng.uniform(0.2, 0.9)),
    )
    prefill, decode = curves_of(calibration)
    if decode_faster != 1:
        prefill, decode = apart(prefill, decode, rng)
    assert is_affine(prefill, decode)
    mixed = mixed_curves(prefill, decode)
    steps = 1 if step.prefill_tokens else steps
    slow = CurvePrices(prefill, decode, calibration.gpu, cap_w, mixed)
    fast = AffinePrices(prefill, decode, calibration.gpu, cap_w)
    try:
        expected = slow.price(step, steps, asked_mhz)
    except OutOfRange as refused:
        with pytest.raises(OutOfRange, match=str(refused)[:40]):
            fast.price(step, steps, asked_mhz)
        return
    for found, wanted in zip(fast.price(step, steps, asked_mhz), expected, strict=True):
        assert found.shape == (steps,)
        assert found == pytest.approx(wanted, rel=1e-11)
    if step.is_mixed:
        assert fast.prefill_time_share(step, 1500.0) == pytest.approx(
            slow.prefill_time_share(step, 1500.0), rel=1e-11
        )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 64), st.integers(1, 3000))
def test_one_mixed_step_is_quicker_than_two_and_slower_than_either(tokens, batch, context):
    calibration = structured.calibration()
    prices = AffinePrices(*curves_of(calibration), calibration.gpu, None)
    step = Step(1, tokens, tokens * (tokens + 1) // 2, batch, batch * context)
    whole, prefill, decode = (
        float(prices.price(each, 1, 1000.0).time_s[0]) for each in (step, *step.alone())
    )
    assert max(prefill, decode) < whole < prefill + decode


MIXED = STEPS.filter(lambda step: step.is_mixed)


@settings(max_examples=100, deadline=None)
@given(MIXED, st.sampled_from([500.0, 1100.0, 2000.0]), st.integers(0, 2**32))
def test_where_phases_differ_a_mixed_step_takes_neither_less_than_each_nor_more_than_both(
    step, mhz, seed
):
    rng = np.random.default_rng(seed)
    calibration = structured.calibration(structured.random_terms(rng))
    prefill, decode = apart(*curves_of(calibration), rng)
    mixed = mixed_curves(prefill, decode)
    assert not mixed.shared
    alone = (each.work(1) for each in step.alone())
    alone_s = [float(c.time_s(w, mhz)[0]) for c, w in zip((prefill, decode), alone, strict=True)]
    prices = AffinePrices(prefill, decode, calibration.gpu, None)
    for time_s in (
        mixed.time_s(step.work(1), mhz)[0],
        prices.at_clocks(step, 1, np.array([mhz])).time_s[0],
    ):
        assert max(alone_s) * (1 - 1e-12) <= time_s <= sum(alone_s) * (1 + 1e-12)
    # Nothing is busy for longer than the step: no power lies outside what both forms can draw.
    assert 60 < mixed.power_w(step.work(1), 2000.0)[0] < 80 + 40 + 120 + 300


@settings(max_examples=60, deadline=None)
@given(MIXED, st.sampled_from([500.0, 1100.0, 2000.0]), st.integers(0, 2**32))
def test_the_rule_for_phases_that_differ_gives_the_shared_price_where_they_do_not(step, mhz, seed):
    rng = np.random.default_rng(seed)
    prefill, decode = curves_of(structured.calibration(structured.random_terms(rng)))
    size = decode.time.theta.size
    unsure = replace(decode.time, covariance=tuple(map(tuple, (1e-9 * np.eye(size)).tolist())))
    apart_ = mixed_curves(prefill, replace(decode, time=unsure))
    shared = mixed_curves(prefill, decode)
    assert shared.shared
    assert not apart_.shared
    work = step.work(1)
    assert apart_.time_s(work, mhz) == pytest.approx(shared.time_s(work, mhz), rel=1e-9)
    assert apart_.power_w(work, mhz) == pytest.approx(shared.power_w(work, mhz), rel=1e-9)


def test_each_phase_prices_what_it_was_fitted_to():
    # Decode reads contexts; that prefill would be slow at it tells nothing of a mixed step.
    prefill, decode = curves_of(structured.calibration())
    slow = prefill.time.coefficients | {"kv_bytes_per_s": 1e9}
    work = Step(1, 8, 36, 64, 64 * 4000).work(1)
    slower = replace(prefill, time=replace(prefill.time, coefficients=slow))
    written_s = 8 * structured.SHAPE.kv_bytes_per_token() * (1 / 1e9 - 1 / 2e10)
    found_s, shared_s = (mixed_curves(p, decode).time_s(work, 2000.0)[0] for p in (slower, prefill))
    assert shared_s < found_s < shared_s + written_s


@settings(max_examples=20, deadline=None)
@given(MIXED, st.integers(0, 2**32))
def test_below_the_measured_clocks_a_mixed_step_slows_down_without_a_jump(step, seed):
    rng = np.random.default_rng(seed)
    calibration = structured.calibration(structured.random_terms(rng))
    low, high = apart(*curves_of(calibration), rng)
    high = replace(high, domain=replace(high.domain, sm_mhz=(900.0, 2000.0)))
    low, high = reaching(low, 300.0), reaching(high, 300.0)
    mixed, work = mixed_curves(low, high), step.work(1)
    time_s = [float(mixed.time_s(work, mhz)[0]) for mhz in (300, 500, 700, 899.999, 900, 1000)]
    assert time_s == sorted(time_s, reverse=True)
    assert time_s[3] == pytest.approx(time_s[4], rel=1e-4)
    clocks = np.array([400.0, 800.0, 1500.0])
    each_s = [float(mixed.time_s(work, mhz)[0]) for mhz in clocks]
    assert mixed.time_s(work, clocks) == pytest.approx(each_s)
    assert np.all(np.isfinite(mixed.power_w(work, clocks)))


def test_a_mixed_step_worked_out_by_hand():
    # One chunk of 2 tokens after 3, beside 4 sequences with 10 tokens each in their caches.
    calibration = structured.calibration()
    shape, rates, x = structured.SHAPE, structured.RATES, 0.5
    slow = 1 / x - 1
    flops = (
        6 * 2 * shape.layer_parameters
        + 5 * 2 * shape.head_parameters
        + (4 + 5 + 40) * 4 * 8 * 64 * 4
    )
    weights_s = 2 * (shape.layer_parameters + shape.head_parameters) / rates["weight_bytes_per_s"]
    cache_s = (40 + 2) * shape.kv_bytes_per_token() / rates["kv_bytes_per_s"]
    memory_s = weights_s * (1 + 0.3 * slow) + cache_s * (1 + 0.5 * slow)
    compute_s = flops / rates["flops_per_s"] * (1 + 0.9 * slow)
    expected = 4 * 12 * rates["launch_s"] + (memory_s**2.5 + compute_s**2.5) ** (1 / 2.5)
    prices = AffinePrices(*curves_of(calibration), calibration.gpu, None)
    assert prices.price(Step(1, 2, 4 + 5, 4, 40), 1, 1000.0).time_s[0] == pytest.approx(expected)


def test_curves_of_one_phase_each_price_no_mixed_step():
    prefill, decode = curves_of(tiny.calibration())
    assert not is_affine(prefill, decode)
    with pytest.raises(BadCalibration) as error:
        mixed_curves(prefill, decode)
    assert str(error.value) == (
        "prefill of tiny has time form 'a+b/f' and power form 'linear', which cannot price a step "
        "of both phases; expected structured curves, which calibrate fits to several batches and "
        "lengths"
    )


def test_voltage_curves_that_differ_are_not_priced_fast():
    prefill, _ = curves_of(structured.calibration())
    _, decode = curves_of(structured.calibration(knee=0.7))
    assert not is_affine(prefill, decode)


def test_memory_must_be_something():
    written = tiny.document()
    written["gpu"]["memory_bytes"] = 0.0
    with pytest.raises(BadCalibration, match="memory_bytes is 0; expected more than 0"):
        parse(json.dumps(written), "none.json")
