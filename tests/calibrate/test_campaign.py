import gzip
import os
from dataclasses import replace

import numpy as np
import pytest
from campaigns import SWEEP, campaign, run
from click.testing import CliRunner

from calibrate import campaign as campaign_module
from calibrate.bench import Engine
from calibrate.campaign import design_of, run_campaign
from calibrate.cli import main
from calibrate.design import FEWEST_PER_SERIES
from calibrate.fit import fit_study
from calibrate.log import BadLog, Idle, Measured, read_log
from calibrate.rig import twin_rig
from calibrate.steer import GIVE_UP
from calibrate.study import study_of, study_of_logs
from calibrate.sweep import Strategy, length
from calibrate.twin import step_cost, twin_truth
from calibrate.window import NoEnergy
from model.calibration import dump, parse
from model.provenance import Kind
from model.work import Phase
from phasewatt.errors import BadOption, UnsupportedGpu

TINY = {"batches": (1, 8), "prompts": (128,), "contexts": (128, 1024), "sm_mhz": (1200, 1980)}

TINY_OBSERVED = {key: value for key, value in TINY.items() if key != "sm_mhz"}

TRUTH = twin_truth("h100")


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """One whole campaign for each strategy."""
    directory = tmp_path_factory.mktemp("logs")
    return {
        strategy: (directory / strategy, run(directory / strategy, campaign(300.0, strategy)))
        for strategy in (Strategy.LOCK, Strategy.STEER, Strategy.OBSERVE)
    }


@pytest.mark.parametrize("strategy", [Strategy.LOCK, Strategy.STEER, Strategy.OBSERVE])
def test_every_figure_is_that_of_its_point_at_the_achieved_clock(logs, strategy):
    path, log = logs[strategy]
    rows = study_of(log).measurements
    assert len(rows) == len(log.measured) >= 17
    for index, record in enumerate(log.measured):
        step = step_cost(record.cell.point)
        mhz = float(rows.sm_mhz[index])
        assert rows.time_s[index] == pytest.approx(TRUTH.true_time_s(step, mhz), rel=0.015)
        true_w = TRUTH.true_power_w(step, mhz, record.measurement.temperature_c)
        allowed = 0.015 + 3 * min(rows.power_error[index], GIVE_UP)
        if np.isfinite(rows.power_w[index]):
            assert rows.power_w[index] == pytest.approx(true_w, rel=allowed)
        alone = record.cell.sm_mhz is None and record.cell.gemm_ratio == 0
        assert rows.stock[index] == alone
    assert read_log(path).records == log.records


@pytest.mark.parametrize("strategy", [Strategy.LOCK, Strategy.STEER, Strategy.OBSERVE])
def test_a_twin_is_labelled_in_everything(logs, strategy):
    path, _ = logs[strategy]
    study = study_of_logs([path])
    assert study.provenance.kind is Kind.TWIN
    assert "twin" in study.name
    assert "twin" in study.provenance.source
    assert "invented" in study.provenance.notes[0]
    assert {origin.kind for origin in study.gpu.origins.values()} == {Kind.TWIN}
    assert study.gpu.idle_power_w == pytest.approx(TRUTH.idle_w, rel=0.01)
    assert study.gpu.memory_bytes == TRUTH.memory_bytes
    assert study.gpu.power_limit_w == TRUTH.cap_w


def test_logs_of_one_kind_of_gpu_make_one_study(logs, tmp_path):
    (steered, first), (observed, second) = logs[Strategy.STEER], logs[Strategy.OBSERVE]
    packed = tmp_path / "observed.jsonl.gz"
    packed.write_bytes(gzip.compress(observed.read_bytes()))
    study = study_of_logs([steered, packed])
    rows = study.measurements
    assert len(rows) == len(first.measured) + len(second.measured)
    assert study.gpu.idle_power_w == pytest.approx(TRUTH.idle_w, rel=0.01)
    # Points of the log in which nothing was steered keep the power that was measured.
    alone = rows.rows(np.arange(len(rows)) >= len(first.measured))
    told_w = [record.measurement.power_w.value for record in second.measured]
    np.testing.assert_allclose(alone.power_w, told_w, rtol=0.02)
    mean, sd = study.believed["voltage_slope"]
    # The twin's voltage is 1 at its knee, the mixtures' at the highest clock.
    true = TRUTH.slope / (1 + TRUTH.slope * (1 - TRUTH.knee))
    assert abs(mean - true) < 2.5 * sd < true
    calibration = fit_study(study)
    assert parse(dump(calibration), "dumped") == calibration


def test_logs_of_two_kinds_of_gpu_are_refused(logs, tmp_path):
    other = tmp_path / "other.jsonl"
    run(other, campaign(60.0, Strategy.OBSERVE, **TINY_OBSERVED), gpu="twin:rtx3090")
    with pytest.raises(BadLog, match=r"other.jsonl: found .*rtx3090.*; expected .*h100.*, as in "):
        study_of_logs([logs[Strategy.STEER][0], other])
    spoilt = tmp_path / "spoilt.jsonl.gz"
    spoilt.write_bytes(b"no gzip")
    with pytest.raises(BadLog, match="expected gzip, as its name says"):
        study_of_logs([spoilt])


def test_a_table_goes_alone(logs, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("model,phase\n", encoding="utf-8")
    output = str(tmp_path / "c.json")
    result = CliRunner().invoke(
        main, ["fit", str(logs[Strategy.STEER][0]), str(table), "-o", output]
    )
    assert result.exit_code == 2
    assert "table.csv: is a table; expected it alone, or logs only" in result.stderr


@pytest.mark.parametrize("strategy", [Strategy.LOCK, Strategy.STEER])
def test_a_calibration_follows_from_the_log_alone(logs, strategy):
    path, _ = logs[strategy]
    calibration = fit_study(study_of_logs([path]))
    assert calibration.models == SWEEP.models
    for phase in Phase:
        curves = calibration.curves_of(SWEEP.models[0], phase)
        assert curves.time.errors.holdout_mape < 0.02
    assert parse(dump(calibration), "dumped") == calibration


def test_the_budget_is_spent_and_not_exceeded(logs):
    for strategy, (_, log) in logs.items():
        last = [record for record in log.records if isinstance(record, Measured)][-1]
        before_after = [r for r in log.records[:-1] if r is not last]
        spent_s = sum(r.moments.ended_s - r.moments.began_s for r in before_after)
        assert spent_s < 300, strategy
        # Without a clock to vary there are fewer candidates than the budget would pay for.
        assert log.spent_s > 240 or strategy is Strategy.OBSERVE


def test_idle_power_is_measured_before_and_after(logs):
    for _, log in logs.values():
        assert [record.when for record in log.idle] == ["before", "after"]
        assert isinstance(log.records[0], Idle)
        assert isinstance(log.records[-1], Idle)


def test_steering_covers_clocks_that_no_lock_was_needed_for(logs):
    _, log = logs[Strategy.STEER]
    decode = [r.measurement for r in log.measured if r.cell.point.phase is Phase.DECODE]
    clocks = [found.sm_mhz for found in decode]
    assert min(clocks) < 0.82 * TRUTH.sm_max_mhz
    assert max(clocks) == pytest.approx(TRUTH.sm_max_mhz, rel=0.005)


def test_what_is_left_of_the_budget_goes_beyond_the_first_block(logs):
    _, log = logs[Strategy.LOCK]
    asked = campaign(300.0)
    first = design_of(twin_rig("twin:h100", 0), asked, Strategy.LOCK).first
    cells = [record.cell for record in log.measured]
    more = [cell for cell in cells if cell not in first]
    assert len(more) >= 5
    assert cells[: len(cells) - len(more)] == [cell for cell in cells if cell in first]
    assert len(set(cells)) == len(cells)


def test_a_clock_that_the_power_limit_held_is_not_asked_for_higher(logs):
    _, log = logs[Strategy.LOCK]
    first = design_of(twin_rig("twin:h100", 0), campaign(300.0), Strategy.LOCK).first
    held = {}
    for record in log.measured:
        cell, found = record.cell, record.measurement
        if cell not in first and cell.sm_mhz is not None:
            assert cell.sm_mhz < held.get(cell.point, 9999)
        if found.clock is not None and found.clock.reason == "power cap":
            held[cell.point] = min(found.sm_mhz, held.get(cell.point, 9999))
    assert held


@pytest.mark.parametrize("strategy", [Strategy.LOCK, Strategy.STEER, Strategy.AUTO])
def test_a_run_killed_at_any_record_ends_with_the_same_bytes(tmp_path, strategy):
    small = TINY if strategy is Strategy.LOCK else {**TINY, "sm_mhz": ()}
    asked = campaign(90.0, strategy, **small)
    whole = tmp_path / "whole.jsonl"
    run(whole, asked)
    lines = whole.read_bytes().splitlines(keepends=True)
    assert len(lines) > 12
    for kept in range(1, len(lines) + 1, 1 if strategy is Strategy.LOCK else 3):
        path = tmp_path / f"{kept}.jsonl"
        path.write_bytes(b"".join(lines[:kept]) + lines[kept - 1][:40])
        run(path, asked)
        assert path.read_bytes() == whole.read_bytes(), kept


def test_a_run_that_dies_in_the_middle_goes_on_and_fits_the_same_bytes(tmp_path):
    def dies(log, design):
        if len(log.measured) == 5:
            raise KeyboardInterrupt

    asked = campaign(90.0, **TINY)
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    run(whole, asked)
    with pytest.raises(KeyboardInterrupt):
        run(cut, asked, told=dies)
    assert len(read_log(cut).measured) == 5
    run(cut, asked)
    assert dump(fit_study(study_of_logs([cut]))) == dump(fit_study(study_of_logs([whole])))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, seed in zip(paths, (1, 1, 2), strict=True):
        run(path, campaign(60.0, seed=seed, **TINY))
    first, second, third = (path.read_bytes() for path in paths)
    assert first == second
    assert first != third


def test_a_larger_budget_goes_on_from_a_finished_log(tmp_path):
    path = tmp_path / "run.jsonl"
    before = run(path, campaign(60.0))
    after = run(path, campaign(300.0))
    assert after.records[: len(before.records)] == before.records
    assert len(after.measured) > len(before.measured)
    assert len(after.idle) == 3
    assert run(path, campaign(300.0)) == after


@pytest.mark.parametrize(
    ("changes", "gpu", "line"),
    [
        ({"seed": 3}, "twin:h100", "was begun with --seed 0, not 3: pass another --log"),
        ({"batches": (1,)}, "twin:h100", "was begun with --batches 1,8, not 1"),
        ({"strategy": Strategy.STEER, "sm_mhz": ()}, "twin:h100", "--clocks lock, not steer"),
        ({}, "twin:rtx3090", r"was begun with GPU twin h100 \(.*\), not twin rtx3090"),
    ],
)
def test_another_campaign_or_gpu_is_refused(tmp_path, changes, gpu, line):
    path = tmp_path / "run.jsonl"
    run(path, campaign(30.0, **TINY))
    text = path.read_bytes()
    with pytest.raises(BadLog, match=line):
        run(path, campaign(30.0, **{**TINY, **changes}), gpu)
    assert path.read_bytes() == text


def test_a_lock_that_does_not_hold_is_filed_under_the_achieved_clock_and_told(tmp_path):
    path = tmp_path / "run.jsonl"
    log = run(path, campaign(30.0, **{**TINY, "sm_mhz": (900, 1200)}), lock_ignored=True)
    study = study_of(log)
    locked = [r for r in log.measured if r.cell.sm_mhz is not None]
    assert locked
    for record in locked:
        assert record.measurement.clock.held is False
        assert record.measurement.clock.reason == "lock did not hold"
        assert record.measurement.clock.requested_sm_mhz == record.cell.sm_mhz
    assert study.measurements.sm_mhz.min() > 1600
    assert any(
        f"{len(locked)} of {len(log.measured)} points did not hold" in note
        for note in study.provenance.notes
    )


def test_auto_locks_where_it_may_and_steers_where_it_may_not(tmp_path):
    asked = campaign(30.0, Strategy.AUTO, **{**TINY, "sm_mhz": ()})
    assert run(tmp_path / "lock", asked).header.strategy is Strategy.LOCK
    steered = run(tmp_path / "steer", asked, lock_denied=True)
    assert steered.header.strategy is Strategy.STEER
    assert "no permission" in steered.header.strategy_reason
    assert any(record.measurement.gemms_per_step for record in steered.measured)


def test_auto_observes_where_load_does_not_move_the_clock(tmp_path, monkeypatch):
    rig = twin_rig("twin:h100", 0)
    monkeypatch.setattr(rig.gpu, "truth", replace(rig.gpu.truth, cap_w=5000.0))
    monkeypatch.setattr("campaigns.twin_rig", lambda *_: rig)
    asked = campaign(30.0, Strategy.AUTO, **{**TINY, "sm_mhz": ()})
    log = run(tmp_path / "observe", asked, lock_denied=True)
    assert log.header.strategy is Strategy.OBSERVE
    assert "load cannot steer it" in log.header.strategy_reason


def test_without_permission_lock_is_one_line_and_says_what_to_pass(tmp_path):
    path = tmp_path / "run.jsonl"
    with pytest.raises(UnsupportedGpu, match="no permission to lock clocks: run as root, or use"):
        run(path, lock_denied=True)


def test_a_gpu_in_use_is_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "run.jsonl"
    for strategy in (Strategy.LOCK, Strategy.OBSERVE):
        with pytest.raises(UnsupportedGpu, match="pid 4321"):
            run(path, campaign(30.0, strategy), other_pids=(os.getpid(), 4321))
    assert not path.exists()
    asked = replace(campaign(30.0, **TINY), force=True)
    assert run(path, asked, other_pids=(4321,)).measured


def test_a_gpu_or_sampler_lost_on_the_way_is_one_line_and_the_log_resumes(tmp_path):
    path = tmp_path / "run.jsonl"
    asked = campaign(90.0, **TINY)
    with pytest.raises(UnsupportedGpu, match="GPU is lost"):
        run(path, asked, lost_at_s=40.0)
    with pytest.raises(UnsupportedGpu, match="sampling process died; run again to resume"):
        run(path, asked, sampler_dies_at_s=60.0)
    assert 0 < len(read_log(path).measured) < 10
    run(path, asked)
    whole = tmp_path / "whole.jsonl"
    run(whole, asked)
    assert path.read_bytes() == whole.read_bytes()


def test_points_that_run_out_of_memory_are_skipped_with_all_larger_ones(tmp_path):
    rig = twin_rig("twin:h100", 0)
    path = tmp_path / "run.jsonl"
    asked = campaign(120.0, batches=(1, 8, 64), contexts=(128, 4096), sm_mhz=(1200, 1980))
    # What fits by weights and cache may still not fit beside activations.
    small = replace(rig.gpu.truth, memory_bytes=3 * 1024**3)
    rig.gpu.truth = small
    log = run_campaign(rig, asked, path)
    refused = [skip.cell.point for skip in log.skipped]
    assert {(point.phase, point.batch) for point in refused} >= {
        (Phase.PREFILL, 64),
        (Phase.DECODE, 8),
    }
    for index, point in enumerate(refused):
        assert "does not fit" in log.skipped[index].note
        for other in refused[index + 1 :]:
            larger = other.batch >= point.batch and length(other) >= length(point)
            assert not larger or other.phase is not point.phase
    assert any("did not fit" in note for note in study_of(log).provenance.notes)


def test_a_step_too_long_to_steer_is_measured_alone(tmp_path):
    asked = campaign(
        30.0,
        Strategy.STEER,
        models=("llama-3.1-8b",),
        phases=(Phase.PREFILL,),
        prompts=(128, 256, 2048),
        engines=(Engine.CUDA_GRAPH,),
    )
    log = run(tmp_path / "run.jsonl", asked)
    assert {skip.cause for skip in log.skipped} == {"length"}
    for record in log.measured:
        assert record.cell.gemm_ratio == 0 or record.measurement.time_s.value < 0.13
    assert any(record.measurement.time_s.value > 0.13 for record in log.measured)
    # What the first block lost to them is replaced, though the budget is spent.
    candidates = design_of(twin_rig("twin:h100", 0), asked, Strategy.STEER).cells
    lost = {skip.cell for skip in log.skipped}
    assert len(log.measured) >= min(FEWEST_PER_SERIES, len(set(candidates) - lost))


def test_clocks_that_the_gpu_does_not_have_are_refused(tmp_path):
    with pytest.raises(BadOption, match=r"--sm-mhz: .* has no 1201 MHz; the nearest is 1200"):
        run(tmp_path / "x", campaign(30.0, sm_mhz=(1201,)))


def test_a_window_that_a_hiccup_cut_is_measured_again_once(tmp_path, monkeypatch):
    real, cut = campaign_module.measure_idle, []

    def hiccup(*arguments):
        if len(cut) < hiccups:
            cut.append(arguments)
            raise NoEnergy("the energy counter moved over 0.10 s of the window")
        return real(*arguments)

    monkeypatch.setattr(campaign_module, "measure_idle", hiccup)
    hiccups = 1
    assert run(tmp_path / "once", campaign(30.0, **TINY)).measured
    hiccups = 3
    with pytest.raises(NoEnergy, match="moved over"):
        run(tmp_path / "twice", campaign(30.0, **TINY))


def test_errors_of_time_are_those_of_the_scatter_of_all_points(logs):
    """A point of two windows that agree by chance is not held for surer than its neighbours."""
    rows = study_of(logs[Strategy.LOCK][1]).measurements
    off = []
    for index, record in enumerate(logs[Strategy.LOCK][1].measured):
        true_s = TRUTH.true_time_s(step_cost(record.cell.point), float(rows.sm_mhz[index]))
        off.append((rows.time_s[index] / true_s - 1) / rows.time_error[index])
    assert 0.6 < np.sqrt(np.mean(np.square(off))) < 1.5
    assert rows.time_error.max() < 4 * rows.time_error.min()
