"""KV caches that stay at one context, so that every step of a loop does the same work.

In: shape, dtype and a random generator. Out: transformers caches: one that copies itself in every
step as ``generate`` does, and one whose tensors never move, which a graph can be captured over.
"""

from collections.abc import Callable
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from model.geometry import Geometry

Tensor = Any
Dtype = Any


class ForgetfulLayer(DynamicLayer):  # type: ignore[misc]  # torch and transformers are untyped
    """A layer of a DynamicCache that gives back keys and values with the new token, but drops it.

    Appending copies the whole layer, as it does in ``generate``; only the result is not kept, so
    the next step finds the same context.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        _fill(self, keys, values)

    def update(self, key: Tensor, value: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Return all keys and values, each (batch, KV heads, context, head_dim)."""
        return torch.cat([self.keys, key], dim=-2), torch.cat([self.values, value], dim=-2)


class ExactLayer(DynamicLayer):  # type: ignore[misc]
    """A layer exactly as long as the context: new tokens overwrite the last ones, in place.

    With no slot left empty there is nothing to mask. transformers' own StaticCache needs a mask,
    and a mask rules out the kernels that read grouped KV heads once.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        _fill(self, keys, values)

    def update(self, key: Tensor, value: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Return all keys and values, each (batch, KV heads, context, head_dim)."""
        self.keys[:, :, -key.shape[2] :].copy_(key)
        self.values[:, :, -value.shape[2] :].copy_(value)
        return self.keys, self.values


def forgetful_cache(
    geometry: Geometry, batch: int, context_tokens: int, dtype: Dtype, generator: torch.Generator
) -> Cache:
    """Return a cache in which every decode step attends to ``context_tokens`` tokens.

    It holds one token less, each entry drawn from the standard normal distribution.
    """
    return _cache(ForgetfulLayer, geometry, batch, context_tokens - 1, dtype, generator)


def exact_cache(
    geometry: Geometry, batch: int, tokens: int, dtype: Dtype, generator: torch.Generator
) -> Cache:
    """Return a cache of ``tokens`` tokens whose last each step overwrites; entries as above."""
    return _cache(ExactLayer, geometry, batch, tokens, dtype, generator)


def _cache(
    layer: Callable[[Tensor, Tensor], Any],
    geometry: Geometry,
    batch: int,
    tokens: int,
    dtype: Dtype,
    generator: torch.Generator,
) -> Cache:
    shape = (batch, geometry.num_key_value_heads, tokens, geometry.head_dim)

    def draw() -> Tensor:
        drawn = torch.empty(shape, dtype=dtype, device=generator.device)
        return drawn.normal_(generator=generator)

    return Cache(layers=[layer(draw(), draw()) for _ in range(geometry.num_hidden_layers)])


def _fill(layer: DynamicLayer, keys: Tensor, values: Tensor) -> None:
    layer.keys, layer.values = keys, values
    layer.dtype, layer.device = keys.dtype, keys.device
    layer.is_initialized = True
