"""What public clocks say of shapes: found where it is known, shipped as told, kept on twins."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from twin_studies import points, steer_study

from calibrate.cli import main
from calibrate.fit import fit_study
from calibrate.public_clocks import ClockSeries, read_clocks
from calibrate.shape_report import prior_text
from calibrate.shapes import derive, leave_out
from calibrate.twin.cost import step_cost
from calibrate.twin.truth import twin_truth
from model.beyond import beyond_measured
from model.clock_shape import PUBLIC, shipped_prior
from model.work import Phase, Work

MODELS = ("llama-3.2-1b", "llama-3.1-8b")
HEADER = "gpu,series,source,sm_mhz,time_s,power_w"


def invented(gpu, p, knee, seed):
    """A GPU of known sharpness and knee, measured to 0.3%."""
    rng = np.random.default_rng(seed)
    sm_mhz = np.linspace(600.0, 2000.0, 13)
    x = sm_mhz / 2000
    time_s = (1.0 + (0.75 / x) ** p) ** (1 / p)
    power_w = 60 + 200 * x * (1 + 1.5 * np.maximum(x - knee, 0)) ** 2
    noise = np.exp(0.003 * rng.standard_normal((2, x.size)))
    return ClockSeries(gpu, "invented", sm_mhz, time_s * noise[0], power_w * noise[1])


def test_known_shapes_are_found():
    series = [invented(f"gpu {i}", 3.0, 0.55, i) for i in range(3)]
    prior = derive(series)
    assert prior.time.log_sharpness.mean == pytest.approx(np.log(3.0), abs=0.5)
    assert prior.power.knee.mean == pytest.approx(0.55, abs=0.15)
    assert prior.gpus == tuple(f"gpu {i}" for i in range(3))
    checked = leave_out(series)
    assert np.mean([one.time_inside for one in checked]) >= 0.95
    assert np.mean([one.power_inside for one in checked]) >= 0.95
    assert max(one.time_off for one in checked) < 0.06


def test_the_shipped_prior_is_what_the_shipped_table_says():
    text = prior_text(derive(read_clocks()))
    assert text == (PUBLIC / "clock-shapes.json").read_text(encoding="utf-8")
    assert json.loads(text)["gpus"] == list(shipped_prior().gpus)


def test_the_truth_of_twins_lies_within_the_intervals():
    """Steered from 0.75 to 1 of the highest clock, held to the truth down to 0.35 of it."""
    truth, inside, held = twin_truth("h100"), [], 0
    for seed in range(3):
        calibration = beyond_measured(fit_study(steer_study(seed, models=MODELS)))
        for point in points(MODELS):
            curves = calibration.curves_of(point.model, point.phase)
            if point.phase is Phase.PREFILL:
                work = Work.prefill([point.batch], [point.prompt_tokens])
            else:
                work = Work.decode([point.batch], [point.context_tokens])
            clocks = np.linspace(0.35 * truth.sm_max_mhz, curves.measured_mhz[0], 6)[:-1]
            step = step_cost(point)
            for true, (low, high) in (
                (truth.true_time_s(step, clocks), curves.time_interval_s(work, clocks)),
                (truth.true_power_w(step, clocks), curves.power_interval_w(work, clocks)),
            ):
                inside.append(np.mean((low <= true) & (true <= high)))
                # An interval that says nothing would hold anything.
                assert np.all(high / low < 3.0)
                held += 1
    assert held == 3 * 2 * len(points(MODELS))
    assert np.mean(inside) >= 0.9


def test_cold_starts_are_left_out_and_neighbours_put_together(tmp_path):
    rows = [f"G,load,s,{600 + 15 * i},{2.0 - 0.01 * i},{50 + i}" for i in range(48)]
    rows += [f"G,load,s,{600 + 15 * i},9.0,10" for i in range(48)]
    table = tmp_path / "clocks.csv"
    table.write_text("\n".join([HEADER, *rows]))
    (series,) = read_clocks(table)
    assert series.sm_mhz.size == 24
    assert series.sm_mhz[0] == 607.5
    assert series.time_s[0] == pytest.approx(1.995)
    assert series.time_s.max() < 2.0
    assert series.power_w[-1] == pytest.approx(96.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu,series,sm_mhz\n", "columns source, time_s, power_w are missing"),
        (HEADER + "\n", "found no rows"),
        (HEADER + "\nG,a,s,0,1,1\n", "line 2: column 'sm_mhz': found '0'; expected above 0"),
        (HEADER + "\nG,a,s,900,1,watts\n", "column 'power_w': found 'watts'"),
        (HEADER + "\nG,a,s,900,1,5\n", "G a: found 1 clock; expected at least 4"),
        (
            HEADER + "".join(f"\nG,a,s,{c},1,5" for c in range(900, 1900, 100)),
            "found G; expected at least 2 kinds of GPU",
        ),
    ],
)
def test_a_wrong_table_is_one_line(text, said, tmp_path):
    table = tmp_path / "clocks.csv"
    table.write_text(text)
    result = CliRunner().invoke(main, ["shapes", "--table", str(table)])
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_missing_table_is_one_line(tmp_path):
    result = CliRunner().invoke(main, ["shapes", "--table", str(tmp_path / "none.csv")])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "cannot be read" in result.stderr
