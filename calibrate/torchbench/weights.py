"""A transformers model on a device: random weights of a geometry's shape, or real ones.

In: a geometry and a seed, or a folder or a name on the Hugging Face hub. Out: the model, in
inference mode, every step of which moves and multiplies as many bytes as the real one.
"""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from model.geometry import Geometry
from phasewatt.errors import BadOption

Model = Any
Device = Any
Dtype = Any

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")
"""Values of ``model_type`` whose decoder layers attend with grouped KV heads and one gated MLP."""

FULL = "full_attention"

STANDARD_DEVIATION = 0.02
"""Of random weights, as transformers initialises them: activations stay finite in two bytes."""

LONGEST = 131072
"""Positions that a random model allows; no buffer has this length."""


def shaped_model(geometry: Geometry, dtype: Dtype, device: Device) -> Model:
    """Return a model of ``geometry`` as transformers initialises it, on ``device``."""
    with device:
        return AutoModelForCausalLM.from_config(_config(geometry), dtype=dtype)


def random_model(geometry: Geometry, dtype: Dtype, device: Device, seed: int) -> Model:
    """Return a model of ``geometry`` whose matrices are drawn from ``seed``; norms are one.

    Random, never zero, since zeros switch fewer transistors: 8192-cube bf16 products on an NVIDIA
    H100 80GB HBM3 with a limit of 700 W (November 2026) ran at 675 TFLOP/s and 691 W on random
    operands, and at 823 TFLOP/s and 431 W on zeros.
    """
    model = shaped_model(geometry, dtype, device)
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("norm.weight"):
                parameter.normal_(0.0, STANDARD_DEVIATION, generator=generator)
    return model.eval().requires_grad_(False)


def real_model(source: str, dtype: Dtype, device: Device) -> Model:
    """Return the model in the folder or under the hub name ``source``.

    Raises:
        BadOption: there is none, it cannot be loaded, or its attention is not :data:`FULL`.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise BadOption(f"model {source}: cannot be loaded: {reason}") from None
    config = model.config
    windows = [kind for kind in getattr(config, "layer_types", None) or () if kind != FULL]
    if config.model_type not in ARCHITECTURES or windows or getattr(config, "sliding_window", None):
        raise BadOption(
            f"model {source}: is a {config.model_type}{' with ' + windows[0] if windows else ''}; "
            f"expected {', '.join(ARCHITECTURES)} with attention over the whole context"
        )
    return model.to(device).eval().requires_grad_(False)


def _config(geometry: Geometry) -> LlamaConfig | Qwen2Config:
    """Return a config of the architecture that has ``geometry``: biases make it a Qwen2."""
    architecture = Qwen2Config if geometry.attention_bias else LlamaConfig
    return architecture(
        num_hidden_layers=geometry.num_hidden_layers,
        hidden_size=geometry.hidden_size,
        num_attention_heads=geometry.num_attention_heads,
        num_key_value_heads=geometry.num_key_value_heads,
        head_dim=geometry.head_dim,
        intermediate_size=geometry.intermediate_size,
        vocab_size=geometry.vocab_size,
        tie_word_embeddings=geometry.tie_word_embeddings,
        max_position_embeddings=LONGEST,
    )
