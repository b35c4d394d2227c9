"""How the ``cuda-graph`` engine attends: kernels that read the KV cache once, and which is used.

In: queries of shape (batch, heads, queries, head_dim), keys and values of shape (batch, KV heads,
tokens, head_dim), a scale. Out: attention of the shape of the queries; no kernel takes a mask.

transformers attends over a static cache through a mask, with keys and values repeated for every
head: several times the bytes, and a mask rules the fast kernels out. docs/engines.md has figures.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from model.geometry import Geometry
from model.work import Phase

Tensor = Any
Dtype = Any
Device = Any
Kernel = Callable[[Tensor, Tensor, Tensor, float], Tensor]

EVERY_BACKEND = (
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
)


def sdpa(*backends: SDPBackend, causal: bool) -> Kernel:
    """Return attention through those of torch's ``backends`` that can, all of them if none named.

    Each backend groups the heads that share a KV head by itself.
    """

    def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        grouped = query.shape[1] != key.shape[1]
        with sdpa_kernel(list(backends or EVERY_BACKEND)):
            return scaled_dot_product_attention(
                query, key, value, is_causal=causal, scale=scale, enable_gqa=grouped
            )

    return attend


def grouped_matmul(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Attend with one query per sequence as two batched matrix products per KV head.

    The heads that share a KV head are the rows of the products, so no key or value is repeated.
    """
    batch, heads, _, head_dim = query.shape
    grouped = query.reshape(batch, key.shape[1], heads // key.shape[1], head_dim)
    scores = torch.matmul(grouped, key.transpose(2, 3)) * scale
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype)
    return torch.matmul(weights, value).reshape(query.shape)


KERNELS: Mapping[Phase, Mapping[str, Kernel]] = MappingProxyType(
    {
        Phase.DECODE: MappingProxyType(
            {
                "cudnn": sdpa(SDPBackend.CUDNN_ATTENTION, causal=False),
                "flash": sdpa(SDPBackend.FLASH_ATTENTION, causal=False),
                "matmul": grouped_matmul,
            }
        ),
        Phase.PREFILL: MappingProxyType(
            {
                "cudnn": sdpa(SDPBackend.CUDNN_ATTENTION, causal=True),
                "flash": sdpa(SDPBackend.FLASH_ATTENTION, causal=True),
                "sdpa": sdpa(causal=True),
            }
        ),
    }
)
"""In order of preference; the last of each phase runs everywhere. On an NVIDIA H100 80GB HBM3
(driver 580.159.04, torch 2.11.0, cuDNN 9.19, November 2026) cuDNN took the least time for every
shape of Llama 3.1 8B that was tried: 4 to 34% less than flash, the next best, in decode at batch 1
to 64 and 1024 and 4096 tokens of context, and 41 to 49% less in prefill of 1 and 8 such prompts."""


def choose_kernel(
    phase: Phase,
    geometry: Geometry,
    dtype: Dtype,
    device: Device,
    names: Sequence[str] | None = None,
) -> str:
    """Return the first kernel that runs on this device for these heads and attends rightly.

    Rightly means as float32 does, within the rounding of ``dtype``. One kernel serves all points of
    a phase, so that no kink between two of them gets into a curve.

    Raises:
        RuntimeError: none of ``names`` (by default all of the phase) does.
    """
    for name in names or KERNELS[phase]:
        if _attends(KERNELS[phase][name], phase, geometry, dtype, device):
            return name
    raise RuntimeError(f"no attention kernel of {names} runs on {device}")


def implementation(phase: Phase, kernel: str) -> str:
    """Return the name under which transformers finds ``kernel``; it then makes no mask."""
    attend = KERNELS[phase][kernel]

    def interface(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, **options: Any
    ) -> tuple[Tensor, None]:
        del module, mask
        out = attend(query, key, value, options["scaling"])
        return out.transpose(1, 2).contiguous(), None

    # By number: transformers takes every name with "flash" in it for a package to import.
    name = f"phasewatt-{phase}-{list(KERNELS[phase]).index(kernel)}"
    AttentionInterface.register(name, interface)
    return name


PROBE_TOKENS = 256


def _attends(
    kernel: Kernel, phase: Phase, geometry: Geometry, dtype: Dtype, device: Device
) -> bool:
    generator = torch.Generator(device).manual_seed(0)

    def draw(heads: int, tokens: int) -> Tensor:
        shape = (2, heads, tokens, geometry.head_dim)
        return torch.empty(shape, dtype=dtype, device=device).normal_(generator=generator)

    queries = 1 if phase is Phase.DECODE else PROBE_TOKENS
    query = draw(geometry.num_attention_heads, queries)
    key, value = (draw(geometry.num_key_value_heads, PROBE_TOKENS) for _ in range(2))
    scale = geometry.head_dim**-0.5
    with warnings.catch_warnings():
        # torch warns of each reason why a backend cannot; the next one is tried instead.
        warnings.simplefilter("ignore")
        try:
            found = kernel(query, key, value, scale).float()
        except RuntimeError:
            return False
    truth = scaled_dot_product_attention(
        query.float(),
        key.float(),
        value.float(),
        is_causal=phase is Phase.PREFILL,
        scale=scale,
        enable_gqa=geometry.num_attention_heads != geometry.num_key_value_heads,
    )
    tolerance = 4 * torch.finfo(dtype).eps
    return bool(torch.allclose(found, truth, rtol=tolerance, atol=tolerance))
