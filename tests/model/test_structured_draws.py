"""Draws of coefficients: shared ones come out the same everywhere they are shared."""

from dataclasses import replace

import numpy as np
import pytest
from structured_rows import (
    CLOCKS,
    REFERENCE_MHZ,
    blocks,
    coefficients,
    generated,
    steps,
)

from model.activity import ACTIVITY_FORMS
from model.choice import Choice, fitted
from model.fitted import Normals, lower_root
from model.roofline import ROOFLINES, Roofline
from model.shape import Activity
from model.structured import Sharing, Structure, fit_structure


def choice_of(form, sharing, seed=0):
    rng = np.random.default_rng(seed)
    rows = steps(blocks(), CLOCKS)
    serial = ROOFLINES[Roofline()]
    at = rows.inputs(REFERENCE_MHZ)
    busy = serial.activity(tuple(coefficients(serial)), at.constants, rows.work)
    rows = replace(rows, activity=Activity(busy.memory, busy.compute))
    rows = generated(rows, form, 0.01, rng)
    solution = fit_structure(Structure(form, sharing), rows, REFERENCE_MHZ)
    return Choice(solution, np.zeros(rows.target.size), {})


def test_forms_that_share_all_coefficients_are_drawn_alike():
    choice = choice_of(ROOFLINES[Roofline()], Sharing.ALL)
    normal = Normals(np.random.default_rng(1))
    first, second = (fitted(choice, block).drawn(normal) for block in (0, 3))
    assert first.coefficients == second.coefficients
    assert first.constants != second.constants
    assert first.coefficients != fitted(choice, 0).coefficients


def test_forms_that_share_the_gpu_alone_share_its_voltage_alone():
    choice = choice_of(ACTIVITY_FORMS[0], Sharing.PHASE)
    normal = Normals(np.random.default_rng(1))
    first, second = (fitted(choice, block).drawn(normal) for block in (0, 1))
    for name in ("voltage_slope", "knee"):
        assert first.coefficients[name] == second.coefficients[name]
    assert first.coefficients["static_w"] != second.coefficients["static_w"]


def test_draws_have_the_covariance_that_is_stated():
    choice = choice_of(ACTIVITY_FORMS[0], Sharing.PHASE)
    forms = [fitted(choice, block) for block in (0, 1)]
    rng = np.random.default_rng(2)
    drawn = []
    for _ in range(4000):
        normal = Normals(rng)
        drawn.append(np.concatenate([form.drawn(normal).theta for form in forms]))
    found = np.cov(np.array(drawn).T)
    size = forms[0].theta.size
    for number, form in enumerate(forms):
        part = slice(number * size, (number + 1) * size)
        sd = np.sqrt(np.diag(form.covariance_matrix))
        scaled = (found[part, part] - form.covariance_matrix) / np.outer(sd, sd)
        assert np.abs(scaled).max() < 0.1
    # Between the phases too: what they share makes their powers move together.
    index = choice.solution.index
    joint = choice.solution.estimate.covariance[np.ix_(index[0], index[1])]
    sds = [np.sqrt(np.diag(form.covariance_matrix)) for form in forms]
    scaled = (found[:size, size:] - joint) / np.outer(*sds)
    assert np.abs(scaled).max() < 0.1


def test_the_same_seed_gives_the_same_draw():
    form = fitted(choice_of(ROOFLINES[Roofline()], Sharing.ALL), 0)
    draws = [form.drawn(Normals(np.random.default_rng(5))) for _ in range(2)]
    assert draws[0].coefficients == draws[1].coefficients


def test_draws_stay_within_physical_bounds():
    form = fitted(choice_of(ROOFLINES[Roofline()], Sharing.ALL), 0)
    wide = replace(form, covariance=tuple(map(tuple, (1e4 * form.covariance_matrix).tolist())))
    rng = np.random.default_rng(6)
    for _ in range(50):
        drawn = wide.drawn(Normals(rng))
        for coefficient in drawn.definition.coefficients:
            value = drawn.coefficients[coefficient.name]
            assert coefficient.lower <= value <= coefficient.upper


def test_a_transferred_form_is_drawn_off_as_a_whole():
    form = replace(fitted(choice_of(ROOFLINES[Roofline()], Sharing.ALL), 0), scale_sd=0.1)
    rng = np.random.default_rng(7)
    logs = np.array([np.log(form.drawn(Normals(rng)).scale) for _ in range(2000)])
    assert logs.std() == pytest.approx(0.1, rel=0.1)
    assert abs(logs.mean()) < 0.01


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_the_root_of_a_singular_covariance_gives_it_back(rank):
    rng = np.random.default_rng(rank)
    half = rng.standard_normal((5, rank))
    covariance = half @ half.T
    root = lower_root(covariance)
    assert np.allclose(root @ root.T, covariance, atol=1e-9)
    assert np.allclose(root, np.tril(root))
