"""Reading, sampling, measuring and the doctor through nvidia-ml-py and the stand-in library."""

import json
import signal
from pathlib import Path

import pytest


def test_a_lock_that_does_not_hold_is_filed_under_the_achieved_clock(standin):
    standin.fail("lock_ignored", "clock=1455")
    code, out, err = standin.run("measure_locked")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["sm_mhz"] == pytest.approx(1455)
    assert found["held"] is False
    assert found["reason"] == "lock did not hold"
    assert found["kind"] == "measured"
    assert standin.calls == [("set_sm", 1200), ("reset_sm", 0)]


def test_a_lock_that_holds_is_measured_with_the_energy_counter(standin):
    code, out, err = standin.run("measure_locked")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["sm_mhz"] == pytest.approx(1200)
    assert found["held"] is True
    assert found["source"] == "energy counter"
    assert abs(found["power_w"] - 300) < 4 * found["power_error_w"] + 1
    assert 0.02 <= found["time_s"] < 0.04


def test_without_a_counter_instantaneous_power_is_used_and_named(standin):
    standin.fail("no_counter")
    code, out, err = standin.run("measure_locked")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["source"] == "instantaneous power"
    assert found["power_w"] == pytest.approx(300)


def test_the_sampler_stamps_on_the_clock_of_the_measured_process(standin):
    code, out, err = standin.run("sample")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert 15 <= found["count"] <= 51
    assert 0 <= found["first_s"] < 0.2
    assert 0.3 < found["last_s"] <= 0.6
    assert not Path(found["rows"]).exists()


def test_a_sampler_that_is_killed_is_one_clear_error(standin):
    code, _, err = standin.run("sample_killed")
    assert code == 2
    assert err == "the sampling process died (exit code -9); run again to resume\n"


def test_a_sampler_that_falls_silent_is_one_clear_error(standin):
    code, _, err = standin.run("sample_frozen")
    assert code == 2
    assert err.startswith("the sampling process has been silent for")


def test_a_gpu_lost_under_the_sampler_is_one_clear_error(standin):
    code, _, err = standin.run("sample_lost")
    assert code == 2
    assert "the GPU is lost" in err
    assert err.count("\n") == 1


def test_the_sampler_ends_with_its_parent(standin, eventually):
    child = standin.start("sample_and_hang")
    pid, rows = child.stdout.readline().split()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert eventually(lambda: not Path(f"/proc/{pid}").exists())
    assert not Path(rows).exists()


@pytest.mark.parametrize(
    ("fault", "gpu", "line"),
    [
        ("", "7", "no GPU 7: NVML lists 1; pass one of them"),
        ("", "GPU-other", "no such GPU: pass an index or UUID that nvidia-smi -L lists"),
        ("no_driver", "0", "the NVIDIA driver is not loaded"),
        ("lost", "0", "the GPU is lost"),
    ],
)
def test_each_failure_is_one_line(standin, fault, gpu, line):
    standin.fail(fault)
    code, _, err = standin.run("read", gpu)
    assert code == 2
    assert line in err
    assert err.count("\n") == 1


def test_no_nvml_library_is_one_line(standin, tmp_path):
    standin.library = tmp_path
    code, _, err = standin.run("read")
    assert code == 2
    assert "no NVML library (libnvidia-ml.so.1): install the NVIDIA driver" in err
    assert err.count("\n") == 1


def test_the_doctor_changes_nothing(standin):
    code, out, _ = standin.run("doctor")
    assert code == 0
    rows = json.loads(out)
    assert rows["energy counter"][0] == "yes"
    assert rows["clock locks"][0] != "yes"
    assert rows["nvidia-ml-py"][0] == "yes"
    assert standin.calls == []


def test_the_doctor_proves_the_lock_only_when_asked(standin):
    rows = json.loads(standin.run("doctor", "probe")[1])
    assert rows["clock locks"][:2] == ["yes", "the SM clock was locked and given back"]
    assert standin.calls == [("set_sm", 1980), ("reset_sm", 0)]


def test_the_doctor_names_every_no_and_what_to_do(standin):
    standin.fail("no_counter", "no_instant", "mig", "busy=1")
    rows = json.loads(standin.run("doctor", "probe")[1])
    for check in (
        "energy counter",
        "instantaneous power",
        "clock locks",
        "GPU to ourselves",
        "whole GPU (MIG off)",
    ):
        answer, detail, remedy = rows[check]
        assert answer == "no", check
        assert detail
        assert remedy
    assert standin.calls == []


def test_the_doctor_without_a_driver_still_tells_of_the_software(standin):
    standin.fail("no_driver")
    rows = json.loads(standin.run("doctor")[1])
    assert rows["GPU"][0] == "no"
    assert "driver is not loaded" in rows["GPU"][1]
    assert rows["nvidia-ml-py"][0] == "yes"
