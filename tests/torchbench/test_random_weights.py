"""Weights: random, of the right shape, the same for the same seed; or a model's own."""

import pytest
import torch
from torch_points import BIASED, GROUPED, LLAMA, MODELS

from calibrate.torchbench import geometry_of
from calibrate.torchbench.weights import random_model, real_model, shaped_model
from model.geometry import GEOMETRIES
from phasewatt.errors import BadOption, UserError

CPU = torch.device("cpu")


@pytest.mark.parametrize("geometry", MODELS.values(), ids=lambda g: g.name)
def test_a_random_model_has_the_parameters_that_its_geometry_counts(geometry):
    model = random_model(geometry, torch.bfloat16, CPU, seed=0)
    norms = (2 * geometry.num_hidden_layers + 1) * geometry.hidden_size
    assert sum(each.numel() for each in model.parameters()) == geometry.parameters + norms
    assert {each.dtype for each in model.parameters()} == {torch.bfloat16}
    for name, each in model.named_parameters():
        if name.endswith("norm.weight"):
            assert torch.all(each == 1), name
        else:
            spread = each.float().std().item()
            assert 0.01 < spread < 0.03, name
            assert (each == 0).float().mean() < 0.1, name


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_built_in_model_has_the_parameters_that_its_geometry_counts(name):
    geometry = GEOMETRIES[name]
    model = shaped_model(geometry, torch.bfloat16, torch.device("meta"))
    norms = (2 * geometry.num_hidden_layers + 1) * geometry.hidden_size
    assert sum(each.numel() for each in model.parameters()) == geometry.parameters + norms


def test_the_seed_decides_the_weights():
    def weights(seed):
        return random_model(GROUPED, torch.float32, CPU, seed).state_dict()

    first, again, other = weights(3), weights(3), weights(4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


@pytest.mark.parametrize("geometry", [BIASED, LLAMA], ids=lambda g: g.name)
def test_a_saved_model_comes_back_with_its_weights_and_its_geometry(geometry, tmp_path):
    saved = random_model(geometry, torch.float32, CPU, seed=5)
    folder = tmp_path / geometry.name
    saved.save_pretrained(folder)
    loaded = real_model(str(folder), torch.float32, CPU)
    assert all(
        torch.equal(a, b) for a, b in zip(saved.parameters(), loaded.parameters(), strict=True)
    )
    assert geometry_of(str(folder)) == geometry
    assert geometry_of(str(folder / "config.json")) == geometry


def test_a_model_that_attends_within_a_window_is_refused(tmp_path):
    model = random_model(BIASED, torch.float32, CPU, seed=5)
    model.config.use_sliding_window = True
    model.config.sliding_window = 4
    model.config.layer_types = ["full_attention", "sliding_attention"]
    model.save_pretrained(tmp_path)
    with pytest.raises(BadOption, match="sliding_attention; expected llama"):
        real_model(str(tmp_path), torch.float32, CPU)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_built_in_name_means_its_geometry(name):
    assert geometry_of(name) is GEOMETRIES[name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("llama-3.1-9b", "not built in .* expected llama-3.2-1b, .* owner/name on the hub"),
        ("./nowhere", "no such folder is here"),
        ("/nowhere/at/all", "no such folder is here"),
    ],
)
def test_an_unknown_model_is_one_line(name, words):
    with pytest.raises(BadOption, match=words) as raised:
        geometry_of(name)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_without_a_model_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"config\.json") as raised:
        geometry_of(str(tmp_path))
    assert "\n" not in str(raised.value)
    with pytest.raises(BadOption, match="cannot be loaded") as raised:
        real_model(str(tmp_path), torch.float32, CPU)
    assert "\n" not in str(raised.value)
