"""The clock that holds: the one that was asked for, or the one at which power meets the limit."""

import json

import numpy as np
import pytest
import tiny
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model.calibration import parse
from model.work import Phase, Work
from phasewatt.errors import OutOfRange

STEP = {Phase.PREFILL: Work.prefill([1.0], [1024.0]), Phase.DECODE: Work.decode([1.0], [1024.0])}


def gpu_and_curves(phase=Phase.PREFILL, **changes):
    written = tiny.document()
    written["gpu"].update(changes)
    calibration = parse(json.dumps(written), "tiny.json")
    return calibration.gpu, calibration.curves_of("tiny", phase)


@settings(max_examples=100)
@given(
    st.integers(0, 2**32),
    st.sampled_from(Phase),
    st.lists(st.floats(1000.0, 2000.0), min_size=1, max_size=5),
    st.floats(250.0, 600.0),
)
def test_it_is_the_requested_clock_or_draws_what_the_cap_allows(seed, phase, asked_mhz, cap_w):
    calibration = tiny.random_calibration(np.random.default_rng(seed))
    gpu, curves = calibration.gpu, calibration.curves_of("tiny", phase)
    asked = np.array(asked_mhz)
    work = STEP[phase].at(np.zeros(asked.size, dtype=int))
    assume(np.all(curves.power_w(work, curves.domain.sm_mhz[0]) <= cap_w))
    held = gpu.settle(asked, curves, work, cap_w)
    power_w = curves.power_w(work, held)
    assert held.shape == asked.shape
    assert np.all(held <= asked)
    assert np.all(power_w <= cap_w * (1 + 1e-9))
    lowered = held < asked
    assert power_w[lowered] == pytest.approx(cap_w, rel=1e-6)
    # A higher cap never lowers a clock, nor does asking for more.
    assert np.all(gpu.settle(asked, curves, work, cap_w + 20) >= held - 1e-6)
    assert np.all(np.diff(gpu.settle(np.sort(asked), curves, work, cap_w)) >= -1e-6)


def test_the_nominal_limit_is_in_force_without_a_cap():
    gpu, curves = gpu_and_curves()
    assert gpu.settle(2000.0, curves, STEP[Phase.PREFILL]) == pytest.approx([1800.0])
    assert gpu.settle(2000.0, curves, STEP[Phase.PREFILL], cap_w=350.0) == pytest.approx([2000.0])


def test_the_untouched_governor_may_hold_less_than_the_nominal_limit():
    written = tiny.document()
    written["curves"][0]["governor_limit_w"] = 290.0
    calibration = parse(json.dumps(written), "tiny.json")
    gpu, curves = calibration.gpu, calibration.curves_of("tiny", Phase.PREFILL)
    limits = {None: 290.0, 250.0: 250.0, 300.0: 290.0, 320.0: 290.0, 330.0: 330.0}
    assert {cap_w: gpu.limit_w(curves, cap_w) for cap_w in limits} == limits
    assert gpu.settle(2000.0, curves, STEP[Phase.PREFILL]) == pytest.approx([1600.0])


def test_a_clock_that_would_hold_outside_the_measured_range_is_refused():
    gpu, curves = gpu_and_curves(Phase.DECODE)
    for asked, shown in ((999.0, "999"), (2000.5, "2000.5"), (0.0, "0")):
        with pytest.raises(OutOfRange) as error:
            gpu.settle(asked, curves, STEP[Phase.DECODE])
        assert str(error.value) == (
            f"decode clock {shown} MHz is outside the calibrated range of tiny: expected 1000 to "
            "2000 MHz"
        )
    with pytest.raises(OutOfRange, match=r"below the 200\.0 W that prefill of tiny draws at 1000"):
        gpu.settle(2000.0, gpu_and_curves()[1], STEP[Phase.PREFILL], cap_w=199.9)


def test_only_measured_clocks_and_batches():
    _, curves = gpu_and_curves()
    curves.require_clock([1000.0, 1500.0, 2000.0])
    curves.require_batch(1)
    with pytest.raises(OutOfRange) as error:
        curves.require_clock([1500.0, 2400.0, 300.0])
    assert str(error.value) == (
        "prefill clock 2400 MHz is outside the calibrated range of tiny: expected 1000 to 2000 MHz"
    )
    with pytest.raises(OutOfRange) as error:
        curves.require_batch(8)
    assert str(error.value) == ("prefill of tiny was not measured at batch 8: expected batch 1")


@pytest.mark.parametrize(
    ("step", "span", "clocks"),
    [
        (250.0, [1000.0, 2000.0], [1000.0, 1250.0, 1500.0, 1750.0, 2000.0]),
        (15.0, [1001.0, 1049.0], [1005.0, 1020.0, 1035.0]),
        (7.5, [1000.0, 1010.0], [1005.0]),
        (100.0, [1400.0, 1400.0], [1400.0]),
        (100.0, [1410.0, 1490.0], []),
    ],
)
def test_clocks_that_can_be_requested(step, span, clocks):
    written = tiny.document()
    written["gpu"]["sm_mhz_step"] = step
    written["curves"][0]["domain"]["sm_mhz"] = span
    calibration = parse(json.dumps(written), "tiny.json")
    curves = calibration.curves_of("tiny", Phase.PREFILL)
    assert calibration.gpu.clocks_mhz(curves).tolist() == clocks


def test_energy_is_time_times_power_and_intervals_hold_the_value():
    curves = tiny.uncertain().curves_of("tiny", Phase.PREFILL)
    work, mhz = Work.prefill([1.0, 1.0], [64.0, 512.0]), np.array([1100.0, 1900.0])
    time_s, power_w = curves.time_s(work, mhz), curves.power_w(work, mhz)
    assert curves.energy_j(work, mhz) == pytest.approx(time_s * power_w)
    for value, interval in ((time_s, curves.time_interval_s), (power_w, curves.power_interval_w)):
        low, high = interval(work, mhz)
        wider = interval(work, mhz, 0.99)
        assert np.all((wider[0] < low) & (low < value) & (value < high) & (high < wider[1]))
        assert np.sqrt(low * high) == pytest.approx(value)
