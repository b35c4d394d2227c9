"""How many bytes a point needs at least, so that a hopeless one is refused before it is tried.

In: a geometry and a point. Out: bytes. A lower bound: a point above it fails for certain, and one
below it may still run out of memory when it is prepared.
"""

from calibrate.bench import Point
from model.geometry import Geometry
from model.work import Phase


def weight_bytes(geometry: Geometry, bytes_per_value: int) -> float:
    """Return the bytes of all weights, norms left out."""
    return float(geometry.parameters * bytes_per_value)


def step_bytes(geometry: Geometry, point: Point, bytes_per_value: int) -> float:
    """Return the bytes of the KV cache and of the widest activations of one step of ``point``."""
    if point.phase is Phase.DECODE:
        tokens, cached = point.batch, point.batch * point.context_tokens
    else:
        tokens = cached = point.batch * point.prompt_tokens
    widest = GATED_TENSORS * geometry.intermediate_size * tokens * bytes_per_value
    return float(geometry.kv_bytes_per_token(bytes_per_value) * cached + widest)


def gemm_operands_bytes(side: int) -> float:
    """Return the bytes of two factors and a product of ``side`` squared, two bytes each."""
    return float(3 * 2 * side**2)


GATED_TENSORS = 3
"""Activations as wide as the MLP that exist at once: gate, up, and their product."""
