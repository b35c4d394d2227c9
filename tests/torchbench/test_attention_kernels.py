"""Attention kernels against attention written out, and which of them is chosen."""

import pytest
import torch
from torch_points import GROUPED

from calibrate.torchbench import attention
from calibrate.torchbench.attention import KERNELS, choose_kernel, grouped_matmul
from model.work import Phase

CPU = torch.device("cpu")


def written_out(query, key, value, scale, causal):
    groups = query.shape[1] // key.shape[1]
    out = torch.empty_like(query)
    for head in range(query.shape[1]):
        scores = query[:, head] @ key[:, head // groups].transpose(1, 2) * scale
        if causal:
            hidden = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(hidden, -torch.inf)
        out[:, head] = scores.softmax(-1) @ value[:, head // groups]
    return out


ON_THE_CPU = [(phase, name) for phase in Phase for name in KERNELS[phase] if name != "cudnn"]


@pytest.mark.parametrize(("phase", "name"), ON_THE_CPU)
@pytest.mark.parametrize("heads", [(8, 2), (6, 6), (4, 1)])
def test_kernels_attend_as_written_out(phase, name, heads):
    queries = 1 if phase is Phase.DECODE else 9
    query = torch.randn(3, heads[0], queries, 16)
    key, value = torch.randn(2, 3, heads[1], 9, 16)
    found = KERNELS[phase][name](query, key, value, 0.3)
    truth = written_out(query, key, value, 0.3, phase is Phase.PREFILL)
    torch.testing.assert_close(found, truth, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_cudnn_is_passed_over_where_it_does_not_run(phase, dtype):
    assert choose_kernel(phase, GROUPED, dtype, CPU) == "flash"
    with pytest.raises(RuntimeError, match="cudnn"):
        choose_kernel(phase, GROUPED, dtype, CPU, ("cudnn",))


def test_a_kernel_that_attends_wrongly_is_passed_over(monkeypatch):
    def wrong(query, key, value, scale):
        return grouped_matmul(query, key[:, :, :-1], value[:, :, :-1], scale)

    kernels = {Phase.DECODE: {"wrong": wrong, "right": grouped_matmul}}
    monkeypatch.setattr(attention, "KERNELS", kernels)
    assert choose_kernel(Phase.DECODE, GROUPED, torch.float32, CPU) == "right"
