"""`calibrate predict` and `calibrate transfer`: what they print; each wrong input is one line."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from twin_studies import lock_study

from calibrate.bench import Engine, Point
from calibrate.cli import main
from calibrate.fit import fit_study
from calibrate.twin.cost import step_cost
from calibrate.twin.truth import twin_truth
from model.calibration import dump, load
from model.prediction import STOCK_MHZ, Step, predict
from model.regimes import Regime
from model.work import Phase
from phasewatt.errors import OutOfRange

MODEL = "llama-3.1-8b"
DECODE = ("--model", MODEL, "--phase", "decode", "--batch", "8", "--context", "1000")
CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 28,
    "hidden_size": 3072,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 8192,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
}


@pytest.fixture(scope="module")
def calibration():
    return fit_study(lock_study(0))


@pytest.fixture(scope="module")
def path(calibration, tmp_path_factory):
    file = tmp_path_factory.mktemp("calibration") / "twin.json"
    file.write_text(dump(calibration))
    return str(file)


def run(*words):
    return CliRunner().invoke(main, list(words))


def truth_of(phase, batch, tokens, asked_mhz=None):
    truth = twin_truth("h100")
    lengths = (tokens, 0) if phase is Phase.PREFILL else (0, tokens)
    step = step_cost(Point(MODEL, Engine.CUDA_GRAPH, phase, batch, *lengths))
    mhz = truth.settle(step, asked_mhz)
    return mhz, truth.true_time_s(step, mhz), truth.true_power_w(step, mhz)


@pytest.mark.parametrize(
    ("phase", "batch", "tokens", "asked_mhz"),
    [
        (Phase.DECODE, 8, 1000, 1410),
        (Phase.DECODE, 1, 3000, None),
        (Phase.PREFILL, 1, 300, 900),
        (Phase.PREFILL, 4, 3000, None),
        (Phase.PREFILL, 4, 3000, 1900),
    ],
)
def test_a_prediction_holds_what_is_true_within_its_interval(
    calibration, phase, batch, tokens, asked_mhz
):
    requested = STOCK_MHZ if asked_mhz is None else float(asked_mhz)
    found = predict(calibration, Step(MODEL, None, phase, batch, tokens, requested))
    mhz, time_s, power_w = truth_of(phase, batch, tokens, asked_mhz)
    per_token = batch * (tokens if phase is Phase.PREFILL else 1)
    for figure, true in (
        (found.sm_mhz, mhz),
        (found.time_s, time_s),
        (found.power_w, power_w),
        (found.energy_j, time_s * power_w),
        (found.energy_per_token_j, time_s * power_w / per_token),
    ):
        assert figure.low * (1 - 1e-9) <= true <= figure.high * (1 + 1e-9)
        assert figure.value == pytest.approx(true, rel=0.01)
    capped = mhz < (asked_mhz or 1980) - 1
    assert (found.regime is Regime.POWER_CAPPED) == capped
    assert (found.sm_mhz.high > found.sm_mhz.low) == capped
    assert found.outside == ()


def test_json_tells_the_same_as_the_function(calibration, path):
    result = run("predict", path, *DECODE, "--sm-mhz", "1410", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    found = predict(calibration, Step(MODEL, None, Phase.DECODE, 8, 1000, 1410.0))
    assert document["time_s"]["value"] == pytest.approx(found.time_s.value, rel=1e-6)
    assert document["energy_j"]["low"] == pytest.approx(found.energy_j.low, rel=1e-6)
    assert document["engine"] == "cuda-graph"
    assert document["regime"] == found.regime
    assert document["inside_domain"] is True
    assert document["origin"]["kind"] == "twin"


def test_a_person_reads_figures_regime_and_origin(path):
    result = run("predict", path, *DECODE)
    assert result.exit_code == 0
    for words in (
        "stock clock",
        "95% interval",
        "energy per token",
        "inside the calibrated domain",
    ):
        assert words in result.stdout
    assert "twin: twin:h100" in result.stdout


def test_extrapolation_is_never_silent(path):
    words = ("predict", path, "--model", MODEL, "--phase", "decode", "--batch", "256")
    words = (*words, "--context", "9000", "--sm-mhz", "450")
    printed, document = run(*words), json.loads(run(*words, "--json").stdout)
    assert not document["inside_domain"]
    assert len(document["outside"]) == 3
    for what in ("clock 450 MHz", "batch 256", "context 9000 tokens"):
        assert any(line.startswith(f"{what} is outside") for line in document["outside"])
        assert f"! extrapolated: {what}" in printed.stdout
    assert "inside the calibrated domain" not in printed.stdout


def test_plain_calibrations_answer_too():
    words = ("predict", "rtx3090-club3090", "--phase", "decode", "--context", "240", "--json")
    document = json.loads(run(*words).stdout)
    assert document["inside_domain"]
    assert document["regime"] == "power-capped"
    assert document["sm_mhz"]["low"] < document["sm_mhz"]["value"] < document["sm_mhz"]["high"]


def test_what_is_not_known_of_power_is_not_known_of_a_capped_clock(calibration):
    step = Step(MODEL, None, Phase.PREFILL, 4, 3000, STOCK_MHZ)
    vague = replace(
        calibration,
        curves=tuple(replace(c, power=replace(c.power, scale_sd=0.05)) for c in calibration.curves),
    )
    sure, unsure = predict(calibration, step), predict(vague, step)
    assert unsure.sm_mhz.high / unsure.sm_mhz.low > 1.03
    assert sure.sm_mhz.high / sure.sm_mhz.low < 1.01
    assert unsure.time_s.high / unsure.time_s.low > sure.time_s.high / sure.time_s.low
    # The cap holds the power all the same.
    assert unsure.power_w.high == pytest.approx(sure.power_w.high)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--phase", "decode"), "--context: found nothing"),
        (("--phase", "prefill", "--context", "9"), "--context: found with --phase prefill"),
        (("--phase", "decode", "--context", "9", "--prompt", "9"), "--prompt: found with"),
        (("--phase", "decode", "--context", "9", "--batch", "0"), "batch: found 0"),
        (("--phase", "decode", "--context", "-1"), "context: found -1"),
        (("--phase", "prefill", "--prompt", "nan"), "prompt: found nan"),
        (("--phase", "decode", "--context", "9", "--sm-mhz", "fast"), "--sm-mhz: found 'fast'"),
        (("--phase", "decode", "--context", "9", "--sm-mhz", "-5"), "--sm-mhz: found '-5'"),
        (("--phase", "decode", "--context", "9", "--sm-mhz", "2500"), "at most 1980 MHz"),
        (("--phase", "decode", "--context", "9", "--model", "x"), "has no model 'x'"),
        (("--phase", "decode", "--context", "9", "--engine", "x"), "has no engine 'x'"),
        (("--phase", "both", "--context", "9"), "'both' is not one of"),
        (("--context", "9"), "Missing option '--phase'"),
    ],
)
def test_each_wrong_input_is_one_line(path, words, message):
    result = run("predict", path, *words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_transfer_writes_a_calibration_that_predicts(path, tmp_path):
    config, output = tmp_path / "config.json", tmp_path / "more.json"
    config.write_text(json.dumps(CONFIG))
    words = ("transfer", path, "--geometry", str(config), "--name", "three-b")
    result = run(*words, "-o", str(output), "--json")
    assert result.exit_code == 0
    added = json.loads(result.stdout)["curves"]
    assert {c["phase"] for c in added} == {"prefill", "decode"}
    assert all(c["origin"]["kind"] == "transferred" for c in added)
    asked = ("--model", "three-b", "--phase", "decode", "--context", "500", "--json")
    document = json.loads(run("predict", str(output), *asked).stdout)
    assert document["origin"]["kind"] == "transferred"
    # The same shape as a model that the twin knows.
    step = step_cost(Point("llama-3.2-3b", Engine.CUDA_GRAPH, Phase.DECODE, 1, 0, 500))
    true_s = twin_truth("h100").true_time_s(step, document["sm_mhz"]["value"])
    assert document["time_s"]["low"] <= true_s <= document["time_s"]["high"]
    printed = run(*words, "-o", str(output))
    assert "three-b" in printed.stdout
    assert "from model to model time differs by" in printed.stderr


def test_a_wrong_transfer_writes_nothing(path, tmp_path):
    output = tmp_path / "more.json"
    missing = run("transfer", path, "--geometry", str(tmp_path / "no.json"), "-o", str(output))
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    words = ("transfer", path, "--geometry", str(config))
    taken = run(*words, "--name", MODEL, "-o", str(output))
    nowhere = run(*words, "--name", "x", "-o", str(tmp_path / "no" / "more.json"))
    plain = run("transfer", "rtx3090-club3090", "--geometry", str(config), "-o", str(output))
    for result in (missing, taken, nowhere, plain):
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
    assert not output.exists()


def test_stock_is_the_clock_that_the_governor_was_seen_to_choose(calibration):
    found = predict(calibration, Step(MODEL, None, Phase.DECODE, 1, 1000, STOCK_MHZ))
    assert found.sm_mhz.value == 1980.0
    assert np.isinf(found.step.requested_mhz)


def test_a_batch_that_curves_know_nothing_of_is_refused():
    calibration = load("rtx3090-club3090")
    step = Step("qwen3.6-27b-q3_k_xl", None, Phase.DECODE, 2.0, 240.0, 1380.0)
    with pytest.raises(OutOfRange, match="not measured at batch 2: expected batch 1"):
        predict(calibration, step)
    assert predict(calibration, replace(step, batch=1.0)).outside == ()
