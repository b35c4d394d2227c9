"""Batching as a user types it: what is printed and written, and each wrong input in one line."""

import json

import pyarrow.parquet as pq
import pytest
import structured

from model.calibration import dump
from simulate.cli import main

SHORT = ("--trace", "azure-code-2023", "--limit", "60", "--draws", "0", "--replicas", "1")


@pytest.fixture
def command(capsys, tmp_path):
    path = tmp_path / "structured.json"
    path.write_text(dump(structured.calibration()))

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main(["--calibration", str(path), *map(str, words)])
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


def test_continuous_batching_answers(command, tmp_path):
    words = ("--batching", "continuous", "--kv-blocks", 600, "--max-batched-tokens", 1024)
    code, out, _ = command(*SHORT, *words, "--slo", "ttft=2s", "-o", tmp_path / "out")
    assert code == 0
    assert "up to 1,024 requests and 1,024 tokens a step, 600 KV-cache blocks" in " ".join(
        out.split()
    )
    for row in (
        "ITL p99, ms",
        "J per prompt token",
        "J per decoded token",
        "peak power over 1 s, W",
        "energy in mixed",
        "engine steps",
        "preemptions",
        "rejected",
        "goodput, requests/s",
    ):
        assert row in out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["scenario"]["batching"]["mode"] == "continuous"
    for policy in summary["policies"]:
        assert policy["batching"]["kv_blocks"] == 600
        metrics = policy["metrics"]
        assert set(metrics["peak_power_w"]) == {"100ms", "1s", "10s", "60s"}
        assert metrics["itl"]["p50_s"] > 0
        assert metrics["requests"] == 60


def test_static_batches_answer_for_curves_of_any_form(command):
    code, out, _ = command(*SHORT, "--batching", "static:4")
    assert code == 0
    assert "on 1 replica of one Tiny GPU, batches of up to 4" in " ".join(out.split())
    code, out, _ = command(
        *SHORT, "--batching", "static:1", "--calibration", "rtx3090-club3090", "--limit", 5
    )
    assert code == 0
    assert "batches of up to 1" in " ".join(out.split())


def test_two_pools_answer(command):
    without_replicas = SHORT[:-2]
    code, out, _ = command(*without_replicas, "--batching", "disaggregated:1:2", "--kv-blocks", 600)
    assert code == 0
    words = " ".join(out.split())
    assert "on 3 replicas of one Tiny GPU, 1 prefilling and 2 decoding over a link of 50" in words
    assert "assumed: a link of 50 GB/s between both pools (--link-gb-per-s)" in words


def test_the_same_batches_write_the_same_bytes(command, tmp_path):
    words = (*SHORT, "--batching", "continuous", "--kv-blocks", 500)
    for name in ("one", "two"):
        code, _, _ = command(*words, "-o", tmp_path / name)
        assert code == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_intervals_come_with_draws(command):
    code, out, _ = command(*SHORT, "--batching", "static:2", "--draws", 2)
    assert code == 0
    assert "95% intervals over 2 draws" in out


def test_the_grid_of_clocks_is_swept_in_batches_too(capsys, tmp_path):
    path = tmp_path / "structured.json"
    path.write_text(dump(structured.calibration()))
    with pytest.raises(SystemExit) as end:
        main(
            [
                *("sweep", *SHORT[:4], "--replicas", "1", "--calibration", str(path)),
                *("--batching", "continuous", "--kv-blocks", "400", "--json"),
                *("--prefill-mhz", "1000,2000", "--decode-mhz", "1000,2000", "--jobs", "1"),
                *("-o", str(tmp_path / "out")),
            ]
        )
    assert end.value.code == 0
    swept = json.loads(capsys.readouterr().out)
    assert swept["front"]
    rows = pq.read_table(tmp_path / "out" / "sweep.parquet").to_pylist()
    assert len(rows) == 9
    assert all(row["engine_steps"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("--batching", "paged"),
            "--batching: found 'paged'; expected none, static:N, continuous or disaggregated:P:D",
        ),
        (
            ("--kv-blocks", "9"),
            "--kv-blocks belongs to --batching continuous; found 'none'",
        ),
        (
            ("--batching", "continuous"),
            "the calibration does not tell the memory of Tiny GPU, so its KV cache cannot be "
            "reckoned: pass --kv-blocks N, in blocks of 16 tokens",
        ),
        (
            ("--batching", "continuous", "--kv-blocks", "1"),
            "--kv-blocks: found 1, which no request of the trace fits: expected more",
        ),
        (
            ("--batching", "disaggregated:1:1", "--kv-blocks", "600"),
            "--replicas: --batching disaggregated:P:D says how many; leave it out",
        ),
        (
            ("--batching", "static:100"),
            "prefill of tiny was not measured at batch 100: expected batch 1 to 64",
        ),
    ],
)
def test_wrong_words_end_in_one_line(command, words, line):
    assert refusal(command(*SHORT, *words)) == line


def test_curves_of_one_phase_each_are_refused(command):
    words = ("--batching", "continuous", "--kv-blocks", 9, "--calibration", "rtx3090-club3090")
    assert "which cannot price a step of both phases" in refusal(command(*SHORT, *words))
