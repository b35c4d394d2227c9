"""Fits of three short logs of a real H100: what they must find, and how well they predict it."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from twin_studies import lock_study

from calibrate.cli import main
from calibrate.fit import fit_study
from calibrate.heat import leakage
from calibrate.log import read_log
from calibrate.measurements import Measurements
from calibrate.study import powers_of, study_of_logs
from calibrate.twin.truth import TwinTruth, twin_truth
from model.calibration import dump, load, parse
from model.geometry import GEOMETRIES
from model.roofline import Launch, Roofline
from model.work import Phase, Work
from phasewatt.errors import BadTable
from policies.governor import Setting, max_frequency
from simulate.cli import main as simulate
from simulate.service import Lengths, serve_alone

LOGS = Path(__file__).parent / "h100"
NAMES = ("observe-1b", "steer-8b", "steer-decode")


class Fits(dict):
    """The logs' fits by name, each made when it is first asked for: they take seconds."""

    def __missing__(self, name):
        self[name] = fit_study(study_of_logs([LOGS / f"{name}.jsonl"]))
        return self[name]


@pytest.fixture(scope="module")
def fits():
    return Fits()


@pytest.mark.parametrize(
    ("name", "model", "phase", "time", "power"),
    [
        ("steer-decode", "llama-3.2-1b", Phase.DECODE, 0.035, 0.03),
        ("steer-decode", "llama-3.1-8b", Phase.DECODE, 0.02, 0.04),
        ("steer-8b", "llama-3.1-8b", Phase.DECODE, 0.04, 0.08),
        ("steer-8b", "llama-3.1-8b", Phase.PREFILL, 0.04, 0.02),
        ("observe-1b", "llama-3.2-1b", Phase.DECODE, 0.18, np.inf),
        ("observe-1b", "llama-3.2-1b", Phase.PREFILL, 0.14, np.inf),
    ],
)
def test_steps_that_a_fit_did_not_see_are_predicted(fits, name, model, phase, time, power):
    """Of the eight points of the observed log none can be held out from a fit of power.

    Nor do they tell launches from weights: times are predicted no better than to a sixth.
    """
    curves = fits[name].curves_of(model, phase)
    assert curves.time.errors.holdout_mape < time
    assert curves.power.errors.holdout_mape < power


def test_two_models_share_launches_and_a_bandwidth(fits):
    small, large = fits["steer-decode"].curves
    assert small.time.same_coefficients(large.time)
    assert small.power.same_coefficients(large.power)
    assert small.time.form.startswith("roofline (clocked launch, one bandwidth, streams)")
    found = small.time.coefficients
    half = dict(zip(found, small.time.half_widths(), strict=True))
    assert found["launch_s"] == pytest.approx(8.5e-6, rel=0.1)
    assert found["memory_bytes_per_s"] == pytest.approx(2.9e12, rel=0.1)
    assert found["launch_clock_share"] > half["launch_clock_share"]


@pytest.mark.parametrize("name", ["steer-8b", "steer-decode"])
def test_steered_powers_agree_with_those_of_steps_that_ran_alone(name):
    """At the same clock a step draws what it drew alone, or the balance says that it is unsure."""
    log = read_log(LOGS / f"{name}.jsonl")
    warmth = leakage([record.measurement for record in log.measured], 700.0)
    powers = powers_of(log.measured, warmth, 700.0)
    compared = 0
    for alone, first in enumerate(log.measured):
        for mixed, second in enumerate(log.measured):
            same = first.cell.point == second.cell.point
            near = second.measurement.sm_mhz > 0.94 * first.measurement.sm_mhz
            steered = second.cell.gemm_ratio > first.cell.gemm_ratio == 0
            if same and near and steered:
                off = powers.power_w[mixed] / powers.power_w[alone] - 1
                # A clock lower by 6% at most takes 10% of power at most.
                reach = 1.96 * powers.power_error[mixed]
                assert np.isnan(off) or -reach - 0.1 < off < reach
                compared += 1
    assert compared >= 2


def test_power_at_one_temperature_is_not_led_by_the_pace_of_the_host():
    log = read_log(LOGS / "observe-1b.jsonl")
    warmth = leakage([record.measurement for record in log.measured], 700.0)
    assert abs(warmth.w_per_k) < 1.0


def test_nobody_can_ask_for_a_clock_above_the_drivers(fits):
    """Readings on the device reach 2096 MHz, where the driver's highest clock is 1980."""
    for calibration in (fits[name] for name in NAMES):
        for curves in calibration.curves:
            assert curves.domain.sm_mhz[1] <= 1980.0
            assert calibration.gpu.clocks_mhz(curves).max() <= 1980.0
            assert curves.time.reference_mhz == 1980.0
    seen = fits["steer-decode"].curves_of("llama-3.2-1b", Phase.DECODE).points.sm_mhz
    assert max(seen) > 2050


def with_eager(study):
    """The first decode and the first prefill of the study, as if they had been eager; and both."""
    rows = study.measurements
    first = np.unique(rows.phase, return_index=True)[1]
    eager = rows.rows(np.isin(np.arange(len(rows)), first))
    eager = replace(eager, engine=np.full(len(eager), "eager"))
    columns = {n: np.concatenate([c, getattr(eager, n)]) for n, c in vars(rows).items()}
    return eager, Measurements(**columns)


def test_a_thin_series_is_left_out_and_named():
    study = study_of_logs([LOGS / "observe-1b.jsonl"])
    calibration = fit_study(replace(study, measurements=with_eager(study)[1]))
    assert {curves.engine for curves in calibration.curves} == {"cuda-graph"}
    left_out = [note for note in calibration.provenance.notes if note.startswith("left out: ")]
    assert [note.split(":")[1] for note in left_out] == [
        " prefill of llama-3.2-1b in eager, 1 point",
        " decode of llama-3.2-1b in eager, 1 point",
    ]
    assert parse(dump(calibration), "file") == calibration


def test_nothing_but_thin_series_is_one_line():
    study = study_of_logs([LOGS / "observe-1b.jsonl"])
    eager, _ = with_eager(study)
    with pytest.raises(BadTable, match=r"eager, 1 point: .*; decode of .* eager, 1 point: "):
        fit_study(replace(study, measurements=eager))


def test_a_series_without_a_told_power_is_left_out():
    study = study_of_logs([LOGS / "steer-8b.jsonl"])
    rows = study.measurements
    silent = replace(rows, power_w=np.where(rows.phase == "decode", np.nan, rows.power_w))
    calibration = fit_study(replace(study, measurements=silent))
    assert [curves.phase for curves in calibration.curves] == [Phase.PREFILL]
    assert any("no point tells power" in note for note in calibration.provenance.notes)


@pytest.mark.parametrize("name", ["observe-1b", "steer-8b"])
def test_a_simulation_reads_what_a_short_campaign_gave(fits, name, tmp_path):
    path = tmp_path / "h100.json"
    path.write_text(dump(fits[name]), encoding="utf-8")
    given = ["--trace", "azure-code-2023", "--limit", "300", "--policy", "max-frequency"]
    result = CliRunner().invoke(simulate, [*given, "--calibration", str(path)])
    assert result.exit_code == 0, result.output
    calibration = load(path)
    curves = {phase: calibration.curves_of(calibration.models[0], phase) for phase in Phase}
    lengths = Lengths(np.array([128, 1024]), np.array([20, 40]))
    setting = Setting(calibration.gpu, curves, lengths.typical(), 0.1)
    for phase, served in serve_alone(
        lengths, curves, calibration.gpu, max_frequency("", setting)
    ).items():
        low, high = curves[phase].domain.sm_mhz
        assert np.all((served.sm_mhz >= low - 1e-3) & (served.sm_mhz <= high + 1e-3))


def test_show_tells_regimes_and_bounds(tmp_path):
    path = tmp_path / "h100.json"
    log = LOGS / "observe-1b.jsonl"
    runner = CliRunner()
    assert runner.invoke(main, ["fit", str(log), "-o", str(path)]).exit_code == 0
    shown = runner.invoke(main, ["show", str(path)], env={"COLUMNS": "100"}).output
    assert "llama-3.2-1b cuda-graph prefill    128  1-32 mixed, from 22 power-capped" in shown
    assert "2 eager points are left out, which do not tell undisturbed steps" in shown
    of_shipped = runner.invoke(main, ["show", "h100-sxm"], env={"COLUMNS": "100"}).output
    assert "compute_clock_share     1          on its bound" in of_shipped
    assert max(map(len, shown.splitlines())) <= 100


@dataclass(frozen=True)
class ClockedTwin(TwinTruth):
    """A twin whose launches from a graph take longer at lower clocks."""

    launch_clock_share: float

    def true_time_s(self, step, sm_mhz):
        slow = self.sm_max_mhz / sm_mhz - 1
        waiting_s = self.launch_time_s(step) * self.launch_clock_share * slow
        return super().true_time_s(step, sm_mhz) + waiting_s


def test_launches_that_go_by_the_clock_are_found():
    known = twin_truth("h100")
    shape = {field.name: getattr(known, field.name) for field in fields(known)}
    truth = ClockedTwin(**shape | {"graph_launch_s": 8e-6}, launch_clock_share=0.6)
    models = ("llama-3.2-1b", "llama-3.1-8b")
    (curves, *_) = fit_study(lock_study(0, models=models, gpu=truth)).curves
    assert curves.time.form == str(Roofline(Launch.CLOCKED, overlap=False).name)
    found = curves.time.coefficients
    half = dict(zip(found, curves.time.half_widths(), strict=True))
    assert abs(found["launch_clock_share"] - 0.6) <= half["launch_clock_share"] < 0.1
    assert abs(found["launch_s"] - 8e-6) <= half["launch_s"] < 1e-6


def test_launches_of_a_graph_are_most_of_a_small_models_decode(fits):
    curves = fits["steer-decode"].curves_of("llama-3.2-1b", Phase.DECODE)
    parts = curves.parts(Work.decode([1], [1024]), 1980.0)
    whole_s = curves.time_s(Work.decode([1], [1024]), 1980.0)
    launches = 12 * GEOMETRIES["llama-3.2-1b"].num_hidden_layers
    assert parts.launch_s[0] == pytest.approx(launches * curves.time.coefficients["launch_s"])
    assert parts.launch_s[0] > 0.5 * whole_s[0]
