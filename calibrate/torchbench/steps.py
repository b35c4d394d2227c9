"""One engine step that can be repeated for ever: the same tokens, the same context, the same work.

In: a model and a point. Out: a :data:`Step`, which launches the step and returns its logits; as
plain launches, or as one captured graph.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from calibrate.bench import Engine, Point
from calibrate.torchbench.attention import implementation
from calibrate.torchbench.caches import exact_cache, forgetful_cache
from model.geometry import Geometry
from model.work import Phase

Tensor = Any
Model = Any
Step = Callable[[], Tensor]
"""Launches one step and returns logits of shape (batch, vocabulary), perhaps before it is done."""

EAGER_ATTENTION = "sdpa"
"""What transformers uses when nobody asks for anything else."""


def build_step(
    model: Model, geometry: Geometry, point: Point, kernel: str, generator: torch.Generator
) -> Step:
    """Return the step of ``point``; call it under ``torch.inference_mode``.

    ``eager`` is what ``generate`` does per step: transformers' default attention, a cache that
    grows by copying, one launch per kernel. ``cuda-graph`` keeps the cache in place, attends with
    ``kernel``, and on a GPU replays one captured graph, prefill included: that saves the launches
    of short prompts and costs long ones nothing. On the CPU it is launched plainly.

    Tokens and the context of decode are drawn from ``generator``. Both engines choose the likeliest
    token, and in decode feed it to the next step.

    Raises:
        RuntimeError: the graph does not compute what the plain launches do.
    """
    device = generator.device
    length = point.prompt_tokens if point.phase is Phase.PREFILL else 1
    shape = (point.batch, length)
    ids = torch.randint(geometry.vocab_size, shape, generator=generator, device=device)
    if point.engine is Engine.EAGER:
        model.set_attn_implementation(EAGER_ATTENTION)
        cache = None
        if point.phase is Phase.DECODE:
            cache = forgetful_cache(
                geometry, point.batch, point.context_tokens, model.dtype, generator
            )
        return _launched(model, ids, cache, None)
    model.set_attn_implementation(implementation(point.phase, kernel))
    tokens = length if point.phase is Phase.PREFILL else point.context_tokens
    cache = exact_cache(geometry, point.batch, tokens, model.dtype, generator)
    positions = torch.arange(tokens - length, tokens, device=device)[None]
    step = _launched(model, ids, cache, positions)
    return step if device.type == "cpu" else _captured(step, ids)


def _launched(model: Model, ids: Tensor, cache: Any, positions: Tensor | None) -> Step:
    """Return one forward pass; without a ``cache`` the model makes a DynamicCache of its own."""

    def step() -> Tensor:
        out = model(
            input_ids=ids,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = out.logits[:, -1]
        chosen = logits.argmax(dim=-1, keepdim=True)
        if ids.shape[1] == 1:
            ids.copy_(chosen)
        return logits

    return step


CAPTURE_WARM_UPS = 3
"""Steps before a capture, on a stream beside: libraries allocate and pick kernels in them."""

LOGITS_TOLERANCE = 0.1
"""Largest root-mean-square difference between logits of the graph and of plain launches, over that
of the logits. Rounding to two bytes, which random layers amplify, gives a few hundredths where a
library picks another kernel under capture; a graph that reads stale inputs gives more than one."""


def _captured(step: Step, ids: Tensor) -> Step:
    """Return the replay of ``step``, captured, after comparing it with plain launches."""
    first = ids.clone()
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(CAPTURE_WARM_UPS):
            ids.copy_(first)
            plain = step().clone()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = step()
    ids.copy_(first)
    graph.replay()
    difference = float((logits - plain).float().norm() / plain.float().norm())
    if not difference <= LOGITS_TOLERANCE:
        raise RuntimeError(f"the captured step's logits differ by {difference:.2g} of their size")
    return _Replay(graph, logits, step)


@dataclass(frozen=True)
class _Replay:
    """A captured step; ``launched`` keeps alive what the graph reads and writes."""

    graph: torch.cuda.CUDAGraph
    logits: Tensor
    launched: Step

    def __call__(self) -> Tensor:
        self.graph.replay()
        return self.logits
