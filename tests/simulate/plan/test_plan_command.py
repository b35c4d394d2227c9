"""The command as a planner types it: what it prints and writes, and each wrong input."""

import json

import pyarrow.parquet as pq
import pytest
import tiny
from fleets import RECIPE, words_of

from simulate.cli import main


@pytest.fixture
def command(capsys):
    def run(*words):
        with pytest.raises(SystemExit) as end:
            main(["plan", *map(str, words)])
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run


@pytest.fixture
def asked(tmp_path):
    words = words_of(tmp_path, tiny.uncertain(), RECIPE)
    return (
        *("--calibration", words["calibration"], "--trace", RECIPE, "--batching", "none"),
        *("--policy", "fixed:1750", "--policy", "fixed:1000", "--seeds", "2", "--jobs", "1"),
        *("--percentile", "90", "--confidence", "0.9"),
    )


def test_a_plan_is_told_printed_and_written_alike(command, asked, tmp_path):
    told = ("--slo", "ttft=6", "--price", "0.2", "--gpu-price", "1000", "--objective", "cost")
    code, printed, _ = command(*asked, *told)
    assert code == 0
    code, text, _ = command(*asked, *told, "--json", "-o", tmp_path / "out")
    assert code == 0
    document = json.loads(text)
    assert document == json.loads((tmp_path / "out" / "plan.json").read_text())
    assert document["schema"] == "phasewatt-plan"
    best = document["choices"][0]
    assert f"{best['replicas']} replica" in printed
    assert best["command"] in printed.replace("\n", "")
    assert {each["change"] for each in document["what_ifs"]} >= {"load +20%", "latency limits -20%"}
    rows = pq.read_table(tmp_path / "out" / "plan.parquet").to_pylist()
    assert [row["stage"] for row in rows].count("choice") == len(document["choices"])
    assert len(rows) == len(document["choices"]) + len(document["dropped"])
    assert rows[0]["objective"] == pytest.approx(best["objective"])
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["replicas"] == best["replicas"]
    assert [each["policy"] for each in summary["policies"]][-1] == best["policy"]


def test_what_a_plan_names_can_be_replayed(command, asked, capsys):
    _, text, _ = command(*asked, "--slo", "ttft=6", "--json")
    best = json.loads(text)["choices"][0]
    replay, *words = best["command"].split()
    assert replay == "simulate"
    with pytest.raises(SystemExit) as end:
        main([*words, "--draws", "0", "--json"])
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out)["replicas"] == best["replicas"]


def test_where_nothing_keeps_the_promise_the_nearest_miss_is_told(command, asked):
    code, printed, _ = command(*asked, "--slo", "ttft=1ms")
    assert code == 1
    assert "No candidate keeps its promise" in printed
    assert printed.index("fixed:1750") < printed.index("fixed:1000")
    assert "even where nobody waits" in " ".join(printed.split())
    code, text, _ = command(*asked, "--slo", "ttft=1ms", "--json")
    assert (code, json.loads(text)["choices"]) == (1, [])


def test_a_scenario_file_says_what_the_command_line_says(command, asked, tmp_path):
    file = tmp_path / "plan.toml"
    lines = [
        f'trace = "{RECIPE}"',
        'calibration = "calibration.json"',
        'batching = "none"',
        'policy = ["fixed:1750", "fixed:1000"]',
        'slo = "ttft=6"',
        "[plan]",
        "seeds = 2",
        'percentile = "90"',
        "confidence = 0.9",
    ]
    file.write_text("\n".join(lines) + "\n")
    by_file = command("--scenario", file, "--json")[1]
    by_words = command(*asked, "--slo", "ttft=6", "--json")[1]
    assert json.loads(by_file)["choices"][0]["runs"] == json.loads(by_words)["choices"][0]["runs"]


WRONG = {
    "no limits": ((), "--slo is missing"),
    "percentile": (("--slo", "ttft=1", "--percentile", "101"), "--percentile: found '101'"),
    "confidence": (("--slo", "ttft=1", "--confidence", "1"), "--confidence: found 1"),
    "seeds": (("--slo", "ttft=1", "--seeds", "1"), "--seeds: found 1"),
    "axis": (("--slo", "ttft=1", "--grid", "batchin=none"), "did you mean 'batching'"),
    "no axis": (("--slo", "ttft=1", "--grid", "replicas=1:3"), "cannot be an axis of a plan"),
    "window": (("--slo", "ttft=1", "--power-window", "2s"), "--power-window: found '2s'"),
    "objective": (("--slo", "ttft=1", "--objective", "cost"), "nothing tells cost"),
    "growth": (("--slo", "ttft=1", "--growth", "5%/month"), "--growth needs --horizon"),
    "policy": (("--slo", "ttft=1", "--policy", "phase-awar"), "did you mean phase-aware"),
    "group": (("--slo", "ttft=1", "--group", "a=tiny:1"), "leave it out"),
    "prices": (("--slo", "ttft=1", "--gpu-price", "other=1"), "expected tiny=, too"),
    "quality": (("--slo", "ttft=1", "--min-quality", "2"), "--min-quality: found 2"),
    "unwritable": (("--slo", "ttft=1", "-o", "/proc/none"), "cannot write here"),
}


@pytest.mark.parametrize(("words", "says"), WRONG.values(), ids=WRONG)
def test_wrong_input_is_one_line(command, asked, words, says):
    code, out, err = command(*asked, *words)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err
