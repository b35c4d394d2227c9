import builtins
import sys

import pytest
from twins import twin

from calibrate.doctor import Answer, diagnose
from calibrate.nvml import NvmlGpu
from phasewatt.errors import UnsupportedGpu


def by_check(gpu, **options):
    return {row.check: row for row in diagnose(lambda: gpu, **options)}


def test_a_healthy_twin_needs_nothing_but_software():
    rows = by_check(twin()[0])
    hardware = [row for check, row in rows.items() if check not in ("torch", "transformers")]
    assert all(row.answer is Answer.YES for row in hardware)
    assert all(row.remedy == "" for row in hardware)
    assert "twin" in rows["GPU"].detail


def test_every_no_says_what_to_do():
    gpu = twin(no_counter=True, no_instant_power=True, lock_denied=True, other_pids=(7,))[0]
    rows = diagnose(lambda: gpu)
    refused = {row.check for row in rows if row.answer is Answer.NO}
    assert {"energy counter", "instantaneous power", "clock locks", "GPU to ourselves"} <= refused
    assert all(row.remedy for row in rows if row.answer is Answer.NO)


def test_the_lock_is_tried_only_when_asked():
    gpu = twin(lock_denied=True)[0]
    assert by_check(gpu)["clock locks"].detail == "taken away by a simulated fault"
    assert "no permission" in by_check(gpu, probe_lock=True)["clock locks"].detail
    gpu = twin()[0]
    assert by_check(gpu, probe_lock=True)["clock locks"].answer is Answer.YES
    assert gpu.locked_sm_mhz is None


def test_torch_is_not_imported():
    diagnose(lambda: twin()[0])
    assert "torch" not in sys.modules


def test_a_gpu_that_is_lost_is_one_row():
    rows = by_check(twin(lost_at_s=0.0)[0])
    assert rows["GPU"].answer is Answer.NO
    assert "lost" in rows["GPU"].detail


def test_without_nvidia_ml_py_one_line_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "pynvml":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnsupportedGpu, match=r"pip install 'phasewatt\[gpu\]'"):
        NvmlGpu.open()
