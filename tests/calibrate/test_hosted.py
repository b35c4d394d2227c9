"""Steps that the host launches, measured on a twin whose host is disturbed a third of the time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from campaigns import campaign, run
from hypothesis import given
from hypothesis import strategies as st
from twins import DECODE, cost, quiet, twin

from calibrate.bench import Engine
from calibrate.hosted import disturbances, told
from calibrate.log import BadLog, Measured, read_log
from calibrate.measure import MeasurePlan, measure
from calibrate.study import study_of, study_of_logs
from calibrate.sweep import Strategy
from calibrate.twin import step_cost, twin_truth
from calibrate.undisturbed import BAND, undisturbed, without_waiting

EAGER = replace(DECODE, engine=Engine.EAGER)
TRUTH = twin_truth("h100")
SHARE = 0.35
H100 = Path(__file__).parent / "h100"

times = st.lists(st.floats(1e-4, 10.0), min_size=1, max_size=60).map(np.array)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    asked = campaign(300.0, Strategy.OBSERVE, engines=(Engine.EAGER,))
    return run(tmp_path_factory.mktemp("eager") / "log", asked, disturbed_share=SHARE)


@given(times)
def test_undisturbed_steps_are_the_quick_ones(time_s):
    chosen = undisturbed(time_s)
    assert chosen[np.argmin(time_s)]
    if not chosen.all():
        assert time_s[chosen].max() < time_s[~chosen].min()
    if np.ptp(time_s) <= BAND * time_s.min():
        assert chosen.all()


@given(st.floats(1.0, 3.0), st.floats(1e-3, 1.0), st.floats(50.0, 700.0), st.floats(20.0, 150.0))
def test_waiting_and_undisturbed_steps_add_up_to_what_was_drawn(longer, own_s, drawn_w, idle_w):
    own_w, error_w = without_waiting(
        np.array(longer * own_s), np.array(own_s), np.array(drawn_w), idle_w
    )
    drawn_j = float(own_w) * own_s + idle_w * (longer - 1) * own_s
    assert drawn_j == pytest.approx(drawn_w * longer * own_s)
    assert float(error_w) >= 0


@pytest.mark.parametrize("seed", range(8))
def test_a_disturbed_host_does_not_lengthen_the_step(seed):
    gpu, bench, sampler = twin(quiet(), seed, disturbed_share=SHARE)
    sampler.start()
    found = measure(bench, gpu, sampler, gpu.clock, EAGER, plan=MeasurePlan(window_s=2.0))
    true_s = gpu.truth.true_time_s(cost(EAGER), 1980.0)
    assert found.undisturbed_s.value == pytest.approx(true_s, rel=1e-6)
    assert found.time_s.value > 1.01 * true_s


def test_a_window_that_was_disturbed_from_end_to_end_is_not_kept():
    gpu, bench, sampler = twin(quiet(), 0)
    sampler.start()
    ran, slow = bench.run, iter([0.0] * 3 + [1.0] + [0.0] * 50)

    def run_slowed(steps):
        gpu.faults = replace(gpu.faults, disturbed_share=next(slow))
        bench._disturbed = gpu.faults.disturbed_share > 0
        return ran(steps)

    bench.run = run_slowed
    found = measure(bench, gpu, sampler, gpu.clock, EAGER, plan=MeasurePlan(min_repeats=2))
    true_s = gpu.truth.true_time_s(cost(EAGER), 1980.0)
    assert found.time_s.value == pytest.approx(true_s, rel=1e-6)
    assert found.repeats == 2


def test_captured_steps_are_taken_as_they_are():
    gpu, bench, sampler = twin(quiet(), 0, disturbed_share=SHARE)
    sampler.start()
    found = measure(bench, gpu, sampler, gpu.clock, DECODE)
    assert found.time_s.value == pytest.approx(gpu.truth.true_time_s(cost(DECODE), 1980.0))
    assert found.undisturbed_s.value == pytest.approx(found.time_s.value)


def test_times_and_powers_are_those_of_undisturbed_steps(log):
    rows = study_of(log).measurements
    assert len(rows) >= 15
    found = [record.measurement for record in log.measured]
    longer = [each.time_s.value / each.undisturbed_s.value for each in found]
    true_s, true_w = [], []
    for record, mhz in zip(told(log), rows.sm_mhz.tolist(), strict=True):
        step = step_cost(record.cell.point)
        true_s.append(TRUTH.true_time_s(step, mhz))
        true_w.append(TRUTH.true_power_w(step, mhz, record.measurement.temperature_c))
    assert np.abs(rows.time_s / true_s - 1).max() < 0.03
    off_w = np.abs(rows.power_w - true_w)
    # The twin draws 90 W while it waits and 70 W idle: errors say that the two may differ.
    assert np.all(off_w < 3 * rows.power_error * rows.power_w + 0.01 * rows.power_w)
    assert np.mean(off_w / true_w) < 0.04
    assert np.median(longer) > 1.1


def quiet_record(record):
    """A record whose windows nothing disturbed, if it is of a point."""
    if not isinstance(record, Measured):
        return record
    found = record.measurement
    windows = tuple(replace(w, time_s=w.undisturbed_s) for w in found.windows)
    return replace(record, measurement=replace(found, windows=windows))


def test_what_a_waiting_gpu_draws_is_read_from_windows_of_one_point(log):
    (found,) = disturbances([log])
    assert found.points == len(log.measured)
    assert 0.1 < found.longer[0] < found.longer[1] < 0.7
    assert found.moved[1] < 0.3 * found.moved[0]
    assert found.idle_w == pytest.approx(TRUTH.idle_w, rel=0.02)
    assert found.waiting_w == pytest.approx(TRUTH.static_w, rel=0.15)
    calm = replace(log, records=tuple(quiet_record(record) for record in log.records))
    (calmed,) = disturbances([calm])
    assert (calmed.longer, calmed.moved, calmed.waiting_w) == ((0.0, 0.0), None, None)
    note = next(n for n in study_of(log).provenance.notes if n.startswith("eager"))
    assert "nothing disturbed" in note
    assert f"{found.longer[0]:.0%} on twin-h100" in note


def test_steps_that_took_longer_than_a_larger_step_are_left_out(log):
    points = [record.cell.point for record in log.measured]
    small = next(p for p in points if p.batch == 1 and p.context_tokens == 128)

    def disturbed(record):
        found = record.measurement
        if record.cell.point != small:
            return record
        slower = replace(found.undisturbed_s, value=1.8 * found.undisturbed_s.value)
        return replace(record, measurement=replace(found, undisturbed_s=slower))

    spoilt = replace(
        log,
        records=tuple(
            disturbed(record) if record in log.measured else record for record in log.records
        ),
    )
    assert small in [record.cell.point for record in told(log)]
    kept = [record.cell.point for record in told(spoilt)]
    assert kept == [point for point in points if point != small]
    assert any("1 eager points are left out" in n for n in study_of(spoilt).provenance.notes)


def test_older_logs_tell_nothing_of_undisturbed_steps(log, tmp_path):
    older = read_log(H100 / "observe-1b.jsonl")
    eager = [r for r in older.measured if r.cell.point.engine is Engine.EAGER]
    assert len(eager) == 2
    assert [r for r in older.measured if r not in eager] == list(told(older))
    lines = (H100 / "observe-1b.jsonl").read_text(encoding="utf-8").splitlines()
    alone = tmp_path / "eager.jsonl"
    kept = [line for line in lines if '"engine": "cuda-graph"' not in line or "header" in line]
    alone.write_text("\n".join(kept) + "\n", encoding="utf-8")
    with pytest.raises(BadLog, match=r"eager.jsonl: holds only eager points of an older phasewatt"):
        study_of_logs([alone])


def test_a_log_is_read_back_with_its_undisturbed_times(tmp_path):
    asked = campaign(40.0, Strategy.OBSERVE, engines=(Engine.EAGER,), batches=(1,), prompts=(128,))
    log = run(tmp_path / "log", asked, disturbed_share=SHARE)
    assert read_log(tmp_path / "log").records == log.records
    windows = [window for record in log.measured for window in record.measurement.windows]
    assert all(window.undisturbed_s <= (1 + 1e-9) * window.time_s for window in windows)
