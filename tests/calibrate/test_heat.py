import numpy as np
import pytest
from campaigns import campaign, run
from twins import DECODE, PREFILL, cost, quiet, twin

from calibrate.heat import LEAKAGE_SHARE, leakage
from calibrate.measure import MeasurePlan, measure
from calibrate.study import study_of
from calibrate.sweep import Strategy
from calibrate.twin import twin_truth

LIMIT_W = 700.0


def measured(truth, point, clocks, repeats=4):
    gpu, bench, sampler = twin(truth)
    sampler.start()
    plan = MeasurePlan(min_repeats=repeats, max_repeats=repeats)
    found = []
    for mhz in clocks:
        gpu.lock_sm_clock(mhz)
        found.append(measure(bench, gpu, sampler, gpu.clock, point, mhz, plan))
    return found


def test_leakage_is_told_from_windows_of_the_same_point_that_differ_in_warmth():
    truth = quiet(leakage_w_per_k=0.6)
    found = measured(truth, DECODE, [1980, 690, 1980, 690, 1590, 900] * 3)
    warmth = leakage(found, LIMIT_W)
    assert warmth.w_per_k == pytest.approx(0.6, abs=3 * warmth.error_w_per_k)
    assert warmth.error_w_per_k < 0.5 * LEAKAGE_SHARE[1] * LIMIT_W


def test_powers_are_told_at_one_temperature():
    truth = quiet(leakage_w_per_k=0.6)
    found = measured(truth, DECODE, [1980, 690, 1980, 690, 1590, 900] * 3)
    warmth = leakage(found, LIMIT_W)
    columns = [(m.power_w.value, m.power_w.error, m.temperature_c, m.sm_mhz) for m in found]
    power_w, error_w, temperature_c, mhz = np.array(columns).T
    at_one_w, at_one_error_w = warmth.at_reference(power_w, error_w, temperature_c)
    true_w = truth.true_power_w(cost(DECODE), mhz, warmth.reference_c)
    assert np.ptp(temperature_c) > 2
    assert np.abs(at_one_w - true_w).mean() < 0.6 * np.abs(power_w - true_w).mean()
    assert np.all(at_one_error_w >= error_w)


def test_points_under_the_power_limit_tell_nothing_of_leakage():
    truth = quiet(leakage_w_per_k=0.6)
    warmth = leakage(measured(truth, PREFILL, [1980] * 3), LIMIT_W)
    assert warmth.w_per_k == pytest.approx(LEAKAGE_SHARE[0] * LIMIT_W)
    assert warmth.error_w_per_k == pytest.approx(LEAKAGE_SHARE[1] * LIMIT_W)


def test_a_study_says_at_which_temperature_power_is_told(tmp_path):
    log = run(tmp_path / "run.jsonl", campaign(200.0, Strategy.LOCK))
    study = study_of(log)
    mean_c = np.mean([record.measurement.temperature_c for record in log.measured])
    assert f"power told at {mean_c:.0f} C" in study.provenance.method
    truth = twin_truth("h100")
    warmth = leakage([record.measurement for record in log.measured], truth.cap_w)
    assert warmth.w_per_k == pytest.approx(truth.leakage_w_per_k, abs=3 * warmth.error_w_per_k)
