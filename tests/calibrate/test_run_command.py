import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from calibrate.cli import main
from calibrate.commands import run as run_module
from calibrate.log import read_log
from model.calibration import load

SMALL = [
    "--gpu",
    "twin:h100",
    "--models",
    "llama-3.2-1b",
    "--engines",
    "cuda-graph",
    "--batches",
    "1,8,64",
    "--prompts",
    "128,1024",
    "--contexts",
    "128,1024",
]


def called(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


def failed(*arguments):
    result = called(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_twin_becomes_a_calibration_and_a_log_beside_it(tmp_path):
    output = tmp_path / "calibration.json"
    result = called("run", *SMALL, "--budget", "5m", "-o", output)
    assert result.exit_code == 0, result.stderr
    assert "twin h100 (simulated, invented truth)" in result.stdout
    assert "clocks: lock (the driver let us lock the SM clock)" in result.stderr
    calibration = load(output)
    assert calibration.provenance.kind == "twin"
    assert calibration.models == ("llama-3.2-1b",)
    log = read_log(tmp_path / "calibration.run.jsonl")
    assert log.header.command.startswith("calibrate ")

    again = called("run", *SMALL, "--budget", "5m", "-o", output, "--json")
    assert again.exit_code == 0
    document = json.loads(again.stdout)
    assert document["run"]["points"] == len(log.measured)
    assert document["run"]["strategy"] == "lock"
    assert read_log(tmp_path / "calibration.run.jsonl") == log


def test_a_log_is_fitted_by_calibrate_fit_to_the_same_bytes(tmp_path):
    output, fitted = tmp_path / "calibration.json", tmp_path / "fitted.json"
    assert called("run", *SMALL, "--clocks", "steer", "--budget", "5m", "-o", output).exit_code == 0
    assert called("fit", tmp_path / "calibration.run.jsonl", "-o", fitted).exit_code == 0
    assert fitted.read_bytes() == output.read_bytes()


def test_a_model_of_ones_own_is_measured_by_its_shape(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shape = {
        "_name_or_path": "me/small",
        "num_hidden_layers": 12,
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "intermediate_size": 4096,
        "vocab_size": 32000,
    }
    Path("config.json").write_text(json.dumps(shape))
    arguments = [*SMALL, "--models", "config.json", "--budget", "5m", "-o", "small.json"]
    assert called("run", *arguments).exit_code == 0
    calibration = load(tmp_path / "small.json")
    assert calibration.models == ("config.json",)
    assert read_log(Path("small.run.jsonl")).header.sweep.shapes["config.json"].hidden_size == 1024


def test_a_dry_run_prints_the_plan_and_measures_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = called("run", *SMALL, "--budget", "5m", "--dry-run")
    assert plan.exit_code == 0
    assert "estimated: " in plan.stdout
    assert "llama-3.2-1b cuda-graph decode 64 x 1024 bfloat16 at 690 MHz" in plan.stdout
    document = json.loads(called("run", *SMALL, "--clocks", "steer", "--dry-run", "--json").stdout)
    assert document["kind"] == "twin"
    assert document["strategy"] == "steer"
    assert len(document["first"]) <= document["candidates"]
    assert document["estimated_time_s"] >= document["first_time_s"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--models", "gpt-5"],
            "model gpt-5: is not built in and no such folder is here; expected",
        ),
        (["--engines", "vllm"], "--engines: found 'vllm'; expected eager or cuda-graph"),
        (["--batches", "1,x"], "--batches: found 'x'; expected whole numbers between commas"),
        (["--batches", "1,,2"], "--batches: found '1,,2'; expected words between commas"),
        (["--budget", "20"], "--budget: found '20'; expected a duration such as 90s, 20m or 1h"),
        (["--budget", "1m"], "--budget: found 1 min 0 s; the fewest points that can be fitted"),
        (["--budget", "0s"], "--budget: found '0s'; expected a duration"),
        (["--precision", "x"], "--precision: found 'x'; expected a share such as 2% or 0.02"),
        (["--precision", "200%"], "--precision: found 2; expected between 0 and 1"),
        (["--sm-mhz", "1201"], "has no 1201 MHz; the nearest is 1200"),
        (["--sm-mhz", "1200", "--clocks", "observe"], "--sm-mhz goes with --clocks lock"),
        (["--gpu", "twin:b200"], "no twin 'twin:b200'; there are twin:h100"),
        (["--gpu", "twin:rtx3090", "--models", "qwen2.5-32b"], "qwen2.5-32b does not fit: its"),
        (["--clocks", "guess"], "Invalid value for '--clocks'"),
        (["--gemm-ratios", "1,2"], "--gemm-ratios: expected 0 and at least one above it"),
        (["--gemm-ratios", "0,x"], "--gemm-ratios: found 'x'; expected numbers between commas"),
        (["--repeats", "3:1"], "--repeats: found '3:1'; expected FEWEST:MOST, as in 2:6"),
        (["--window", "1s"], "--window: found 1s; expected 1.5s or more"),
        (["--prefill-tokens", "64"], "every prefill computes more than 64 tokens in one step"),
        (["-o", "/no/such/place.json"], "no such directory: /no/such"),
        (["-o", "/"], "/: is a directory; expected a file to write"),
    ],
)
def test_each_mistake_is_one_line(tmp_path, monkeypatch, arguments, line):
    monkeypatch.chdir(tmp_path)
    assert line in failed("run", *SMALL, "-o", "c.json", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_without_an_output_nothing_is_measured():
    assert "-o: expected a file to write the calibration to" in failed("run", *SMALL)


@pytest.mark.parametrize(
    ("text", "span_s"), [("90s", 90), ("20m", 1200), ("1h", 3600), ("1.5m", 90)]
)
def test_durations(text, span_s):
    assert run_module._duration_s("--budget", text) == span_s


def test_ctrl_c_says_how_to_resume_and_the_next_call_does(tmp_path, monkeypatch):
    output = tmp_path / "calibration.json"
    seen = []

    def interrupted(log, told=run_module._span):
        if len(log.measured) == 3 and not seen:
            seen.append(log)
            raise KeyboardInterrupt

    real = run_module._telling

    def telling(budget_s):
        context = real(budget_s)
        told = context.__enter__()

        class Wrapped:
            def __enter__(self):
                return lambda log, design: (told(log, design), interrupted(log))

            def __exit__(self, *exception):
                return context.__exit__(*exception)

        return Wrapped()

    monkeypatch.setattr(run_module, "_telling", telling)
    result = called("run", *SMALL, "--budget", "5m", "-o", output)
    assert result.exit_code == 2
    log_path = tmp_path / "calibration.run.jsonl"
    assert f"interrupted; run the same command again to resume from {log_path}" in result.stderr
    assert not output.exists()
    again = called("run", *SMALL, "--budget", "5m", "-o", output)
    assert again.exit_code == 0
    assert "resuming after 3 points" in again.stderr
    assert output.exists()


def test_no_nvidia_software_is_one_line(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pynvml", None)
    line = failed("run", "-o", tmp_path / "c.json")
    assert "pip install 'phasewatt[gpu]', or use --gpu twin:h100" in line


def test_the_doctor_prints_one_table(monkeypatch):
    result = called("doctor", "--gpu", "twin:h100", "--probe-lock")
    assert result.exit_code == 0
    assert "the SM clock was locked and given back" in " ".join(result.stdout.split())
    document = json.loads(called("doctor", "--gpu", "twin:h100", "--json").stdout)
    checks = {row["check"]: row for row in document["checks"]}
    assert checks["energy counter"]["answer"] == "yes"
    assert set(checks["GPU"]) == {"check", "answer", "detail", "remedy"}


def test_the_output_is_whole_or_not_there(tmp_path, monkeypatch):
    output = tmp_path / "calibration.json"

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    line = called("run", *SMALL, "--budget", "5m", "-o", output).stderr.splitlines()[-1]
    assert line == f"error: {output}: cannot write: No space left on device"
    assert not output.exists()
