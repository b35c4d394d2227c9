"""Whole campaigns through nvidia-ml-py, the stand-in library, real sampling and real watchdogs."""

import json
import signal

import pytest


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def cells(path):
    return {
        (each["cell"]["sm_mhz"], each["cell"]["gemm_ratio"])
        for each in records(path)
        if each["record"] == "measured"
    }


def finished(standin, path, strategy="lock"):
    code, out, err = standin.run("campaign", str(path), strategy)
    assert (code, err) == (0, "")
    return json.loads(out.splitlines()[-1])


def test_a_campaign_killed_while_clocks_are_locked_gives_them_back_and_resumes(
    standin, eventually, tmp_path
):
    path = tmp_path / "run.jsonl"
    child = standin.start("campaign", str(path), "lock")
    while child.stdout.readline() != "1\n":
        pass
    assert eventually(lambda: standin.sm_mhz != 0)
    child.kill()
    child.communicate()
    assert eventually(lambda: standin.records == [])
    assert standin.sm_mhz == 0
    before = path.read_bytes()
    assert before.count(b'"record": "measured"') == 1

    found = finished(standin, path)
    assert path.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert cells(path) == {(900, 0.0), (1980, 0.0), (None, 0.0)}
    assert sorted(found["sm_mhz"]) == pytest.approx([900, 1980, 1980])
    assert found["kind"] == "measured"
    assert found["software"]["bench"] == "sleeping"
    assert found["software"]["driver"] == "580.0"
    assert standin.sm_mhz == 0
    assert standin.records == []


def test_locks_that_succeed_and_do_not_hold_are_filed_under_the_achieved_clock(standin, tmp_path):
    standin.fail("lock_ignored", "clock=1455")
    path = tmp_path / "run.jsonl"
    found = finished(standin, path)
    assert found["sm_mhz"] == pytest.approx([1455] * 3)
    (note,) = (note for note in found["notes"] if "did not hold" in note)
    assert note.startswith("2 of 3 points did not hold the clock that was locked (lock did not")


def test_auto_falls_back_in_one_sentence_changes_nothing_and_goes_on_after_ctrl_c(
    standin, tmp_path
):
    standin.fail("no_permission")
    path = tmp_path / "run.jsonl"
    child = standin.start("campaign", str(path), "auto")
    assert child.stdout.readline() == "0\n"
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=15)
    assert [each["record"] for each in records(path)] == ["header"]
    found = finished(standin, path, "auto")
    assert found["strategy"] == "observe"
    assert "no permission" in found["reason"] or "CAP_SYS_ADMIN" in found["reason"]
    assert "load cannot steer it" in found["reason"]
    assert standin.calls == []
    assert standin.records == []
    assert cells(path) == {(None, 0.0)}


@pytest.mark.parametrize(("fault", "line"), [("busy=1", "pid 1"), ("mig", "MIG is on")])
@pytest.mark.parametrize("strategy", ["lock", "observe"])
def test_a_gpu_that_is_not_ours_alone_is_refused(standin, tmp_path, fault, line, strategy):
    standin.fail(fault)
    code, _, err = standin.run("campaign", str(tmp_path / "run.jsonl"), strategy)
    assert code == 2
    assert line in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run.jsonl").exists()


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("", "torch"),
        ("no_driver", "the NVIDIA driver is not loaded"),
        ("busy=1", "other processes use this GPU (pid 1)"),
        ("mig", "MIG is on"),
    ],
)
def test_the_command_ends_in_one_line_and_leaves_nothing(standin, tmp_path, fault, line):
    """The first case has no fault: there is a driver, but no CUDA for torch, or no torch."""
    standin.fail(fault)
    before = set(tmp_path.iterdir())
    output = tmp_path / "calibration.json"
    code, out, err = standin.run("command", "run", "--clocks", "lock", "-o", str(output))
    assert (code, out) == (2, "")
    assert line in err
    assert err.count("\n") == 1
    assert {path.name for path in set(tmp_path.iterdir()) - before} <= {"state"}
    assert standin.calls == []
    assert standin.records == []


def test_the_doctor_runs_on_the_real_path(standin):
    code, out, err = standin.run("command", "doctor", "--json")
    assert (code, err) == (0, "")
    checks = {row["check"]: row["answer"] for row in json.loads(out)["checks"]}
    assert checks["energy counter"] == "yes"
    assert checks["host power (RAPL)"] in ("yes", "no")
    assert standin.calls == []
