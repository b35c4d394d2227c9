import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate.bench import Engine, Point
from calibrate.steer import GIVE_UP, Mixtures, gemms_for, step_powers
from calibrate.twin import GEMM, step_cost, twin_truth
from model.work import Phase

RATIOS = (0.0, 0.5, 1.5, 4.0, 10.0)
DECODES = [(1, 128), (8, 1024), (64, 2048)]
PREFILLS = [(1, 128), (1, 512), (4, 256)]


def points(model="llama-3.2-1b"):
    graph = Engine.CUDA_GRAPH
    return [
        *(Point(model, graph, Phase.DECODE, batch, 0, context) for batch, context in DECODES),
        *(Point(model, graph, Phase.PREFILL, batch, prompt, 0) for batch, prompt in PREFILLS),
    ]


def mixed(truth, steps, ratios=RATIOS, noise=0.0, seed=0):
    """Mixtures of ``steps`` as the governor settles them, and the steps' true powers."""
    rng = np.random.default_rng(seed)
    rows, true_w = [], []
    top_mhz = float(truth.sm_max_mhz)
    for index, step in enumerate(steps):
        for ratio in ratios:
            alone_s, gemm_s = truth.true_time_s(step, top_mhz), truth.true_time_s(GEMM, top_mhz)
            count = gemms_for(ratio, alone_s, gemm_s)
            mixture = [(step, 1.0), (GEMM, float(count))]
            mhz = truth.settle(mixture)
            power_w = truth.mixture_power_w(mixture, mhz)
            rows.append(
                (
                    index,
                    truth.true_time_s(step, mhz),
                    count * truth.true_time_s(GEMM, mhz),
                    mhz,
                    power_w * (1 + noise * rng.standard_normal()),
                    max(noise, 1e-3) * power_w,
                )
            )
            true_w.append(truth.true_power_w(step, mhz))
    columns = np.array(rows).T
    return Mixtures(columns[0].astype(int), *columns[1:]), np.array(true_w)


@pytest.mark.parametrize("name", ["h100", "rtx3090"])
def test_exact_mixtures_give_the_power_of_every_step_within_its_error(name):
    truth = twin_truth(name)
    mixtures, true_w = mixed(truth, [step_cost(point) for point in points()])
    found = step_powers(mixtures, truth.cap_w)
    told = np.isfinite(found.power_w)
    assert told.mean() > 0.8
    assert np.all(np.abs(found.power_w / true_w - 1)[told] < 2.5 * found.power_error[told])
    assert np.median(np.abs(found.power_w / true_w - 1)[told]) < 0.02


def test_the_power_of_the_gemm_is_found_at_every_clock():
    truth = twin_truth("h100")
    mixtures, _ = mixed(truth, [step_cost(point) for point in points()])
    found = step_powers(mixtures, truth.cap_w)
    true_w = truth.true_power_w(GEMM, mixtures.sm_mhz)
    assert np.all(np.abs(found.gemm_power_w / true_w - 1) < 0.01)


def test_errors_are_as_large_as_they_say():
    """Of steps whose power is told, 95% intervals hold the truth in 90% of cases at least."""
    truth = twin_truth("h100")
    inside, surest = [], []
    for seed in range(40):
        steps = [step_cost(point) for point in points()]
        mixtures, true_w = mixed(truth, steps, noise=0.0015, seed=seed)
        found = step_powers(mixtures, truth.cap_w)
        told = np.isfinite(found.power_w)
        miss = np.abs(found.power_w - true_w)[told] / (found.power_error * found.power_w)[told]
        inside.append(miss < 1.96)
        surest.append(np.nanmedian(found.power_error))
    assert np.mean(np.concatenate(inside)) >= 0.9
    assert np.median(surest) < 0.02


def test_the_error_grows_with_the_share_of_the_gemms_until_power_is_given_up():
    truth = twin_truth("h100")
    steps = [step_cost(points()[0])]
    mixtures, _ = mixed(truth, steps, ratios=(0.0, 1.5, 4.0, 10.0, 40.0), noise=0.0015)
    found = step_powers(mixtures, truth.cap_w)
    assert np.all(np.diff(found.power_error) > 0)
    assert np.isnan(found.power_w[-1])
    assert found.power_error[-1] > GIVE_UP


def test_steps_that_ran_alone_keep_the_power_that_was_measured():
    truth = twin_truth("h100")
    mixtures, true_w = mixed(truth, [step_cost(point) for point in points()], ratios=(0.0,))
    found = step_powers(mixtures, truth.cap_w)
    assert found.power_w == pytest.approx(true_w)
    assert np.all(np.isnan(found.gemm_power_w))


@given(
    ratio=st.floats(0.01, 20),
    step_s=st.floats(1e-4, 1),
    gemm_s=st.floats(1e-4, 1e-2),
)
@settings(max_examples=60, deadline=None)
def test_gemms_come_as_near_to_the_ratio_as_whole_ones_can(ratio, step_s, gemm_s):
    count = gemms_for(ratio, step_s, gemm_s)
    assert count >= 1
    if count > 1:
        assert abs(count * gemm_s - ratio * step_s) <= gemm_s / 2 * (1 + 1e-9)
    assert gemms_for(0.0, step_s, gemm_s) == 0
