"""A model that was not measured is predicted from its shape, and the interval says how well."""

import json
from dataclasses import replace

import numpy as np
import pytest
from twin_studies import lock_study, points

from calibrate.fit import fit_study
from calibrate.hf_config import read_geometry
from calibrate.twin.cost import step_cost
from calibrate.twin.truth import twin_truth
from model.calibration import dump, load, parse
from model.geometry import GEOMETRIES
from model.provenance import Kind
from model.transfer import ASSUMED_SD, transfer
from model.work import Phase, Work
from phasewatt.errors import BadCalibration, BadTable

MEASURED = ("llama-3.2-1b", "llama-3.1-8b", "qwen2.5-14b")
UNSEEN = GEOMETRIES["qwen2.5-32b"]


@pytest.fixture(scope="module")
def calibration():
    return fit_study(lock_study(0, models=MEASURED))


@pytest.fixture(scope="module")
def transferred(calibration):
    return transfer(calibration, UNSEEN)


def work_of(point):
    if point.phase is Phase.PREFILL:
        return Work.prefill([point.batch], [point.prompt_tokens])
    return Work.decode([point.batch], [point.context_tokens])


def test_the_truth_of_an_unseen_model_lies_within_the_interval(transferred):
    truth = twin_truth("h100")
    inside = []
    for point in points([UNSEEN.name]):
        curves, step = transferred.curves_of(point.model, point.phase), step_cost(point)
        for asked_mhz in (900, 1500, 1980):
            mhz = truth.settle(step, asked_mhz)
            for (low, high), true in (
                (curves.time_interval_s(work_of(point), mhz), truth.true_time_s(step, mhz)),
                (curves.power_interval_w(work_of(point), mhz), truth.true_power_w(step, mhz)),
            ):
                inside.append(bool(low[0] <= true <= high[0]))
                assert high[0] / low[0] < 1.1
    assert np.mean(inside) > 0.95


def test_a_transfer_is_wider_than_a_measurement_and_says_what_it_is(calibration, transferred):
    for phase in Phase:
        ours, theirs = transferred.curves_of(UNSEEN.name, phase), calibration.curves[0]
        assert ours.origin.kind is Kind.TRANSFERRED
        assert ours.origin.source.startswith("twin: ")
        assert all(model in ours.origin.source for model in MEASURED)
        assert ours.points.sm_mhz == ()
        assert ours.time.scale_sd > 0
        assert ours.time.degrees_of_freedom <= len(MEASURED) < theirs.time.degrees_of_freedom
    assert transferred.curves[: len(calibration.curves)] == calibration.curves
    assert transferred.geometry_of(UNSEEN.name) == UNSEEN
    assert parse(dump(transferred), "file") == transferred


def test_models_that_differ_beyond_their_shape_widen_the_transfer(transferred):
    """Time of one model off by a quarter: no shape tells why, so the interval must hold it."""
    kinds = {"decodes": ((1, 128), (8, 1024), (64, 512)), "prefills": ((1, 512), (4, 2048))}
    study = lock_study(0, models=MEASURED, **kinds)
    rows = study.measurements
    factor = np.where(rows.model == MEASURED[1], 1.25, 1.0)
    slow = replace(rows, time_s=factor * rows.time_s)
    odd = transfer(fit_study(replace(study, measurements=slow)), UNSEEN)
    for phase in Phase:
        before = transferred.curves_of(UNSEEN.name, phase).time.scale_sd
        assert odd.curves_of(UNSEEN.name, phase).time.scale_sd > max(0.05, 5 * before)


def test_one_model_gives_an_assumed_interval():
    alone = fit_study(lock_study(0, models=("llama-3.1-8b",)))
    added = transfer(alone, UNSEEN).curves_of(UNSEEN.name, Phase.DECODE)
    assert added.time.scale_sd == added.power.scale_sd == ASSUMED_SD
    assert "assumed at 15%" in added.origin.source


def test_what_cannot_be_transferred_is_one_line(calibration):
    with pytest.raises(BadCalibration, match=r"holds 'llama-3\.1-8b' already"):
        transfer(calibration, GEOMETRIES["llama-3.1-8b"])
    with pytest.raises(BadCalibration, match="no curves to transfer from"):
        transfer(load("rtx3090-club3090"), UNSEEN)


CONFIG = {
    "model_type": "qwen2",
    "num_hidden_layers": 28,
    "hidden_size": 3584,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 152064,
}


def written(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def test_a_published_config_gives_the_published_number_of_parameters(tmp_path):
    geometry = read_geometry(written(tmp_path, CONFIG), "qwen2.5-7b")
    assert geometry.head_dim == 128
    assert geometry.attention_bias
    # Qwen2.5-7B has 7.61e9 parameters by its makers' count.
    assert geometry.parameters == pytest.approx(7.61e9, rel=0.002)


def test_what_a_config_leaves_out_has_its_usual_meaning(tmp_path):
    config = {k: v for k, v in CONFIG.items() if k not in ("num_key_value_heads", "model_type")}
    geometry = read_geometry(written(tmp_path, {**config, "_name_or_path": "org/Some-Model"}))
    assert geometry.num_key_value_heads == geometry.num_attention_heads
    assert not geometry.attention_bias
    assert geometry.name == "some-model"
    nested = {"text_config": config, "vision_config": {}}
    assert read_geometry(written(tmp_path, nested)).name == tmp_path.name


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ({**CONFIG, "num_hidden_layers": None}, "field num_hidden_layers: found nothing"),
        ({**CONFIG, "num_hidden_layers": 0}, "num_hidden_layers is 0; expected 1 or more"),
        ({**CONFIG, "num_hidden_layers": "x"}, "field num_hidden_layers: Input should be a valid"),
        ({**CONFIG, "hidden_size": 3585}, "field head_dim: found nothing"),
        ({**CONFIG, "num_key_value_heads": 5}, "is no multiple of num_key_value_heads 5"),
        ({**CONFIG, "num_local_experts": 8}, "not one with experts"),
        ({**CONFIG, "kv_lora_rank": 512}, "not one with a compressed KV cache"),
    ],
)
def test_wrong_configs_are_one_line_that_names_the_file_and_field(tmp_path, config, message):
    path = written(tmp_path, config)
    with pytest.raises(BadTable) as raised:
        read_geometry(path)
    assert str(raised.value).startswith(str(path))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_config_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(BadTable, match="no such file"):
        read_geometry(tmp_path / "nowhere.json")
    with pytest.raises(BadTable, match="cannot be read"):
        read_geometry(tmp_path)
