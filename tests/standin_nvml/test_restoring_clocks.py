"""Clocks are given back whatever happens, through the real NVML path and a real watchdog."""

import json
import os
import signal

import pytest

LOCK_RESET = [("set_sm", 1200), ("reset_sm", 0)]


def test_success_gives_back_everything_that_was_locked(standin):
    code, _, err = standin.run("succeed")
    assert (code, err) == (0, "")
    assert standin.calls == [
        ("set_sm", 1200),
        ("set_sm", 900),
        ("set_memory", 1593),
        ("reset_sm", 0),
        ("reset_memory", 0),
    ]
    assert standin.records == []


def test_what_was_never_locked_is_never_reset(standin):
    assert standin.run("lock_nothing")[0] == 0
    assert standin.calls == []
    assert standin.records == []


def test_an_exception_gives_the_clock_back(standin):
    code, _, err = standin.run("fail")
    assert code == 1
    assert "the measurement failed" in err
    assert standin.calls == LOCK_RESET
    assert standin.records == []


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_a_signal_gives_the_clock_back(standin, number, code):
    child = standin.start("hang")
    assert child.stdout.readline() == "locked\n"
    child.send_signal(number)
    child.communicate(timeout=15)
    assert child.returncode == code
    assert standin.calls == LOCK_RESET
    assert standin.callers == [child.pid, child.pid]
    assert standin.records == []


def test_after_sigkill_the_watchdog_gives_the_clock_back(standin, eventually):
    child = standin.start("hang")
    assert child.stdout.readline() == "locked\n"
    assert standin.sm_mhz == 1200
    child.kill()
    child.communicate()
    assert eventually(lambda: standin.records == [])
    assert standin.calls == LOCK_RESET
    assert standin.callers[1] != child.pid
    assert standin.sm_mhz == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_process_group_gives_the_clock_back(standin, eventually, number):
    child = standin.start("hang", session=True)
    assert child.stdout.readline() == "locked\n"
    os.killpg(child.pid, number)
    child.communicate()
    assert eventually(lambda: standin.records == [])
    assert standin.calls == LOCK_RESET


def test_a_forked_child_that_holds_the_pipe_does_not_hide_the_death(standin, eventually):
    child = standin.start("fork_and_hang", session=True)
    assert child.stdout.readline() == "locked\n"
    child.kill()
    child.wait()
    try:
        assert eventually(lambda: standin.records == [])
        assert standin.calls == LOCK_RESET
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def test_the_next_start_gives_back_what_both_dead_left(standin):
    child = standin.start("hang")
    assert child.stdout.readline() == "locked\n"
    (record,) = standin.records
    watchdog = json.loads(record.read_text())["watchdog"]
    os.kill(watchdog, signal.SIGKILL)
    child.kill()
    child.communicate()
    assert standin.sm_mhz == 1200
    assert standin.run("clear") == (0, "cleared sm\n", "")
    assert standin.calls == LOCK_RESET
    assert standin.records == []
    assert standin.run("clear") == (0, "nothing left\n", "")


def test_a_record_of_an_earlier_boot_stands_for_no_lock(standin):
    directory = standin.directory / "state" / "phasewatt" / "locks"
    directory.mkdir(parents=True)
    record = {
        "uuid": "GPU-standin",
        "locked": ["sm"],
        "owner": "1:1",
        "watchdog": 0,
        "boot_id": "x",
    }
    (directory / "GPU-standin.json").write_text(json.dumps(record))
    assert standin.run("clear") == (0, "nothing left\n", "")
    assert standin.calls == []


def test_a_reset_that_fails_is_told_and_left_to_the_next_start(standin):
    standin.fail("reset_fails")
    code, _, err = standin.run("succeed")
    assert code == 2
    assert err.startswith("cannot reset the")
    assert err.count("\n") == 1
    assert standin.sm_mhz == 900
    standin.fail()
    assert standin.run("clear") == (0, "cleared sm memory\n", "")
    assert standin.sm_mhz == 0


def test_a_second_run_is_refused_while_the_first_lives(standin):
    child = standin.start("hang")
    assert child.stdout.readline() == "locked\n"
    code, _, err = standin.run("succeed")
    assert code == 2
    assert err == (
        f"another run (pid {child.pid}) has locked this GPU's clocks: wait for it or end it\n"
    )
    assert standin.sm_mhz == 1200
    child.terminate()
    child.communicate()
    assert standin.calls == LOCK_RESET


def test_without_its_watchdog_nothing_more_is_locked(standin):
    code, _, err = standin.run("lose_watchdog")
    assert code == 2
    assert "watchdog" in err
    assert standin.calls == LOCK_RESET


def test_no_permission_is_one_line_and_nothing_is_reset(standin):
    standin.fail("no_permission")
    code, _, err = standin.run("succeed")
    assert code == 2
    assert err == (
        "cannot lock the SM clock: no permission: run as root, or measure without locks by "
        "--clocks steer or observe\n"
    )
    assert standin.calls == []
    assert standin.records == []


def test_a_gpu_in_use_is_refused_unless_forced(standin):
    standin.fail("busy=1")
    code, _, err = standin.run("succeed")
    assert code == 2
    assert err.startswith("other processes use this GPU (pid 1)")
    assert standin.calls == []
    assert standin.run("force")[0] == 0
    assert standin.calls == LOCK_RESET


def test_mig_is_refused(standin):
    standin.fail("mig")
    code, _, err = standin.run("succeed")
    assert code == 2
    assert err.startswith("MIG is on")
    assert standin.calls == []


def test_an_unwritable_state_directory_refuses_before_any_lock(standin):
    (standin.directory / "state").write_text("a file where a directory should be")
    code, _, err = standin.run("succeed")
    assert code == 2
    assert "cannot keep the record of a lock" in err
    assert standin.calls == []
