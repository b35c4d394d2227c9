"""Rows that a structured form itself generates, with known coefficients."""

import numpy as np

from model.geometry import GEOMETRIES
from model.structured import Block, Rows
from model.work import Phase, Work

TRUTH = {
    "launch_s": 2e-6,
    "memory_bytes_per_s": 2e12,
    "weight_bytes_per_s": 2e12,
    "kv_bytes_per_s": 1.4e12,
    "activation_bytes_per_s": 0.8e12,
    "walked_tokens_per_s": 2e8,
    "flops_per_s": 600e12,
    "gemm_flops_per_s": 600e12,
    "attention_flops_per_s": 200e12,
    "tile_tokens": 200.0,
    "prompts_per_s": 4e5,
    "launch_clock_share": 0.6,
    "weight_clock_share": 0.25,
    "memory_clock_share": 0.25,
    "kv_clock_share": 0.5,
    "activation_clock_share": 0.6,
    "compute_clock_share": 0.9,
    "overlap": 1.6,
    "voltage_slope": 0.6,
    "knee": 0.55,
    "static_w": 80.0,
    "memory_static_w": 60.0,
    "memory_dynamic_w": 250.0,
    "compute_dynamic_w": 900.0,
}

REFERENCE_MHZ = 2000.0
CLOCKS = np.linspace(600.0, 2000.0, 7)
MODELS = ("llama-3.2-1b", "llama-3.1-8b", "qwen2.5-14b")
STEPS = {
    Phase.PREFILL: ((1, 128), (1, 1024), (1, 4096), (4, 512), (8, 2048)),
    Phase.DECODE: ((1, 128), (1, 4096), (8, 1024), (32, 256), (64, 2048)),
}


def blocks(models=MODELS, engine="cuda-graph"):
    return tuple(
        Block(model, engine, phase, GEOMETRIES[model].constants())
        for model in models
        for phase in Phase
    )


def steps(of_blocks, clocks=CLOCKS):
    """The rows of ``of_blocks`` without a target: every kind of step at every clock."""
    block, sm_mhz, works = [], [], []
    for number, one in enumerate(of_blocks):
        kinds = np.array(STEPS[one.phase], dtype=np.float64)
        make = Work.prefill if one.phase is Phase.PREFILL else Work.decode
        works.append(make(np.repeat(kinds[:, 0], len(clocks)), np.repeat(kinds[:, 1], len(clocks))))
        sm_mhz.append(np.tile(clocks, len(kinds)))
        block.append(np.full(len(kinds) * len(clocks), number))
    sizes = sum(map(len, sm_mhz))
    return Rows(
        blocks=tuple(of_blocks),
        block=np.concatenate(block),
        sm_mhz=np.concatenate(sm_mhz),
        work=Work.stacked(works),
        target=np.ones(sizes),
        error=np.full(sizes, np.nan),
    )


def coefficients(form, **changes):
    return np.array([{**TRUTH, **changes}[name] for name in form.names])


def generated(rows, form, noise, rng, of_block=lambda block: {}):
    """``rows`` with the target that ``form`` gives; ``of_block`` changes coefficients by block."""
    at = rows.inputs(REFERENCE_MHZ)
    each = np.array([coefficients(form, **of_block(b)) for b in rows.blocks])[rows.block].T
    exact = form.evaluate(tuple(each), at)
    target = exact * np.exp(noise * rng.standard_normal(exact.size))
    error = np.full(exact.size, noise if noise else np.nan)
    return Rows(rows.blocks, rows.block, rows.sm_mhz, rows.work, target, error, rows.activity)
