"""Geometries of two layers, small enough for the CPU, and points of them."""

from calibrate.bench import Engine, Point
from model.geometry import Geometry
from model.work import Phase

GROUPED = Geometry("grouped", 2, 64, 8, 2, 16, 128, 256, True)
BIASED = Geometry("biased", 2, 64, 6, 6, 8, 96, 200, False, True)
LLAMA = Geometry("llama-like", 2, 48, 6, 2, 8, 64, 128, False)

MODELS = {geometry.name: geometry for geometry in (GROUPED, BIASED, LLAMA)}


def point(
    phase: Phase,
    engine: Engine = Engine.CUDA_GRAPH,
    model: str = "grouped",
    batch: int = 3,
    tokens: int = 12,
    dtype: str = "float32",
) -> Point:
    prompt, context = (tokens, 0) if phase is Phase.PREFILL else (0, tokens)
    return Point(model, engine, phase, batch, prompt, context, dtype)
