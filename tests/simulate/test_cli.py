"""The commands as a user types them: what they print, what they write, and each wrong input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from simulate.cli import main

BIN = Path(sys.executable).parent
RTX_3090 = ("--calibration", "rtx3090-club3090")
SHORT = ("--trace", "azure-code-2023", "--limit", "40", "--draws", "0", *RTX_3090)
SWEPT = ("sweep", "--trace", "azure-code-2023", "--limit", "40", "--jobs", "1", *RTX_3090)


@pytest.fixture
def command(capsys):
    def run(*words):
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run


def refusal(done):
    code, out, err = done
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err.removeprefix("error: ").strip()


def test_one_command_answers(command):
    code, out, _ = command(*SHORT)
    assert code == 0
    for words in ("max-frequency", "phase-aware", "saving", "TTFT p95, s", "TPOT p50, ms", "E2E"):
        assert words in out
    assert "! extrapolated" in out
    assert "published; noonghunna/club-3090" in " ".join(out.split())


def test_unless_asked_otherwise_an_h100_serves(command):
    code, out, _ = command("--trace", "azure-code-2023", "--limit", "40", "--draws", "0")
    assert code == 0
    printed = " ".join(out.split())
    assert "llama-3.1-8b in cuda-graph on" in printed
    assert "Calibration h100-sxm: measured" in printed


def test_json_is_the_summary(command, tmp_path):
    _, out, _ = command(*SHORT, "--json", "-o", tmp_path / "out")
    assert json.loads(out) == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "curves.json",
        "energy-latency.png",
        "power.parquet",
        "power.png",
        "report.html",
        "requests.parquet",
        "summary.json",
    ]


def test_policies_are_repeated_and_the_baseline_comes_first(command):
    _, out, _ = command(
        *SHORT,
        "--policy",
        "fixed:1380",
        "--policy",
        "min-edp",
        "--baseline",
        "fixed:1500",
        "--json",
    )
    assert [p["policy"] for p in json.loads(out)["policies"]] == [
        "fixed:1500",
        "fixed:1380",
        "min-edp",
    ]


def test_replay_options_are_noted(command):
    _, out, _ = command(
        "--trace",
        "azure-code-2023",
        "--window",
        "1m:20m",
        "--limit",
        "20",
        "--rate-scale",
        "2",
        "--shuffle-seed",
        "7",
        "--draws",
        "0",
        "--json",
    )
    document = json.loads(out)
    assert document["trace"]["requests"] == 20
    assert len(document["trace"]["source"]["operations"]) == 4


def test_objectives_are_reported(command):
    _, out, _ = command(*SHORT, "--slo", "ttft=1s,tpot=50ms,e2e=1m")
    for name in ("ttft", "tpot", "e2e", "all"):
        assert f"SLO attainment, {name}" in out


def test_verbose_goes_to_standard_error(command):
    quiet = command(*SHORT)
    loud = command(*SHORT, "-v")
    assert loud[1] == quiet[1]
    assert "replayed in" in loud[2]


def test_a_sweep_tables_the_front_and_marks_the_policies(command, tmp_path):
    code, out, _ = command(
        *SWEPT, "--prefill-mhz", "1200:1600:200", "--decode-mhz", "1000,1400", "-o", tmp_path
    )
    assert code == 0
    assert "Pareto front" in out
    assert "phase-aware" in out
    rows = pq.read_table(tmp_path / "sweep.parquet").to_pylist()
    marks = [r["policy"] for r in rows if r["mark"]]
    assert marks == ["max-frequency", "phase-aware", "min-energy", "min-edp", "min-ed2p"]
    table = [r for r in rows if not r["mark"]]
    assert [(r["prefill_mhz"], r["decode_mhz"]) for r in table] == [
        (p, d) for p in (1200, 1400, 1600) for d in (1000, 1400)
    ]
    front = [r for r in table if r["pareto"]]
    for row in table:
        beaten = any(
            f["energy_j"] <= row["energy_j"]
            and f["e2e_p95_s"] <= row["e2e_p95_s"]
            and (f["energy_j"], f["e2e_p95_s"]) != (row["energy_j"], row["e2e_p95_s"])
            for f in table
        )
        assert row["pareto"] != beaten
    assert front


def test_a_sweep_at_the_clocks_of_a_policy_costs_what_the_policy_costs(command):
    _, out, _ = command(
        *SWEPT,
        "--policy",
        "phase-aware:prefill=1410,decode=1290",
        "--prefill-mhz",
        "1410",
        "--decode-mhz",
        "1290",
        "--json",
    )
    document = json.loads(out)
    (pair,), (mark,) = document["front"], document["marks"]
    assert {**pair, "points": None, "command": None, "policy": None} == {
        **mark,
        **{"points": None, "command": None, "policy": None, "prefill_mhz": 1410.0},
        "decode_mhz": 1290.0,
    }


WRONG = {
    "no trace": ((), "--trace is missing: expected azure-conv-2023, azure-code-2023"),
    "missing file": (("--trace", "gone.csv"), "gone.csv: found no such file"),
    "misspelt trace": (("--trace", "azure-con-2023"), "did you mean 'azure-conv-2023'"),
    "unknown format": ((*SHORT, "--format", "azur-2023"), "did you mean 'azure-2023'"),
    "another format": ((*SHORT, "--format", "vidur"), "expected 'azure-2023' or none"),
    "unknown policy": ((*SHORT, "--policy", "phase-awar"), "did you mean phase-aware?"),
    "unknown model": ((*SHORT, "--model", "gpt"), "has no model 'gpt'; it has qwen3.6-27b"),
    "unknown engine": ((*SHORT, "--engine", "vllm"), "has no engine 'vllm'"),
    "clock outside": ((*SHORT, "--policy", "fixed:99"), "outside the calibrated range"),
    "cap too low": ((*SHORT, "--policy", "power-cap:50"), "below the"),
    "no calibration": ((*SHORT, "--calibration", "none.json"), "no such calibration"),
    "a name too long": (
        (*SHORT, "--calibration", "x" * 5000),
        "cannot be read: File name too long",
    ),
    "replicas": ((*SHORT, "--replicas", "0"), "--replicas: found '0'"),
    "replicas in words": ((*SHORT, "--replicas", "many"), "--replicas: found 'many'"),
    "slo": ((*SHORT, "--slo", "ttft"), "--slo ttft: found ''"),
    "slo twice": ((*SHORT, "--slo", "ttft=1,ttft=2"), "each once"),
    "one draw": (("--trace", "azure-code-2023", "--draws", "1"), "--draws: found 1"),
    "negative draws": ((*SHORT, "--draws", "-1"), "--draws: found -1"),
    "negative seed": ((*SHORT, "--seed", "-1"), "seed"),
    "slowdown": ((*SHORT, "--max-slowdown", "-0.1"), "--max-slowdown: found -0.1"),
    "latency": ((*SHORT, "--switch-latency", "fast"), "--switch-latency: found 'fast'"),
    "conflict": ((*SHORT, "--arrivals", "offline", "--rate-scale", "2"), "--rate-scale"),
    "limit": ((*SHORT, "--limit", "0"), "limit: found 0"),
    "window": ((*SHORT, "--window", "5m:1m"), "window"),
    "window empty": ((*SHORT, "--window", "90h:91h"), "window"),
    "rate": ((*SHORT, "--rate-scale", "0"), "rate"),
    "unknown option": ((*SHORT, "--polici", "x"), "--polici"),
    "unknown command": (("sweeep",), "sweeep"),
    "stray option": ((*SHORT, "sweep"), "write them after 'sweep'"),
    "unwritable": ((*SHORT, "-o", "/proc/none"), "/proc/none: cannot write here"),
    "a file as directory": ((*SHORT, "-o", __file__), "is a file; expected a directory"),
    "sweep range": ((*SWEPT, "--prefill-mhz", "1:2"), "--prefill-mhz: found '1:2'"),
    "sweep outside": ((*SWEPT, "--decode-mhz", "10:2000:500"), "outside the calibrated range"),
    "sweep latency": ((*SWEPT, "--latency", "p95"), "--latency: found 'p95'"),
}


@pytest.mark.parametrize(("words", "says"), WRONG.values(), ids=WRONG)
def test_a_wrong_input_is_one_line(command, words, says):
    assert says in refusal(command(*words))


def test_a_malformed_calibration_and_a_newer_one(command, tmp_path):
    path = tmp_path / "c.json"
    path.write_text("{")
    assert "line 1" in refusal(command(*SHORT, "--calibration", path))
    path.write_text('{"schema": "phasewatt-calibration", "schema_version": 99}')
    assert "schema_version 99 is newer" in refusal(command(*SHORT, "--calibration", path))


BROKEN = {
    "empty": ("", "found an empty file"),
    "header only": ("arrival_s,prompt_tokens,output_tokens\n", "found a header without rows"),
    "negative tokens": ("arrival_s,prompt_tokens,output_tokens\n0,-1,1\n", "line 2: column"),
    "not a number": ("arrival_s,prompt_tokens,output_tokens\nnan,1,1\n", "line 2: column"),
    "unsorted": ("arrival_s,prompt_tokens,output_tokens\n5,1,1\n4,1,1\n", "line 3: column"),
}


@pytest.mark.parametrize(("text", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_trace_is_one_line_and_nothing_is_written(command, tmp_path, text, says):
    (tmp_path / "t.csv").write_text(text)
    assert says in refusal(command("--trace", tmp_path / "t.csv", "-o", tmp_path / "out"))
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_skipped_rows_are_reported(command, tmp_path):
    rows = "".join(f"{n},100,{10 if n % 5 else -1}\n" for n in range(20))
    (tmp_path / "t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n" + rows)
    _, out, _ = command("--trace", tmp_path / "t.csv", "--skip-bad-rows", "--draws", "0")
    assert "4 broken rows were skipped" in out


def test_lengths_that_were_not_measured_are_said(command):
    _, out, _ = command(*SHORT, "--json")
    warnings = json.loads(out)["warnings"]
    assert any("prompts lie outside the 11,000 tokens" in line for line in warnings)
    assert any("idle power of 27 W" in line for line in warnings)


def test_a_command_that_is_called_leaves_signals_as_they_were():
    before = signal.getsignal(signal.SIGTERM)
    assert CliRunner().invoke(main, ["--help"]).exit_code == 0
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_writes_nothing(tmp_path, number):
    run = subprocess.Popen(
        [
            BIN / "simulate",
            *("--trace", "azure-conv-2023", "--draws", "2000", "-v"),
            *("-o", "out"),
        ],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert run.stderr is not None
    assert "calibration" in run.stderr.readline()
    time.sleep(0.5)
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 2
    assert out == ""
    assert err.splitlines()[-1].startswith("error: interrupted")
    assert list(tmp_path.iterdir()) == []
