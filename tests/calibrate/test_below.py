"""`predict`, `show` and `optimum` below the measured clocks: labelled, and less sure."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from twin_studies import steer_study

from calibrate.bench import Engine, Point
from calibrate.cli import main
from calibrate.fit import fit_study
from calibrate.optimum import of_the_same_kind, public_optima
from calibrate.public_clocks import ClockSeries, read_clocks
from calibrate.twin.cost import step_cost
from calibrate.twin.truth import twin_truth
from model.calibration import dump
from model.work import Phase

MODEL = "llama-3.1-8b"
DECODE = ("--model", MODEL, "--phase", "decode", "--batch", "8", "--context", "1024")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Steered: 0.75 of the highest clock and above."""
    file = tmp_path_factory.mktemp("calibration") / "steered.json"
    file.write_text(dump(fit_study(steer_study(0, models=(MODEL,)))))
    return str(file)


def run(*words):
    return CliRunner().invoke(main, list(words))


def document(*words):
    result = run(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def width(figure):
    return figure["high"] / figure["low"]


def test_a_clock_below_is_transferred_and_less_sure(path):
    inside = document("predict", path, *DECODE, "--sm-mhz", "1650")
    below = document("predict", path, *DECODE, "--sm-mhz", "900")
    lower = document("predict", path, *DECODE, "--sm-mhz", "750")
    assert (inside["transferred"], inside["inside_domain"]) == ([], True)
    assert (len(below["transferred"]), below["outside"], below["inside_domain"]) == (1, [], False)
    for figure in ("time_s", "power_w", "energy_j"):
        assert width(inside[figure]) < width(below[figure]) < width(lower[figure])
    printed = run("predict", path, *DECODE, "--sm-mhz", "900").stdout
    assert "! transferred: clock 900 MHz is below the measured" in printed
    assert "inside the calibrated domain" not in printed


def test_lower_than_public_gpus_tell_is_extrapolated(path):
    found = document("predict", path, *DECODE, "--sm-mhz", "300")
    assert found["transferred"] == []
    assert found["outside"][0].startswith("clock 300 MHz is outside the measured")


def test_best_is_the_clock_of_least_energy(path):
    found = document("predict", path, *DECODE, "--sm-mhz", "best", "--beyond-measured")
    best = found["least_energy"]
    assert found["requested_sm_mhz"] == best["sm_mhz"] == found["sm_mhz"]["value"]
    assert best["low_mhz"] <= best["sm_mhz"] <= best["high_mhz"]
    truth = twin_truth("h100")
    step = step_cost(Point(MODEL, Engine.CUDA_GRAPH, Phase.DECODE, 8, 0, 1024))
    clocks = np.arange(705.0, 1981.0, 15.0)
    true_j = truth.true_time_s(step, clocks) * truth.true_power_w(step, clocks)
    assert best["low_mhz"] <= clocks[np.argmin(true_j)] <= best["high_mhz"]
    kept = document("predict", path, *DECODE, "--sm-mhz", "best")["least_energy"]
    assert kept["from_mhz"] >= 1480
    printed = run("predict", path, *DECODE, "--sm-mhz", "best").stdout
    assert "least energy of the clocks 1," in printed


def test_optimum_names_what_is_at_the_edge_and_what_is_transferred(path):
    wide = document("optimum", path, "--beyond-measured")
    measured_mhz = document("show", path)["curves"][0]["measured_mhz"][0]
    assert len(wide["least_energy"]) == 4
    for one in wide["least_energy"]:
        assert one["transferred"] == (one["optimum"]["sm_mhz"] < measured_mhz)
        assert one["optimum"]["from_mhz"] < 720
    assert {one["gpu"] for one in wide["public"]} == {"H100"}
    series = read_clocks()
    assert of_the_same_kind(series, "NVIDIA H200") == series
    assert {one.gpu for one in of_the_same_kind(series, "NVIDIA GeForce RTX 3090")} == {"RTX 3090"}


def test_the_least_of_a_public_series_lies_within_its_interval():
    sm_mhz = np.arange(500.0, 2000.0, 60.0)
    x = sm_mhz / sm_mhz.max()
    # Time 2 + 1/x, power 480 + 400 x: least where x^2 = 0.6.
    exact_mhz = np.sqrt(0.6) * sm_mhz.max()
    rng, series = np.random.default_rng(0), []
    for _ in range(100):
        noise = np.exp(0.01 * rng.standard_normal((2, x.size)))
        time_s, power_w = (2 + 1 / x) * noise[0], (480 + 400 * x) * noise[1]
        series.append(ClockSeries("G", "load", sm_mhz, time_s, power_w))
    found = public_optima(series)
    inside = [one.low_mhz - 15 <= exact_mhz <= one.high_mhz + 15 for one in found]
    assert np.mean(inside) >= 0.9
    assert np.median([one.sm_mhz for one in found]) == pytest.approx(exact_mhz, rel=0.03)
    assert np.median([one.high_mhz - one.low_mhz for one in found]) < 700


def test_show_tells_what_lies_below_only_when_asked(path, tmp_path):
    plain = document("show", path)
    wide = document("show", path, "--beyond-measured")
    assert plain["transferred"] == []
    assert len(wide["transferred"]) == 3 * len(wide["curves"])
    for curves, other in zip(plain["curves"], wide["curves"], strict=True):
        assert curves["measured_mhz"] == other["measured_mhz"] == curves["domain"]["sm_mhz"]
    for first, second in zip(wide["transferred"], wide["transferred"][1:], strict=False):
        if first["model"] == second["model"] and first["phase"] == second["phase"]:
            assert second["sm_mhz"] < first["sm_mhz"] < first["measured_mhz"]
            assert 1 < first["time"]["value"] < second["time"]["value"]
            assert 1 > first["power"]["value"] > second["power"]["value"]
    printed = run("show", path, "--beyond-measured", "--plot", str(tmp_path / "p.png")).stdout
    assert "transferred: time and power of the smallest step" in printed
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
