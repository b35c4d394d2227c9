import os
import signal

import pytest
from twins import twin

from calibrate.clocks import default_state_dir, locked_clocks, refuse_if_busy, verdict
from calibrate.twin import TwinGpu
from calibrate.window import EnergySource, Window
from phasewatt.errors import UnsupportedGpu


def window(mean_mhz, median_mhz=None, **shares):
    return Window(
        start_s=0.0,
        end_s=2.0,
        energy_j=600.0,
        power_w=300.0,
        power_se_w=1.0,
        energy_source=EnergySource.COUNTER,
        sm_mhz=mean_mhz,
        sm_mhz_median=mean_mhz if median_mhz is None else median_mhz,
        sm_mhz_min=mean_mhz,
        sm_mhz_max=mean_mhz,
        memory_mhz=2619.0,
        temperature_c=50.0,
        throttle_shares={"power cap": shares.get("capped", 0.0)},
        samples=200,
    )


def test_a_clock_within_one_percent_holds():
    assert verdict(1980, window(1965)).held
    assert not verdict(1980, window(1950)).held


def test_a_clock_that_held_for_half_of_the_window_did_not_hold():
    assert not verdict(1200, window(1590, median_mhz=1200)).held


def test_the_cap_is_named_only_where_it_lowers_the_clock():
    assert verdict(1980, window(1600, capped=0.9)).reason == "power cap"
    assert verdict(1200, window(1600, capped=0.9)).reason == "lock did not hold"
    assert verdict(1200, window(900, capped=0.0)).reason == "lock did not hold"


def test_a_twin_is_given_back_after_an_error_and_leaves_no_record(tmp_path):
    gpu, _, _ = twin()

    def lock_and_fail():
        with locked_clocks(gpu, tmp_path) as lock:
            lock.lock_sm(1200)
            assert gpu.locked_sm_mhz == 1200
            assert lock.locked == ("sm",)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        lock_and_fail()
    assert gpu.locked_sm_mhz is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_the_reset_waits_for_it(number, tmp_path):
    gpu, _, _ = twin()

    class Interrupted(TwinGpu):
        def reset_sm_clock(self):
            os.kill(os.getpid(), number)
            super().reset_sm_clock()

    gpu.__class__ = Interrupted
    expected = KeyboardInterrupt if number == signal.SIGINT else SystemExit
    before = signal.getsignal(number)
    with pytest.raises(expected), locked_clocks(gpu, tmp_path) as lock:
        lock.lock_sm(1200)
    assert gpu.locked_sm_mhz is None
    assert signal.getsignal(number) is before


def test_a_handler_that_somebody_else_set_is_left_alone(tmp_path):
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("theirs"))
    try:
        gpu, _, _ = twin()
        with locked_clocks(gpu, tmp_path) as lock:
            lock.lock_sm(1200)
            os.kill(os.getpid(), signal.SIGTERM)
        assert seen == ["theirs"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_lock_that_is_denied_after_one_that_held_is_still_given_back(tmp_path):
    gpu, _, _ = twin()

    def lock_both():
        with locked_clocks(gpu, tmp_path) as lock:
            lock.lock_sm(1200)
            lock.lock_memory(1)

    with pytest.raises(UnsupportedGpu, match="memory clock 1 MHz"):
        lock_both()
    assert gpu.locked_sm_mhz is None


def test_own_processes_may_use_the_gpu():
    gpu, _, _ = twin(other_pids=(os.getpid(), 4321))
    with pytest.raises(UnsupportedGpu, match="pid 4321"):
        refuse_if_busy(gpu)
    refuse_if_busy(gpu, frozenset({os.getpid(), 4321}))
    refuse_if_busy(gpu, force=True)


def test_records_are_kept_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state_dir() == tmp_path / "phasewatt" / "locks"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_state_dir() == tmp_path / ".local" / "state" / "phasewatt" / "locks"
