"""`--beyond-measured`: clocks below the measured ones are let in, and named wherever they show."""

import json

import pytest
import tiny
from click.testing import CliRunner

from model.calibration import dump
from simulate.cli import main

TRACE = "synthetic:poisson,rate=0.1,n=20,prompt=512,output=4"


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "tiny.json"
    file.write_text(dump(tiny.calibration()), encoding="utf-8")
    return str(file)


def run(path, *words):
    given = ["--trace", TRACE, "--calibration", path, "--replicas", "2"]
    return CliRunner().invoke(main, [*words, *given])


def test_policies_stay_inside_what_was_measured(path):
    result = run(path, "--policy", "fixed:750", "--draws", "0")
    assert result.exit_code == 2
    assert "expected 1000 to 2000 MHz" in result.stderr
    chosen = json.loads(run(path, "--policy", "min-energy", "--draws", "0", "--json").stdout)
    clocks = chosen["policies"][1]["clocks"]
    assert all(clock["held_mhz"] >= 1000 for clock in clocks.values())
    assert not any(clock["transferred"] for clock in clocks.values())
    assert not any("transferred" in line for line in chosen["warnings"])


def test_clocks_below_are_labelled_and_have_wider_intervals(path):
    words = ("--policy", "fixed:750", "--policy", "fixed:1000", "--beyond-measured", "--json")
    told = json.loads(run(path, *words).stdout)
    _, below, edge = told["policies"]
    assert below["clocks"]["decode"] | {"transferred": True} == below["clocks"]["decode"]
    assert below["clocks"]["decode"]["measured_mhz"] == [1000.0, 2000.0]
    assert not edge["clocks"]["decode"]["transferred"]
    # Tiny's coefficients are certain: what is open below comes from the shapes alone.
    assert edge["energy_j"]["high"] == pytest.approx(edge["energy_j"]["low"])
    assert below["energy_j"]["high"] > 1.1 * below["energy_j"]["low"]
    (line,) = (line for line in told["warnings"] if line.startswith("transferred: "))
    assert "under fixed:750" in line
    assert "1,000 MHz in prefill, 1,000 MHz in decode" in line


def test_a_policy_may_choose_a_clock_below(path):
    words = ("--policy", "min-energy", "--draws", "0", "--json", "--beyond-measured")
    told = json.loads(run(path, *words).stdout)
    free = told["policies"][1]["clocks"]
    kept = json.loads(run(path, *words[:-1]).stdout)["policies"][1]["clocks"]
    for phase, clock in free.items():
        assert clock["held_mhz"] <= kept[phase]["held_mhz"]
    assert free["decode"]["transferred"]


def test_a_sweep_reaches_below_and_marks_it(path):
    clocks = ("--prefill-mhz", "1000", "--decode-mhz", "750,1000")
    words = ("sweep", "--jobs", "1", *clocks, "--json")
    refused = run(path, *words)
    assert refused.exit_code == 2
    told = json.loads(run(path, *words, "--beyond-measured").stdout)
    assert {pair["decode_mhz"]: pair["transferred"] for pair in told["front"]} == {
        750.0: True,
        1000.0: False,
    }
    assert any("decode=750" in line and "transferred" in line for line in told["warnings"])
    printed = run(path, *words[:-1], "--beyond-measured").stdout
    assert "transferred" in printed.split("Pareto front:")[0]
