"""Curves below their measured clocks: nothing changes above, all is told below, and twins agree."""

import json
from dataclasses import replace

import numpy as np
import pytest
import structured
import tiny

from model.affine import AffinePrices
from model.beyond import LOWEST_SHARE, beyond_measured, is_transferred, reaching
from model.calibration import dump, parse
from model.clock_shape import Normal, PowerPrior, ShapePrior, TimePrior
from model.fitted import Normals
from model.pricing import Step
from model.step_prices import prices_of
from model.work import Phase, Work
from phasewatt.errors import OutOfRange

SURE = 1e-9
DECODE = Work.decode([1.0], [1024.0])


def known(log_p=0.0, knee=1.0, dynamic=0.98):
    """A prior that leaves nothing open."""
    return ShapePrior(
        TimePrior(Normal(log_p, SURE), Normal(0.0, SURE)),
        PowerPrior(Normal(knee, SURE), Normal(dynamic, SURE), Normal(0.0, SURE)),
        (),
        0,
        "none",
    )


def decode(calibration):
    return calibration.curves_of("tiny", Phase.DECODE)


def test_the_measured_range_stays_as_it_was():
    plain, wide = tiny.uncertain(), beyond_measured(tiny.uncertain())
    clocks = np.linspace(1000.0, 2000.0, 7)
    for one, other in zip(plain.curves, wide.curves, strict=True):
        work = DECODE if one.phase is Phase.DECODE else Work.prefill([1.0], [512.0])
        assert np.array_equal(one.time_s(work, clocks), other.time_s(work, clocks))
        assert np.array_equal(one.power_w(work, clocks), other.power_w(work, clocks))
        assert np.array_equal(
            one.power_relative_sd(work, clocks), other.power_relative_sd(work, clocks)
        )
        assert other.measured_mhz == one.domain.sm_mhz == one.measured_mhz


def test_with_a_known_shape_the_curves_go_on_as_they_are():
    """Tiny's time is a p-norm with p = 1, its power is linear."""
    curves = decode(beyond_measured(tiny.calibration(), known()))
    assert curves.domain.sm_mhz == (LOWEST_SHARE * 2000.0, 2000.0)
    for mhz in (700.0, 850.0, 1000.0):
        assert curves.time_s(DECODE, mhz)[0] == pytest.approx(tiny.decode_s(1, mhz), rel=4e-3)
        power_w = np.ravel(curves.power_w(DECODE, mhz))[0]
        assert power_w == pytest.approx(tiny.decode_w(mhz), rel=4e-3)


def test_intervals_grow_with_the_distance_below_and_join_on_at_the_edge():
    plain, curves = decode(tiny.uncertain()), decode(beyond_measured(tiny.uncertain()))
    clocks = np.linspace(700.0, 1000.0, 16)
    for what in ("time_relative_sd", "power_relative_sd"):
        sd = np.ravel(getattr(curves, what)(DECODE, clocks))
        assert np.all(np.diff(sd) < 0)
        assert sd[-1] == pytest.approx(np.ravel(getattr(plain, what)(DECODE, 1000.0))[0])
        near = np.ravel(getattr(curves, what)(DECODE, 999.999))[0]
        assert near == pytest.approx(sd[-1], rel=1e-3)


def test_draws_spread_as_the_intervals_say():
    curves = decode(beyond_measured(tiny.uncertain()))
    rng = np.random.default_rng(1)
    drawn = [curves.drawn(Normals(rng)) for _ in range(400)]
    for what, sd_of, form in (
        ("time_s", "time_relative_sd", curves.time),
        ("power_w", "power_relative_sd", curves.power),
    ):
        logs = [np.log(np.ravel(getattr(one, what)(DECODE, 750.0))[0]) for one in drawn]
        sd = np.ravel(getattr(curves, sd_of)(DECODE, 750.0))[0]
        stated = np.sqrt(sd**2 - form.residual_sd**2)
        assert np.std(logs) == pytest.approx(stated, rel=0.15)


def test_a_draw_has_one_voltage_curve_and_one_shape_of_time_a_phase():
    drawn = beyond_measured(tiny.uncertain()).drawn(np.random.default_rng(3))
    prefill, decoding = (c.below for c in drawn.curves)
    assert prefill.power.knee == decoding.power.knee
    assert prefill.power.turn != decoding.power.turn
    assert prefill.time.sharpness != decoding.time.sharpness
    assert prefill.time.weight.size == 1


def test_nothing_but_what_was_measured_is_written():
    plain = tiny.uncertain()
    assert dump(beyond_measured(plain)) == dump(plain)
    written = json.loads(dump(plain))
    assert "below" not in written["curves"][0]
    written["curves"][0]["below"] = {"edge_mhz": 1}
    with pytest.raises(Exception, match="below"):
        parse(json.dumps(written), "file")


def test_clocks_below_are_refused_unless_they_are_let_in():
    plain = tiny.calibration()
    with pytest.raises(OutOfRange, match="outside the calibrated range"):
        plain.gpu.settle(800.0, decode(plain), DECODE)
    wide = beyond_measured(plain)
    assert wide.gpu.settle(800.0, decode(wide), DECODE) == pytest.approx([800.0])
    assert wide.gpu.clocks_mhz(decode(wide)).min() == 750.0
    with pytest.raises(OutOfRange, match="expected 700 to 2000 MHz"):
        wide.gpu.settle(600.0, decode(wide), DECODE)
    assert is_transferred(decode(wide), 800.0)
    assert not is_transferred(decode(wide), 1000.0)


def test_reaching_holds_the_clock_asked_for_at_either_end():
    curves = decode(tiny.calibration())
    assert reaching(curves, 300.0).domain.sm_mhz == (300.0, 2000.0)
    assert reaching(curves, 2400.0).domain.sm_mhz == (1000.0, 2400.0)
    assert reaching(curves, 1500.0) == curves
    assert reaching(curves, 2400.0).below is None


def test_a_power_cap_holds_a_clock_below_the_measured_ones():
    calibration = beyond_measured(tiny.calibration(), known())
    # Power is linear: 104 W are drawn at 800 MHz.
    held = calibration.gpu.settle(2000.0, decode(calibration), DECODE, cap_w=104.0)
    assert held == pytest.approx([800.0], rel=2e-3)


@pytest.mark.parametrize("asked_mhz", [750.0, 1100.0, 1500.0, np.inf])
def test_prices_are_those_of_the_curves_below_too(asked_mhz):
    plain = structured.calibration()
    narrow = [replace(c, domain=replace(c.domain, sm_mhz=(1200.0, 2000.0))) for c in plain.curves]
    calibration = beyond_measured(
        replace(plain, curves=tuple(narrow)), known(log_p=1.0, knee=0.4, dynamic=0.6)
    )
    prefill, decoding = calibration.curves
    assert prefill.measured_mhz[0] == 1200.0
    assert prefill.domain.sm_mhz[0] == pytest.approx(700.0)
    for cap_w in (None, 185.0, 145.0):
        prices = prices_of(prefill, decoding, calibration.gpu, cap_w, mixes=True)
        for step, curves in ((Step(0, 0, 0, 4, 900), decoding), (Step(1, 64, 2080, 0, 0), prefill)):
            work = step.work(1)
            asked = min(asked_mhz, 2000.0)
            held = calibration.gpu.settle(asked, curves, work, cap_w)
            found = prices.price(step, 1, asked_mhz)
            assert found.sm_mhz == pytest.approx(held)
            assert found.time_s == pytest.approx(curves.time_s(work, held))
            assert found.power_w == pytest.approx(curves.power_w(work, held))
    assert isinstance(prices_of(*narrow, calibration.gpu, None, mixes=True), AffinePrices)
