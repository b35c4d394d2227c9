"""The clock of least energy, against a minimum that can be worked out by hand."""

import json

import numpy as np
import pytest
import tiny

from model.beyond import beyond_measured
from model.calibration import parse
from model.optimum import draws_of, least_energy
from model.work import Phase, Work
from phasewatt.errors import OutOfRange

DECODE = Work.decode([1.0], [1024.0])


def calibration(step_mhz=10.0, covariance=0.0, **domain):
    """Time (3 + 1/x)/8 and power 300 + 400 x: energy falls until x = sqrt(300 / 1200)."""
    written = tiny.document()
    written["gpu"]["sm_mhz_step"] = step_mhz
    written["gpu"]["power_limit_w"] = 900.0
    each = written["curves"][1]
    each["power"] = tiny.form("linear", p0_w=480.0, c_w=400.0)
    each["time"] = tiny.form("a+b/f", a_s=2.0, b_s=1.0)
    each["power"]["covariance"] = [[covariance, 0.0], [0.0, 0.0]]
    each["domain"] |= domain
    return parse(json.dumps(written), "tiny.json")


def found(one):
    curves = one.curves_of("tiny", Phase.DECODE)
    return least_energy(curves, draws_of(curves), one.gpu, DECODE)


def test_it_is_where_the_derivative_is_nought():
    # (2 + 1/x)(480 + 400 x) is least where 800 = 480 / x^2.
    best = found(calibration())
    exact_mhz = 2000 * np.sqrt(0.6)
    assert abs(best.sm_mhz - exact_mhz) <= 10.0
    assert (best.low_mhz, best.high_mhz) == (best.sm_mhz, best.sm_mhz)
    assert (best.from_mhz, best.to_mhz, best.stock_mhz) == (1000.0, 2000.0, 2000.0)
    x = best.sm_mhz / 2000
    assert best.saving == pytest.approx(1 - (2 + 1 / x) * (480 + 400 * x) / (3 * 880))
    assert best.slowdown == pytest.approx((2 + 1 / x) / 3 - 1)
    assert not best.at_lowest


def test_its_interval_is_that_of_the_coefficients():
    best = found(calibration(covariance=48.0**2))
    # Static power off by 10% moves the clock by 5%.
    exact_mhz = 2000 * np.sqrt(0.6)
    assert best.high_mhz - best.low_mhz == pytest.approx(2 * 1.96 * 0.05 * exact_mhz, rel=0.2)
    assert best.low_mhz < exact_mhz < best.high_mhz


def test_at_the_edge_it_says_so_and_looks_below_only_where_let():
    edge = calibration(sm_mhz=[1700.0, 2000.0])
    assert found(edge).sm_mhz == 1700.0
    assert found(edge).at_lowest
    wide = found(beyond_measured(edge))
    assert wide.from_mhz == 700.0
    assert wide.sm_mhz <= 1700.0
    assert wide.low_mhz < 1500.0


def test_no_clock_to_ask_for_is_one_line():
    with pytest.raises(OutOfRange, match="no clock that can be requested, in steps of 900 MHz"):
        found(calibration(step_mhz=900.0, sm_mhz=[1000.0, 1100.0]))
