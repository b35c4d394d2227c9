from dataclasses import replace

import numpy as np
import pytest
from twins import DECODE, PREFILL, cost, quiet, twin

from calibrate.gpu import Kind
from calibrate.measure import MeasurePlan, measure, measure_idle, measure_mixed
from calibrate.twin import GEMM, twin_truth
from calibrate.window import EnergySource
from phasewatt.errors import UnsupportedGpu


def started(*args, **kwargs):
    gpu, bench, sampler = twin(*args, **kwargs)
    sampler.start()
    return gpu, bench, sampler


def test_a_locked_point_gives_its_true_time_and_power():
    gpu, bench, sampler = started()
    gpu.lock_sm_clock(1200)
    found = measure(bench, gpu, sampler, gpu.clock, DECODE, 1200)
    truth = gpu.truth
    assert found.kind is Kind.TWIN
    assert found.clock.held
    assert found.sm_mhz == pytest.approx(1200)
    assert found.time_s.value == pytest.approx(truth.true_time_s(cost(DECODE), 1200.0), rel=0.01)
    true_w = truth.true_power_w(cost(DECODE), 1200.0, found.temperature_c)
    assert found.power_w.value == pytest.approx(true_w, rel=0.01)
    assert found.energy_j.value == pytest.approx(found.power_w.value * found.time_s.value, rel=0.01)
    assert found.energy_source is EnergySource.COUNTER
    assert found.steady
    assert found.throttle_shares == {}


def test_a_capped_point_is_filed_under_the_clock_that_the_cap_allows():
    gpu, bench, sampler = started()
    gpu.lock_sm_clock(1980)
    found = measure(bench, gpu, sampler, gpu.clock, PREFILL, 1980)
    assert not found.clock.held
    assert found.clock.reason == "power cap"
    assert found.sm_mhz == pytest.approx(gpu.truth.settle(cost(PREFILL)), rel=0.01)
    assert found.power_w.value == pytest.approx(gpu.truth.cap_w, rel=0.01)
    assert found.throttle_shares["power cap"] == pytest.approx(1.0)


def test_a_lock_that_silently_fails_is_found():
    gpu, bench, sampler = started(lock_ignored=True)
    gpu.lock_sm_clock(1200)
    found = measure(bench, gpu, sampler, gpu.clock, DECODE, 1200)
    assert not found.clock.held
    assert found.clock.reason == "lock did not hold"
    assert found.clock.requested_sm_mhz == 1200
    assert found.sm_mhz == pytest.approx(1980)
    assert found.time_s.value == pytest.approx(
        gpu.truth.true_time_s(cost(DECODE), 1980.0), rel=0.01
    )


def test_steering_reads_the_step_at_the_steered_clock():
    gpu, bench, sampler = started()
    found = measure_mixed(bench, gpu, sampler, gpu.clock, DECODE, 20)
    mixture = [(cost(DECODE), 1.0), (GEMM, 20.0)]
    settled = gpu.truth.settle(mixture, None, found.temperature_c)
    assert found.sm_mhz == pytest.approx(settled, rel=0.005)
    assert found.time_s.value == pytest.approx(
        gpu.truth.true_time_s(cost(DECODE), settled), rel=0.01
    )
    gemms_s = 20 * gpu.truth.true_time_s(GEMM, settled)
    assert found.gemm_time_s.value == pytest.approx(gemms_s, rel=0.01)
    round_s = found.time_s.value + found.gemm_time_s.value
    assert found.energy_j.value == pytest.approx(gpu.truth.cap_w * round_s, rel=0.01)
    assert found.gemms_per_step == 20


@pytest.mark.parametrize("point", [DECODE, PREFILL])
def test_errors_are_as_large_as_they_say(point):
    """The z-scores of 40 seeded measurements have a spread of about one."""
    scores = []
    for seed in range(40):
        truth = quiet(step_noise=0.004, power_noise=0.004, run_noise=0.002)
        gpu, bench, sampler = started(truth, seed=seed)
        gpu.lock_sm_clock(1200)
        plan = MeasurePlan(min_repeats=5)
        found = measure(bench, gpu, sampler, gpu.clock, point, 1200, plan)
        for figure, true in (
            (found.time_s, truth.true_time_s(cost(point), 1200.0)),
            (found.power_w, truth.true_power_w(cost(point), 1200.0)),
        ):
            scores.append((figure.value - true) / figure.error)
    scores = np.array(scores).reshape(-1, 2)
    assert np.all(np.abs(scores.mean(axis=0)) < 0.6)
    assert np.all(np.sqrt((scores**2).mean(axis=0)) < 1.8)
    assert np.mean(np.abs(scores) < 2.78) >= 0.9  # the 95% point of Student's t of 4 degrees


def test_repeats_go_on_until_the_interval_is_narrow():
    noisy = quiet(run_noise=0.03)
    gpu, bench, sampler = started(noisy)
    loose = measure(bench, gpu, sampler, gpu.clock, DECODE, plan=MeasurePlan(precision=0.5))
    tight = measure(
        bench,
        gpu,
        sampler,
        gpu.clock,
        DECODE,
        plan=MeasurePlan(precision=0.002, max_repeats=9, patience_s=99.0),
    )
    assert loose.repeats == 2
    assert tight.repeats == 9
    assert tight.time_s.error < 0.02 * tight.time_s.value


def test_patience_ends_what_repeating_does_not_mend():
    gpu, bench, sampler = started(quiet(run_noise=0.2))
    plan = MeasurePlan(precision=0.001, max_repeats=50, patience_s=12.0)
    before_s = gpu.clock.now_s()
    found = measure(bench, gpu, sampler, gpu.clock, DECODE, plan=plan)
    assert 2 < found.repeats < 6
    assert gpu.clock.now_s() - before_s < 12.0 + 6.0
    assert found.time_s.error > 0.02 * found.time_s.value


def test_a_drifting_gpu_is_given_time_to_settle():
    hot = quiet(leakage_w_per_k=4.0, warming_time_s=2.0, cap_w=2000.0)
    gpu, bench, sampler = started(hot)
    found = measure(bench, gpu, sampler, gpu.clock, DECODE)
    assert found.steady
    true_w = hot.true_power_w(cost(DECODE), 1980.0, gpu.temperature_c)
    assert found.power_w.value == pytest.approx(true_w, rel=0.03)


def test_idle_power_is_measured_like_any_other():
    gpu, _, sampler = started()
    window = measure_idle(sampler, gpu.clock)
    assert window.power_w == pytest.approx(gpu.truth.idle_w, rel=0.01)
    assert window.throttle_shares == {"idle": pytest.approx(1.0)}


def test_a_sampler_that_dies_ends_the_measurement_with_one_line():
    gpu, bench, sampler = started(sampler_dies_at_s=2.0)
    with pytest.raises(UnsupportedGpu, match="sampling process died"):
        measure(bench, gpu, sampler, gpu.clock, DECODE)


def test_without_a_counter_the_source_is_named():
    gpu, bench, sampler = started(no_counter=True)
    found = measure(bench, gpu, sampler, gpu.clock, DECODE)
    assert found.energy_source is EnergySource.INSTANT
    true_w = gpu.truth.true_power_w(cost(DECODE), 1980.0, found.temperature_c)
    assert found.power_w.value == pytest.approx(true_w, rel=0.01)


def test_long_steps_still_give_a_window():
    gpu, bench, sampler = started(replace(twin_truth("rtx3090"), memory_bytes=10**12))
    found = measure(bench, gpu, sampler, gpu.clock, replace(PREFILL, batch=16))
    assert found.time_s.value > 3.0
    settled = gpu.truth.settle(cost(replace(PREFILL, batch=16)), None, found.temperature_c)
    assert found.sm_mhz == pytest.approx(settled, rel=0.01)
