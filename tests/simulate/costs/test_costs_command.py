"""Money and carbon as a user asks for them: rows, JSON, what they rest on, and wrong inputs."""

import json

import pytest
import structured

from model.calibration import dump
from simulate.cli import main
from simulate.costs.signal import JOULES_PER_KWH

SHORT = ("--trace", "azure-code-2023", "--limit", "40", "--draws", "0", "--replicas", "2")


@pytest.fixture
def command(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "structured.json"
    path.write_text(dump(structured.calibration()))

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main([*SHORT, "--calibration", str(path), *map(str, words)])
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run


def test_a_plain_replay_says_nothing_of_money(command):
    code, out, _ = command()
    assert code == 0
    assert "site energy" not in out
    assert "PUE" not in out
    assert [p["bill"] for p in json.loads(command("--json")[1])["policies"]] == [None, None]


def test_rows_and_notes_say_what_it_cost_and_why(command):
    words = ("--region", "ie", "--gpu-price", 30000, "--embodied", 150, "--carbon-price", 80)
    code, out, _ = command(*words)
    assert code == 0
    printed = " ".join(out.split())
    for row in (
        "site energy, kWh",
        "drawn by hosts",
        "energy, EUR",
        "hardware, EUR",
        "carbon, EUR",
        "cost, EUR",
        "EUR per million output tokens",
        "operational carbon, kg CO2e",
        "embodied carbon, kg CO2e",
        "PUE of 1.56: assumed; the average of the Uptime Institute's",
        "Host power of 1400 W idle, 2800 W active, for 8 GPUs: assumed; active: a node of 8 H100s",
        "Price of 0.256 EUR per kWh: published; Ireland 2024 H1: Eurostat",
        "Carbon intensity of 279.79 g CO2e per kWh: published; Ireland 2024: Ember",
        "Years of use of 4: assumed",
    ):
        assert row in printed


def test_json_has_bills_that_add_up(command):
    words = ("--price", 0.2, "--carbon", 300, "--pue", 1, "--host-power", "idle=0,active=0,gpus=1")
    code, out, _ = command(*words, "--json")
    assert code == 0
    document = json.loads(out)
    for policy in document["policies"]:
        bill, energy_j = policy["bill"], policy["metrics"]["energy_j"]
        assert bill["site_energy_j"] == pytest.approx(energy_j)
        assert bill["cost"] == pytest.approx(0.2 * energy_j / JOULES_PER_KWH)
        assert bill["carbon_kg"] == pytest.approx(0.3 * energy_j / JOULES_PER_KWH)
        assert bill["embodied_kg"] is None
    assert document["scenario"]["costs"]["price"]["values"] == [0.2]


def test_after_a_warm_up_bills_are_of_the_rest(command):
    words = ("--price", 0.2, "--pue", 1, "--host-power", "idle=0,active=0,gpus=1", "--json")
    document = json.loads(command(*words, "--warm-up", "20s")[1])
    for policy in document["policies"]:
        assert policy["bill"]["gpu_energy_j"] == pytest.approx(policy["metrics"]["energy_j"])
        assert policy["bill"]["seconds"] == policy["metrics"]["makespan_s"] - 20


def test_prices_over_time_must_cover_the_run_or_start_over(command, tmp_path):
    (tmp_path / "p.csv").write_text("time_s,value\n0,0.1\n1,0.3\n")
    code, _, err = command("--price", "p.csv", "-o", "out")
    assert code == 2
    assert "--price p.csv: it covers 0 s to 2 s of a run that asks for" in " ".join(err.split())
    assert not (tmp_path / "out").exists()
    code, out, _ = command("--price", "p.csv,wrap", "--json")
    assert code == 0
    bill = json.loads(out)["policies"][0]["bill"]
    assert bill["energy_cost"] == pytest.approx(0.2 * bill["site_energy_kwh"], rel=0.2)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--region", "mars"), "--region: found 'mars'; expected one of eu, de"),
        (("--gpu-price", "other=5"), "--gpu-price: found other; expected tiny=, too"),
        (("--price", "gone.csv"), "--price: gone.csv cannot be read"),
    ],
)
def test_wrong_inputs_are_one_line_and_exit_code_2(command, words, line):
    code, out, err = command(*words)
    assert (code, out) == (2, "")
    assert line in " ".join(err.split())


def test_a_scenario_file_says_the_same_and_is_blamed(command, tmp_path):
    (tmp_path / "p.csv").write_text("time_s,value\n0,0.1\n1,0.3\n")
    written = 'price = "p.csv,wrap"\ncarbon = 300\n[gpu-price]\ntiny = 30000\n'
    (tmp_path / "s.toml").write_text(written)
    said = command("--scenario", "s.toml")
    words = ("--price", "p.csv,wrap", "--carbon", 300, "--gpu-price", "tiny=30000")
    assert said[:2] == command(*words)[:2]
    (tmp_path / "s.toml").write_text('seed = 1\nregion = "mars"\n')
    code, _, err = command("--scenario", "s.toml")
    assert code == 2
    assert "s.toml: line 2: --region: found 'mars'; expected one of" in " ".join(err.split())
