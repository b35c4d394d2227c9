import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from twins import DECODE, PREFILL, cost, quiet, twin

from calibrate.bench import Engine, OutOfMemory
from calibrate.gpu import THROTTLE_IDLE, THROTTLE_POWER_CAP, Kind
from calibrate.twin import GEMM, PRESETS, StepCost, twin_truth
from phasewatt.errors import UnsupportedGpu


def test_a_twin_says_that_it_is_one():
    for name in PRESETS:
        identity = twin(twin_truth(name))[0].identity()
        assert identity.kind is Kind.TWIN
        assert "twin" in identity.name
        assert "invented" in identity.name


def test_an_unknown_twin_is_one_line():
    with pytest.raises(UnsupportedGpu, match="no twin 'twin:b200'; there are twin:h100"):
        twin_truth("twin:b200")


def test_the_regimes_are_where_a_real_gpu_has_them():
    truth = twin_truth("h100")
    top = float(truth.sm_max_mhz)
    assert truth.settle(cost(PREFILL)) < 0.9 * top
    assert truth.settle(cost(DECODE)) == top
    eager = replace(cost(DECODE), engine=Engine.EAGER)
    assert truth.launch_time_s(eager) > 0.6 * truth.true_time_s(eager, top)
    assert truth.true_power_w(eager, top) < 300 < truth.true_power_w(cost(DECODE), top) < 553


@given(
    sm_mhz=st.floats(300, 1900),
    weight=st.floats(0, 1e11),
    kv=st.floats(0, 1e11),
    flops=st.floats(1e9, 1e15),
    overlap=st.floats(1, 6),
    name=st.sampled_from(sorted(PRESETS)),
)
@settings(max_examples=60, deadline=None)
def test_time_falls_and_power_rises_with_the_clock(sm_mhz, weight, kv, flops, overlap, name):
    truth = replace(twin_truth(name), overlap=overlap)
    step = StepCost(weight, kv, flops, 1, Engine.CUDA_GRAPH)
    slow, fast = sm_mhz, 1.05 * sm_mhz
    assert truth.true_time_s(step, fast) < truth.true_time_s(step, slow)
    assert truth.true_power_w(step, fast) > truth.true_power_w(step, slow)
    both = truth.true_power_w(step, np.array([slow, fast]))
    assert both == pytest.approx([truth.true_power_w(step, slow), truth.true_power_w(step, fast)])


@given(gemms=st.integers(0, 60), requested=st.sampled_from([600, 1200, 1800, 1980]))
@settings(max_examples=40, deadline=None)
def test_the_governor_settles_at_the_cap_or_at_the_request(gemms, requested):
    truth = twin_truth("h100")
    mixture = [(cost(DECODE), 1.0), (GEMM, float(gemms))]
    settled = truth.settle(mixture, requested)
    power_w = truth.mixture_power_w(mixture, settled)
    assert settled <= requested
    if settled < requested:
        assert power_w == pytest.approx(truth.cap_w, abs=0.1)
    else:
        assert power_w <= truth.cap_w


def test_a_cap_below_the_lowest_clock_leaves_the_lowest_clock():
    truth = replace(twin_truth("h100"), cap_w=50.0)
    assert truth.settle(cost(PREFILL)) == truth.sm_min_mhz


def test_steps_take_their_true_time_without_noise():
    truth = quiet()
    gpu, bench, _ = twin(truth)
    gpu.lock_sm_clock(1200)
    bench.prepare(DECODE)
    expected_s = truth.true_time_s(cost(DECODE), 1200.0)
    before_s = gpu.clock.now_s()
    assert bench.run(50).step_time_s == pytest.approx(np.full(50, expected_s))
    assert gpu.clock.now_s() - before_s == pytest.approx(50 * expected_s)


def test_noise_is_multiplicative_and_of_the_size_stated():
    truth = quiet(step_noise=0.01)
    gpu, bench, _ = twin(truth)
    gpu.lock_sm_clock(1200)
    bench.prepare(DECODE)
    relative = np.log(bench.run(4000).step_time_s / truth.true_time_s(cost(DECODE), 1200.0))
    assert abs(relative.mean()) < 4 * 0.01 / math.sqrt(4000)
    assert relative.std() == pytest.approx(0.01, rel=0.1)


def test_gemms_steer_the_clock_down_and_are_timed_apart():
    truth = quiet()
    _, bench, _ = twin(truth)
    bench.prepare(DECODE)
    seen = []
    for gemms in (0, 6, 20, 60):
        mixed = bench.run_mixed(5, gemms)
        settled = truth.settle(
            [(cost(DECODE), 1.0), (GEMM, float(gemms))] if gemms else cost(DECODE)
        )
        assert mixed.step_time_s == pytest.approx(
            truth.true_time_s(cost(DECODE), settled), rel=1e-6
        )
        assert mixed.gemm_time_s == pytest.approx(
            gemms * truth.true_time_s(GEMM, settled), rel=1e-6, abs=1e-12
        )
        assert mixed.sm_mhz_before.mean() == pytest.approx(settled, rel=0.01)
        seen.append(settled)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 0.85 * seen[0]


def test_the_counter_moves_every_100_ms_and_holds_the_true_energy():
    gpu, _, sampler = twin(quiet())
    sampler.start()
    gpu.clock.sleep_s(3.0)
    samples = sampler.read(0.0)
    moved = np.flatnonzero(np.diff(samples.energy_j) > 0)
    assert np.diff(samples.time_s[moved]) == pytest.approx(np.full(moved.size - 1, 0.1), abs=0.02)
    ticks_s = np.floor(samples.time_s / 0.1 + 1e-9) * 0.1
    assert samples.energy_j == pytest.approx(ticks_s * gpu.truth.idle_w)


def test_averaged_power_trails_by_a_second_where_instantaneous_power_does_not():
    truth = quiet()
    gpu, bench, sampler = twin(truth)
    sampler.start()
    gpu.clock.sleep_s(2.0)
    gpu.lock_sm_clock(1200)
    bench.prepare(DECODE)
    start_s = gpu.clock.now_s()
    bench.run(int(0.5 / truth.true_time_s(cost(DECODE), 1200.0)))
    last = sampler.read(start_s)
    busy_w = truth.true_power_w(cost(DECODE), 1200.0)
    assert last.power_instant_w[-1] == pytest.approx(busy_w)
    assert last.power_average_w[-1] == pytest.approx((busy_w + truth.idle_w) / 2, rel=0.05)


def test_the_energy_of_a_mixture_is_the_sum_of_its_parts():
    truth = quiet()
    gpu, bench, sampler = twin(truth)
    sampler.start()
    bench.prepare(DECODE)
    start_s = gpu.clock.now_s()
    mixed = bench.run_mixed(30, 20)
    samples = sampler.read(start_s + 0.2)
    clock = truth.settle([(cost(DECODE), 1.0), (GEMM, 20.0)])
    step_j = mixed.step_time_s.sum() * truth.true_power_w(cost(DECODE), clock)
    gemm_j = mixed.gemm_time_s.sum() * truth.true_power_w(GEMM, clock)
    mean_w = (step_j + gemm_j) / (mixed.step_time_s.sum() + mixed.gemm_time_s.sum())
    assert samples.power_instant_w == pytest.approx(np.full(samples.time_s.size, mean_w))


def test_a_busy_twin_warms_and_leaks():
    truth = quiet(leakage_w_per_k=0.5)
    gpu, bench, sampler = twin(truth)
    sampler.start()
    gpu.lock_sm_clock(1200)
    bench.prepare(PREFILL)
    bench.run(200)
    samples = sampler.read(0.0)
    half = samples.time_s.size // 2
    assert samples.temperature_c[-1] > samples.temperature_c[0] + 10
    assert samples.power_instant_w[half] > samples.power_instant_w[5]
    settled_w = truth.true_power_w(cost(PREFILL), 1200.0, gpu.temperature_c)
    assert samples.power_instant_w[-1] == pytest.approx(settled_w, rel=0.002)


def test_throttle_reasons_tell_idle_from_capped():
    gpu, bench, sampler = twin()
    sampler.start()
    gpu.clock.sleep_s(1.0)
    bench.prepare(PREFILL)
    bench.run(8)
    samples = sampler.read(0.0)
    assert set(samples.throttle[samples.time_s < 1.0]) == {THROTTLE_IDLE}
    assert set(samples.throttle[samples.time_s > 1.0]) == {THROTTLE_POWER_CAP}


def test_a_dithering_clock_has_the_right_mean():
    truth = quiet()
    _, bench, sampler = twin(truth)
    sampler.start()
    bench.prepare(PREFILL)
    bench.run(40)
    sm_mhz = sampler.read(0.0).sm_mhz
    assert set(np.round((sm_mhz - truth.sm_min_mhz) % truth.sm_step_mhz, 6)) == {0.0}
    assert sm_mhz.mean() == pytest.approx(truth.settle(cost(PREFILL)), abs=2.0)


def test_locks_hold_and_are_given_back():
    gpu, _, _ = twin()
    gpu.lock_sm_clock(1203)
    gpu.clock.sleep_s(0.1)
    assert gpu.locked_sm_mhz == 1200
    assert gpu.read().sm_mhz == 1200
    gpu.reset_sm_clock()
    assert gpu.locked_sm_mhz is None


def test_the_faults():
    gpu, _, _ = twin(lock_ignored=True)
    gpu.lock_sm_clock(1200)
    assert gpu.locked_sm_mhz is None
    gpu, _, _ = twin(lock_denied=True)
    with pytest.raises(UnsupportedGpu, match="no permission"):
        gpu.lock_sm_clock(1200)
    assert gpu.capabilities().lock_sm_clock.available is False
    gpu, bench, _ = twin(lost_at_s=5.0)
    bench.prepare(DECODE)
    gpu.read()
    with pytest.raises(UnsupportedGpu, match="the GPU is lost"):
        bench.run(2000)
    gpu, _, _ = twin(no_counter=True, no_instant_power=True)
    assert math.isnan(gpu.read().energy_j)
    assert math.isnan(gpu.read().power_instant_w)
    assert not math.isnan(gpu.read().power_average_w)
    gpu, _, sampler = twin(sampler_dies_at_s=1.0)
    sampler.start()
    assert sampler.read(0.0).time_s.size == 0
    gpu.clock.sleep_s(1.0)
    with pytest.raises(UnsupportedGpu, match="sampling process died"):
        sampler.read(0.0)


def test_a_point_that_does_not_fit_is_named():
    _, bench, _ = twin()
    with pytest.raises(OutOfMemory, match="8B cuda-graph decode 4096 x 4096"):
        bench.prepare(replace(DECODE, batch=4096, context_tokens=4096))


def test_the_same_seed_gives_the_same_bytes():
    def steps(seed):
        _, bench, sampler = twin(seed=seed)
        sampler.start()
        bench.prepare(PREFILL)
        step_s = bench.run(20).step_time_s
        return step_s.tobytes() + sampler.read(0.0).energy_j.tobytes()

    assert steps(3) == steps(3)
    assert steps(3) != steps(4)


def test_the_knee_and_slope_can_be_recovered_from_true_power():
    truth = quiet()
    clocks = np.linspace(600, 1980, 24)
    power_w = truth.true_power_w(cost(DECODE), clocks)

    def residuals(c):
        x = clocks / truth.sm_max_mhz
        return c[0] + c[1] * x * (1 + c[3] * np.maximum(x - c[2], 0)) ** 2 - power_w

    fit = least_squares(residuals, [100, 100, 0.6, 1.0], x_scale=[100, 100, 1, 1])
    constant_w, dynamic_w = truth.power_coefficients_w(cost(DECODE))
    assert fit.x == pytest.approx([constant_w, dynamic_w, truth.knee, truth.slope], rel=1e-3)
