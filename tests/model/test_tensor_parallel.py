"""Replicas of several GPUs: what is divided, what is not, and what waiting for all costs."""

import numpy as np
import pytest
import structured
import tiny

from model.affine import AffinePrices
from model.mixed import mixed_curves
from model.pricing import CurvePrices, Step
from model.roofline import Launch, Roofline
from model.tensor_parallel import HOP_S, Links, all_reduce_s, tensor_parallel
from model.work import Phase, Work
from phasewatt.errors import BadCalibration, BadOption
from simulate.batching import Continuous, with_blocks

SHAPE, RATES, POWERS = structured.SHAPE, structured.RATES, structured.POWERS
LINKS = Links(gb_per_s=2.0, latency_s=5e-6)
ADDED = structured.calibration(Roofline(one_bandwidth=True, overlap=False))
"""Its time is launches + bytes / bandwidth + flops / throughput, so that it can be added up."""


def test_an_all_reduce_by_hand():
    # Four GPUs: six hops, and each sends 2 x 3 / 4 of 4 MB, 6 MB at 2 GB/s: 3 ms.
    assert all_reduce_s(4e6, 4, LINKS) == pytest.approx(5e-6 + 6 * HOP_S + 3e-3)


def seconds(gpus, context=100.0, batch=8.0):
    """A decode step at the reference clock, from the shape and the rates alone."""
    heads = max(SHAPE.num_key_value_heads, gpus)
    kv_width, query = heads * SHAPE.head_dim, SHAPE.num_attention_heads * SHAPE.head_dim
    layers, hidden = SHAPE.num_hidden_layers, SHAPE.hidden_size
    layer = hidden * (2 * query + 2 * kv_width) + 3 * hidden * SHAPE.intermediate_size
    head = SHAPE.vocab_size * hidden
    cached_bytes = batch * context * 2 * layers * kv_width * 2
    read_bytes = (layers * layer + head) * 2 + cached_bytes
    flops = 2 * batch * (layers * layer + head) + 4 * query * layers * batch * context
    launch_s = 12 * layers * RATES["launch_s"]
    device_s = read_bytes / RATES["memory_bytes_per_s"] + flops / RATES["flops_per_s"]
    waits_s = 0.0 if gpus == 1 else 2 * layers * all_reduce_s(batch * hidden * 2, gpus, LINKS)
    return launch_s + device_s / gpus + waits_s


@pytest.mark.parametrize("gpus", [1, 2, 4, 8])
def test_work_is_divided_launches_are_not_and_each_layer_waits_twice(gpus):
    split = tensor_parallel(ADDED, gpus, LINKS)
    curves = split.curves_of("tiny", Phase.DECODE)
    found_s = float(curves.time_s(Work.decode([8.0], [100.0]), 2000.0)[0])
    assert found_s == pytest.approx(seconds(gpus), rel=1e-12)


@pytest.mark.parametrize("gpus", [2, 4])
def test_power_is_that_of_all_and_falls_while_they_wait(gpus):
    work = Work.decode([8.0], [100.0])
    one = ADDED.curves_of("tiny", Phase.DECODE)
    at_once = tensor_parallel(ADDED, gpus, Links(1e12, -2 * (gpus - 1) * HOP_S))
    slow = tensor_parallel(ADDED, gpus, Links(1e-9, 0.0)).curves_of("tiny", Phase.DECODE)
    free_w = float(at_once.curves_of("tiny", Phase.DECODE).power_w(work, 2000.0)[0])
    # Without waiting, less memory and compute beside the same launches: no more than all apart.
    assert gpus * POWERS["static_w"] < free_w < gpus * float(one.power_w(work, 2000.0)[0])
    # Waiting forever, only static power is left.
    assert float(slow.power_w(work, 2000.0)[0]) == pytest.approx(
        gpus * POWERS["static_w"], rel=1e-6
    )
    assert at_once.gpu.power_limit_w == gpus * ADDED.gpu.power_limit_w
    assert at_once.gpu.idle_power_w == gpus * ADDED.gpu.idle_power_w


def test_fast_and_plain_prices_agree_on_split_curves():
    split = tensor_parallel(structured.calibration(), 2, LINKS)
    prefill, decode = (split.curves_of("tiny", phase) for phase in Phase)
    fast = AffinePrices(prefill, decode, split.gpu, None)
    plain = CurvePrices(prefill, decode, split.gpu, None, mixed_curves(prefill, decode))
    for step in (Step(1, 90, 4095, 0, 0), Step(0, 0, 0, 5, 700), Step(2, 60, 990, 5, 700)):
        for asked_mhz in (800.0, np.inf):
            for mine, other in zip(
                fast.price(step, 3, asked_mhz), plain.price(step, 3, asked_mhz), strict=True
            ):
                assert mine == pytest.approx(other, rel=1e-9)


def test_the_kv_cache_fills_what_weights_leave_on_all_gpus():
    calibration = structured.calibration(memory_bytes=2e8)
    weights = SHAPE.parameters * 2
    block = 16 * SHAPE.kv_bytes_per_token()
    for gpus in (1, 2):
        split = tensor_parallel(calibration, gpus, LINKS)
        found = with_blocks(Continuous(), split, "tiny")
        assert found.kv_blocks == int((0.9 * gpus * 2e8 - weights) // block)
    # Eight GPUs have a copy of one of the two key-value heads each.
    eight = tensor_parallel(calibration, 8, LINKS).geometry_of("tiny")
    assert eight.kv_bytes_per_token() == 4 * SHAPE.kv_bytes_per_token()


@pytest.mark.parametrize(
    ("calibration", "gpus", "line"),
    [
        (ADDED, 3, "tiny has 8 heads and an MLP of 1408; expected a number of GPUs that divides"),
        (tiny.calibration(), 2, "knows nothing of bytes and flops"),
        (
            structured.calibration(Roofline(Launch.OVERLAPPED)),
            2,
            "launches hide what an exchange takes",
        ),
    ],
)
def test_what_cannot_be_split_is_refused(calibration, gpus, line):
    with pytest.raises((BadCalibration, BadOption), match=line):
        tensor_parallel(calibration, gpus, LINKS)
