"""Fleets as a user types them: what is shown of them, and each wrong input in one line."""

import json

import pytest
import structured
import tiny

from model.calibration import dump
from simulate.cli import main

SHORT = ("--trace", "azure-code-2023", "--limit", "60", "--draws", "0")


@pytest.fixture
def command(capsys, tmp_path):
    path = tmp_path / "structured.json"
    path.write_text(dump(structured.calibration()))

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main([*SHORT, "--calibration", str(path), *map(str, words)])
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run


def test_states_wasted_energy_and_what_is_assumed_are_shown(command):
    words = ("--batching", "continuous", "--kv-blocks", 600, "--tensor-parallel", 2)
    fleet = ("--autoscale", "1:3,target=2,idle=1s", "--start-up", "2s", "--sleep-after", "100ms")
    code, out, _ = command(*words, *fleet, "--mtbf", "10s", "--mttr", "2s")
    assert code == 0
    printed = " ".join(out.split())
    assert "on 3 replicas of 2 Tiny GPU each" in printed
    for row in ("retries", "energy wasted", "time in off", "time in starting", "time in failed"):
        assert row in printed
    for line in (
        "assumed: 2 GPUs of a replica split every layer and wait for two all-reduces in each",
        "assumed: asleep, a replica draws 59% of its idle power",
        "assumed: a replica wakes in 1 s, at idle power (--wake-time)",
        "assumed: a replica starts in 2 s, at idle power, and draws nothing when it is off",
        "assumed: a broken replica draws nothing",
    ):
        assert line in printed


def test_more_failures_waste_more_and_the_same_seed_breaks_the_same(command):
    words = ("--batching", "static:4", "--replicas", 3, "--arrivals", "offline", "--json")

    def metrics(mtbf, *more):
        found = json.loads(command(*words, "--mtbf", mtbf, "--mttr", "1s", *more)[1])["policies"]
        return [policy["metrics"] for policy in found]

    often, seldom = metrics("1s"), metrics("100h")
    assert [m["wasted_j"] for m in seldom] == [0.0, 0.0]
    assert all(m["wasted_j"] > 0 and m["retries"] > 0 and m["failed"] == 0 for m in often)
    assert often == metrics("1s")
    assert often != metrics("1s", "--seed", 1)
    once = metrics("1s", "--retries", 0)
    assert all(m["failed"] > 0 and m["retries"] == 0 for m in once)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("--autoscale", "0:3"),
            "--autoscale: found '0:3'; expected MIN:MAX with 1 <= MIN <= MAX, then perhaps "
            "target=REQUESTS and idle=TIME, with commas",
        ),
        (
            ("--autoscale", "1:3", "--group", "a=tiny:3"),
            "--autoscale: found '1:3'; expected MIN, where --group or --batching say how many at "
            "most, with 1 <= MIN <= MAX, then perhaps target=REQUESTS and idle=TIME, with commas",
        ),
        (
            ("--autoscale", "1:3", "--replicas", "2"),
            "--replicas: --autoscale MIN:MAX says how many; leave it out",
        ),
        (("--start-up", "3s"), "--start-up belongs to --autoscale: expected both"),
        (("--wake-time", "3s"), "--wake-time belongs to --sleep-after: expected both"),
        (
            ("--sleep-after", "3s", "--sleep-power-w", "-1"),
            "--sleep-power-w: found -1; expected 0 or more",
        ),
        (
            ("--sleep-after", "soon"),
            "--sleep-after: found 'soon'; expected a time such as 0.2, 200ms or 2m",
        ),
        (("--mtbf", "1m"), "--mtbf alone: expected --mtbf TIME and --mttr TIME"),
        (("--retries", "1"), "--retries alone: expected --mtbf TIME and --mttr TIME"),
        (
            ("--mtbf", "1m", "--mttr", "1s", "--retries", "-1"),
            "--retries: found -1; expected 0 or more",
        ),
        (("--queue-limit", "3"), "--queue-limit belongs to --routing power-aware"),
        (("--tensor-parallel", "0"), "--tensor-parallel: found 0; expected 1 or more"),
        (("--tp-link-gb-per-s", "0"), "--tp-link-gb-per-s: found 0; expected more than 0"),
        (
            ("--tensor-parallel", "3"),
            "--tensor-parallel 3: tiny has 8 heads and an MLP of 1408; expected a number of GPUs "
            "that divides both",
        ),
        (
            ("--group", "a=tiny:1", "--replicas", "2"),
            "--replicas: every --group says how many; leave it out",
        ),
        (
            ("--group", "a=tiny@nowhere:1"),
            "nowhere: no such calibration; expected a file or one of ",
        ),
        (("--group", "a=huge:1"), "calibration tiny has no model 'huge'; it has tiny"),
        (
            ("--group", "a=tiny:1:1", "--batching", "disaggregated:1:1", "--kv-blocks", "600"),
            "--batching disaggregated:P:D: every --group says how many; expected disaggregated",
        ),
    ],
)
def test_wrong_words_end_in_one_line(command, words, line):
    code, out, err = command(*words)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"error: {line}")


def test_plain_curves_cannot_be_split(command, tmp_path):
    plain = tmp_path / "plain.json"
    plain.write_text(dump(tiny.calibration()))
    code, _, err = command("--calibration", plain, "--tensor-parallel", 2)
    assert code == 2
    assert "which knows nothing of bytes and flops; expected structured curves" in err
