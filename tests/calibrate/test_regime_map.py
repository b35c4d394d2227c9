"""Maps of regimes: each cell is what its step alone is, and the corners are those of `show`."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from calibrate.cli import main
from calibrate.regime_map import NOWHERE, regime_maps, shares
from calibrate.walls import walls
from model.calibration import load
from model.regimes import regimes
from model.work import Phase, Work
from phasewatt.errors import OutOfRange


@pytest.fixture(scope="module")
def h100():
    return load("h100-sxm")


def alone(calibration, curves, batch, tokens):
    make = Work.prefill if curves.phase is Phase.PREFILL else Work.decode
    try:
        return regimes(curves, calibration.gpu, make([batch], [tokens]), curves.domain.sm_mhz[1])[0]
    except OutOfRange:
        return NOWHERE


def test_corners_are_those_that_show_prints(h100):
    found = {(one.model, one.phase): one for one in regime_maps(h100, "cuda-graph")}
    compared = 0
    for curves, wall in zip(h100.curves, walls(h100), strict=True):
        if curves.engine == "cuda-graph":
            one = found[curves.model, curves.phase]
            for edge in wall.edges:
                if edge.along == "batch":
                    column = int(np.argmin(np.abs(one.tokens - edge.fixed)))
                    assert one.regime[0, column] == edge.first
                    assert one.regime[-1, column] == edge.last
                    compared += 1
    assert compared > 10


def test_each_cell_is_what_its_step_is_alone_under_a_limit_that_refuses_some(h100):
    """Asked together, one step that no clock holds would refuse all."""
    (curves,) = (c for c in h100.curves if (c.model, c.engine, c.phase) == _8B_PREFILL)
    low = replace(
        h100,
        gpu=replace(h100.gpu, power_limit_w=420.0),
        curves=(replace(curves, governor_limit_w=None),),
    )
    (one,) = regime_maps(low, "cuda-graph")
    assert 0.1 < np.mean(one.regime == NOWHERE) < 1.0
    assert np.array_equal(np.isnan(one.elasticity), one.regime == NOWHERE)
    rng = np.random.default_rng(0)
    for row, column in rng.integers(0, one.regime.shape[0], (25, 2)):
        expected = alone(low, low.curves[0], one.batch[row], one.tokens[column])
        assert one.regime[row, column] == expected


_8B_PREFILL = ("llama-3.1-8b", "cuda-graph", Phase.PREFILL)


def test_shares_are_those_of_a_whole(h100):
    for engine in ("cuda-graph", "eager"):
        for one in regime_maps(h100, engine):
            assert sum(shares(one).values()) == pytest.approx(1.0)
            most = one.measured.prod(axis=1).max()
            product = np.multiply.outer(one.batch, one.tokens)
            clear = np.abs(product / most - 1) > 1e-6
            assert np.array_equal(one.beyond[clear], (product > most)[clear])


def test_the_command_draws_and_prints(tmp_path):
    path = tmp_path / "map.png"
    words = ["regimes", "h100-sxm", "--engine", "cuda-graph", "--plot", str(path), "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert path.read_bytes().startswith(b"\x89PNG")
    first = path.read_bytes()
    assert CliRunner().invoke(main, words).exit_code == 0
    assert path.read_bytes() == first
    assert len(json.loads(result.stdout)["maps"]) == 10
    shown = CliRunner().invoke(main, ["regimes", "rtx3090-club3090"]).output
    assert max(map(len, shown.splitlines())) <= 100


def test_an_engine_that_was_not_measured_is_one_line():
    result = CliRunner().invoke(main, ["regimes", "h100-sxm", "--engine", "vllm"])
    assert result.exit_code == 2
    assert "no engine 'vllm'; it has cuda-graph, eager" in result.stderr
