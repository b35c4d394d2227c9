"""The bench: what it keeps, what it frees, what it refuses, what it returns."""

import gc
import subprocess
import sys
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch_points import GROUPED, MODELS, point

from calibrate.bench import Engine, OutOfMemory, Point
from calibrate.torchbench import bench as module
from calibrate.torchbench import open_torch_bench
from calibrate.torchbench.memory import step_bytes, weight_bytes
from model.geometry import GEOMETRIES
from model.work import Phase, Work
from phasewatt.errors import BadOption, UnsupportedGpu


@pytest.fixture
def bench():
    return open_torch_bench("cpu", MODELS)


@pytest.fixture
def loads(monkeypatch):
    """Weak references to the models that were loaded, with name and dtype."""
    found = []
    load = module.random_model

    def loading(geometry, dtype, device, seed):
        model = load(geometry, dtype, device, seed)
        found.append((geometry.name, dtype, weakref.ref(model)))
        return model

    monkeypatch.setattr(module, "random_model", loading)
    return found


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("engine", Engine)
@pytest.mark.parametrize("phase", Phase)
def test_every_kind_of_step_runs(bench, phase, engine, dtype):
    bench.prepare(point(phase, engine, dtype=dtype))
    times = bench.run(4)
    assert times.step_time_s.shape == (4,)
    assert np.all(times.step_time_s > 0)
    mixed = bench.run_mixed(3, 2)
    for column in (mixed.step_time_s, mixed.gemm_time_s):
        assert column.shape == (3,)
        assert np.all(column > 0)
    assert np.all(np.isnan([mixed.sm_mhz_before, mixed.sm_mhz_after]))
    assert np.all(bench.run_mixed(2, 0).gemm_time_s == 0)


def test_a_model_stays_between_its_points_and_goes_with_the_next_model(bench, loads):
    for phase in Phase:
        for engine in Engine:
            bench.prepare(point(phase, engine))
    assert [load[:2] for load in loads] == [("grouped", torch.float32)]
    bench.prepare(point(Phase.DECODE, dtype="bfloat16"))
    bench.prepare(point(Phase.DECODE, model="biased"))
    gc.collect()
    assert [model() is not None for *_, model in loads] == [False, False, True]
    bench.release()
    assert loads[-1][2]() is None


def test_the_prepared_point_is_not_prepared_again(bench, monkeypatch):
    built = []
    build = module.build_step
    monkeypatch.setattr(module, "build_step", lambda *a: built.append(a[2]) or build(*a))
    for tokens in (8, 8, 9, 8):
        bench.prepare(point(Phase.DECODE, tokens=tokens))
    assert [each.context_tokens for each in built] == [8, 9, 8]


def test_a_point_that_cannot_fit_is_refused_before_anything_is_loaded(bench, loads, monkeypatch):
    asked = point(Phase.DECODE, batch=4, tokens=1000)
    needed = weight_bytes(GROUPED, 4) + step_bytes(GROUPED, asked, 4)
    monkeypatch.setattr(module, "free_bytes", lambda _: needed - 1)
    with pytest.raises(OutOfMemory, match="grouped cuda-graph decode 4 x 1000 float32: does not"):
        bench.prepare(asked)
    assert not loads
    monkeypatch.setattr(module, "free_bytes", lambda _: needed)
    bench.prepare(asked)
    assert bench.run(1).step_time_s.shape == (1,)


def test_memory_that_runs_out_midway_is_given_back(bench, loads, monkeypatch):
    build = module.build_step
    allocated = []

    def full(*asked):
        step = build(*asked)
        allocated.append(weakref.ref(step))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    bench.prepare(point(Phase.DECODE))
    allocated.append(weakref.ref(bench._prepared()))
    monkeypatch.setattr(module, "build_step", full)
    with pytest.raises(OutOfMemory) as raised:
        bench.prepare(point(Phase.PREFILL))
    assert raised.value.point == point(Phase.PREFILL)
    del raised
    gc.collect()
    assert [each() for each in allocated] == [None, None]
    with pytest.raises(RuntimeError, match="before prepare"):
        bench.run(1)
    monkeypatch.setattr(module, "build_step", build)
    bench.prepare(point(Phase.PREFILL))
    bench.run(1)
    assert len(loads) == 1


def test_gemms_that_do_not_fit_beside_a_point_are_out_of_memory(bench, monkeypatch):
    def full(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    bench.prepare(point(Phase.DECODE))
    monkeypatch.setattr(module.Gemms, "allocate", full)
    with pytest.raises(OutOfMemory):
        bench.run_mixed(2, 2)


@pytest.mark.parametrize("words", ["CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"])
def test_libraries_that_run_out_of_memory_are_understood(bench, monkeypatch, words):
    def full(*_):
        raise RuntimeError(words)

    monkeypatch.setattr(module, "build_step", full)
    with pytest.raises(OutOfMemory):
        bench.prepare(point(Phase.DECODE))


def test_other_errors_are_not_taken_for_lack_of_memory(bench, monkeypatch):
    def broken(*_):
        raise RuntimeError("illegal instruction")

    monkeypatch.setattr(module, "build_step", broken)
    with pytest.raises(RuntimeError, match="illegal instruction"):
        bench.prepare(point(Phase.DECODE))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_least_memory_of_a_point_is_what_its_demand_reads(name):
    geometry = GEOMETRIES[name]
    asked = Point(name, Engine.CUDA_GRAPH, Phase.DECODE, 8, 0, 1024)
    kv_bytes = float(geometry.demand(Work.decode(8, 1024)).kv_bytes)
    activations = 3 * geometry.intermediate_size * 8 * 2
    assert step_bytes(geometry, asked, 2) == kv_bytes + activations


def test_running_before_preparing_is_a_bug(bench):
    with pytest.raises(RuntimeError, match="before prepare"):
        bench.run(1)
    with pytest.raises(RuntimeError, match="before prepare"):
        bench.run_mixed(1, 1)


def test_wrong_points_are_one_line(bench):
    with pytest.raises(BadOption, match="dtype int8; expected bfloat16 or float16"):
        bench.prepare(point(Phase.DECODE, dtype="int8"))
    with pytest.raises(BadOption, match=r"llama-3\.1-9b: is not built in"):
        bench.prepare(point(Phase.DECODE, model="llama-3.1-9b"))


def test_what_computed_is_told(bench):
    bench.prepare(point(Phase.DECODE))
    bench.prepare(point(Phase.PREFILL, Engine.EAGER))
    told = bench.versions()
    assert told["torch"] == torch.__version__
    assert told["cuda-graph decode attention"] == "flash"
    assert told["eager prefill attention"] == "sdpa"
    assert "cuda" not in told


def test_a_saved_model_is_measured_by_its_folder(bench, tmp_path):
    module.random_model(GROUPED, torch.float32, torch.device("cpu"), 0).save_pretrained(tmp_path)
    bench.prepare(point(Phase.DECODE, model=str(tmp_path)))
    bench.run(1)


def test_devices_that_torch_does_not_see_are_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UnsupportedGpu, match="sees no CUDA GPU"):
        open_torch_bench("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    uuids = ["11-aa", "22-bb"]
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid=uuids[number])
    )
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for wrong, words in (
        ("GPU-33-cc", "torch does not see GPU-33-cc, only GPU-11-aa, GPU-22-bb; set CUDA_VISIBLE"),
        ("cuda:2", "no device cuda:2: torch sees 2"),
        ("tpu", "expected cpu, cuda"),
        ("cuda:x", "expected cpu, cuda"),
    ):
        with pytest.raises(UnsupportedGpu, match=words):
            open_torch_bench(wrong)
    assert not chosen
    open_torch_bench("GPU-22-bb")
    open_torch_bench("cuda")
    assert [device.index for device in chosen] == [1, 0]


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_without_torch_the_package_imports_and_opening_it_says_what_to_install(missing):
    program = f"""
import sys
sys.modules[{missing!r}] = None
import calibrate.torchbench as torchbench
print(torchbench.geometry_of("llama-3.1-8b").name)
try:
    torchbench.open_torch_bench("cpu")
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "llama-3.1-8b",
        f"UnsupportedGpu measuring needs {missing}; pip install 'phasewatt[gpu]'",
    ], done.stderr


def test_a_broken_installation_is_one_line(monkeypatch):
    def broken(name, *rest):
        if name == "transformers":
            raise ImportError("tokenizers<=0.23.0 is required\nTry: something")
        return imported(name, *rest)

    imported = __import__
    monkeypatch.setattr("builtins.__import__", broken)
    with pytest.raises(
        UnsupportedGpu, match=r"cannot be imported: tokenizers<=0\.23\.0 is required$"
    ):
        open_torch_bench("cpu")
