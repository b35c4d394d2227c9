"""What a transformer asks of a GPU in one step, from its published shape: bytes, flops, launches.

In: a :class:`Geometry` and the steps as :class:`model.work.Work`. Out: a :class:`Demand`, whose
columns the physically structured curves divide by bandwidths and throughputs.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from model.provenance import STRICT
from model.work import Array, Work

KERNELS_PER_LAYER = 12
"""Kernels that one decoder layer takes at least: two norms, seven matrix products, rotary
embedding, attention, activation. Engines launch more; their launch time per kernel absorbs that."""


@dataclass(frozen=True, config=STRICT)
class Geometry:
    """The shape of a decoder-only transformer with grouped-query attention and a gated MLP.

    The fields carry the names of a Hugging Face ``config.json`` where it has them.
    """

    name: str
    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    tie_word_embeddings: bool
    attention_bias: bool = False

    @model_validator(mode="after")
    def _possible(self) -> "Geometry":
        for field in (
            "num_hidden_layers",
            "hidden_size",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "intermediate_size",
            "vocab_size",
        ):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}; expected 1 or more")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} is no multiple of "
                f"num_key_value_heads {self.num_key_value_heads}"
            )
        return self

    @property
    def layer_parameters(self) -> int:
        """Parameters of all decoder layers, norms left out."""
        query = self.num_attention_heads * self.head_dim
        key_value = 2 * self.num_key_value_heads * self.head_dim
        attention = self.hidden_size * (2 * query + key_value)
        biases = query + key_value if self.attention_bias else 0
        gated_mlp = 3 * self.hidden_size * self.intermediate_size
        return self.num_hidden_layers * (attention + biases + gated_mlp)

    @property
    def head_parameters(self) -> int:
        """Parameters of the matrix that turns hidden states into logits."""
        return self.vocab_size * self.hidden_size

    @property
    def parameters(self) -> int:
        """All parameters, norms left out."""
        embeddings = 1 if self.tie_word_embeddings else 2
        return self.layer_parameters + embeddings * self.head_parameters

    def kv_bytes_per_token(self, bytes_per_value: int = 2) -> int:
        """Return the bytes that one token takes in the KV cache."""
        values = 2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim
        return values * bytes_per_value

    def constants(self, bytes_per_value: int = 2) -> dict[str, float]:
        """Return what one unit of work asks for, as :func:`demand_of` reads it.

        Every step reads all weights once (a row of the embedding table per token is left out) and
        computes logits for one token per sequence, as generation does. Activations are what a
        token's kernels read and write when each is a kernel of its own.
        """
        query = self.num_attention_heads * self.head_dim
        key_value = 2 * self.num_key_value_heads * self.head_dim
        layers = self.num_hidden_layers
        # Norms, residuals and projections stream the hidden state fifteen times; queries pass
        # through projection, rotary embedding, attention and output; the MLP writes gate and up,
        # reads both, writes their product and reads it.
        activations = 15 * self.hidden_size + 6 * query + 2 * key_value + 6 * self.intermediate_size
        return {
            "weight_bytes": float((self.layer_parameters + self.head_parameters) * bytes_per_value),
            "kv_bytes_per_token": float(self.kv_bytes_per_token(bytes_per_value)),
            "activation_bytes_per_token": float(layers * activations * bytes_per_value),
            "gemm_flops_per_token": 2.0 * self.layer_parameters,
            "head_flops_per_sequence": 2.0 * self.head_parameters,
            "attention_flops_per_pair": 4.0 * query * layers,
            "layers": float(layers),
            "launches": float(KERNELS_PER_LAYER * layers),
        }

    def demand(self, work: Work, bytes_per_value: int = 2) -> "Demand":
        """Return what each step of ``work`` asks of the GPU; columns of the work's shape."""
        return demand_of(self.constants(bytes_per_value), work)


@dataclasses.dataclass(frozen=True)
class Demand:
    """What steps ask of the GPU, as columns of the work's shape.

    Attributes:
        weight_bytes: bytes of weights read.
        kv_bytes: bytes of KV cache read (decode) or written (prefill).
        gemm_flops: floating-point operations of matrix products with weights.
        attention_flops: floating-point operations of attention.
        launches: kernels launched or replayed.
        activation_bytes: bytes of activations read and written.
        kv_walks: tokens that attention walks one after another, summed over layers: the cache of
            one sequence in decode, whatever the batch; 0 in prefill.
        attended_prompts: prompts that attention works on, summed over layers; 0 in decode.
    """

    weight_bytes: Array
    kv_bytes: Array
    gemm_flops: Array
    attention_flops: Array
    launches: Array
    activation_bytes: Array
    kv_walks: Array
    attended_prompts: Array


def demand_of(constants: Mapping[str, float | Array], work: Work) -> Demand:
    """Return what each step of ``work`` asks of the GPU, given :meth:`Geometry.constants`.

    Constants may be arrays of the work's shape, where steps of several models are stacked.
    """
    tokens = work.prefill_tokens + work.decode_batch
    sequences = work.prefill_batch + work.decode_batch
    pairs = work.attended_pairs + work.context_tokens
    cached = work.context_tokens + work.prefill_tokens
    none = np.zeros_like(tokens)
    return Demand(
        weight_bytes=none + constants["weight_bytes"],
        kv_bytes=cached * constants["kv_bytes_per_token"],
        gemm_flops=tokens * constants["gemm_flops_per_token"]
        + sequences * constants["head_flops_per_sequence"],
        attention_flops=pairs * constants["attention_flops_per_pair"],
        launches=none + constants["launches"],
        activation_bytes=tokens * constants["activation_bytes_per_token"],
        kv_walks=work.context_tokens / np.maximum(work.decode_batch, 1) * constants["layers"],
        attended_prompts=work.prefill_batch * constants["layers"],
    )


GEOMETRIES: Mapping[str, Geometry] = MappingProxyType(
    {
        geometry.name: geometry
        for geometry in (
            Geometry("llama-3.2-1b", 16, 2048, 32, 8, 64, 8192, 128256, True),
            Geometry("llama-3.2-3b", 28, 3072, 24, 8, 128, 8192, 128256, True),
            Geometry("llama-3.1-8b", 32, 4096, 32, 8, 128, 14336, 128256, False),
            Geometry("qwen2.5-14b", 48, 5120, 40, 8, 128, 13824, 152064, False, True),
            Geometry("qwen2.5-32b", 64, 5120, 40, 8, 128, 27648, 152064, False, True),
        )
    }
)
"""Shapes of the paper's models, from the ``config.json`` that their makers publish on the
Hugging Face hub (meta-llama/Llama-3.2-1B, Llama-3.2-3B, Llama-3.1-8B; Qwen/Qwen2.5-14B, 32B)."""
