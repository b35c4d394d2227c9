"""What each way to attend costs in a captured decode step and in prefill, on one GPU.

In: a model's name, batches and lengths. Out: CSV on standard output. First attention alone, of all
layers: milliseconds, bytes of KV cache per second, largest error against float32. Then whole steps
of both engines, with each kernel, as the bench runs them.
"""

import argparse
import csv
import itertools
import sys

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from calibrate.bench import Engine, OutOfMemory, Point
from calibrate.torchbench.attention import KERNELS
from calibrate.torchbench.bench import TorchBench
from calibrate.torchbench.device import find_device
from calibrate.torchbench.steps import EAGER_ATTENTION
from model.geometry import GEOMETRIES, Geometry
from model.work import Phase

REPLAYS = 20
STEPS = 8
MOST_PREFILL_TOKENS = 16384


def main() -> None:
    """Print one line per phase, shape and path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="llama-3.1-8b", choices=sorted(GEOMETRIES))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--lengths", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--skip", choices=["attention", "step"])
    options = parser.parse_args()
    geometry = GEOMETRIES[options.model]
    device = find_device("cuda")
    print(f"# {torch.cuda.get_device_name()}, torch {torch.__version__}", file=sys.stderr)
    shapes = [
        (phase, batch, tokens)
        for phase in Phase
        for batch in options.batches
        for tokens in options.lengths
        if phase is Phase.DECODE or batch * tokens <= MOST_PREFILL_TOKENS
    ]
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(["what", "phase", "batch", "tokens", "path", "ms", "gb_per_s", "error"])
    for phase, batch, tokens in shapes if options.skip != "attention" else ():
        kv_bytes = geometry.kv_bytes_per_token() * batch * tokens
        for path, ms, error in _attention(geometry, phase, batch, tokens):
            figures = f"{ms:.3f}", f"{kv_bytes / ms / 1e6:.0f}", f"{error:.1e}"
            lines.writerow(["attention", phase, batch, tokens, path, *figures])
            sys.stdout.flush()
    if options.skip != "step":
        for phase, batch, tokens, path, ms in _steps(geometry, shapes, device):
            lines.writerow(["step", phase, batch, tokens, path, f"{ms:.3f}", "", ""])
            sys.stdout.flush()


def _attention(geometry: Geometry, phase: Phase, batch: int, tokens: int):
    """Yield for each path its ms for all layers and its largest error."""
    layers = geometry.num_hidden_layers if phase is Phase.DECODE else 1
    queries = 1 if phase is Phase.DECODE else tokens
    draw = {"dtype": torch.bfloat16, "device": "cuda"}
    query = torch.randn(batch, geometry.num_attention_heads, queries, geometry.head_dim, **draw)
    # Each layer has a cache of its own, as in a model: one layer's would stay in the L2 cache.
    shape = (batch, geometry.num_key_value_heads, tokens, geometry.head_dim)
    caches = [(torch.randn(shape, **draw), torch.randn(shape, **draw)) for _ in range(layers)]
    scale = geometry.head_dim**-0.5
    first = [each[:1].float() for each in (query, *caches[0])]
    truth = scaled_dot_product_attention(
        *first, is_causal=queries > 1, scale=scale, enable_gqa=True
    )
    for path, kernel in {**KERNELS[phase], "masked-repeated": _masked_repeated}.items():
        try:
            error = (kernel(query, *caches[0], scale)[:1].float() - truth).abs().max().item()
            ms = _captured_ms(lambda kernel=kernel: [kernel(query, *kv, scale) for kv in caches])
        except RuntimeError as refusal:
            print(f"# {phase} {batch} x {tokens} {path}: {str(refusal)[:90]!r}", file=sys.stderr)
            continue
        yield path, ms * geometry.num_hidden_layers / layers, error


def _masked_repeated(query, key, value, scale):
    """Attend as transformers does over a static cache: keys repeated for every head, a mask."""
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, dim=1) for each in (key, value))
    seen = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril(
        key.shape[2] - query.shape[2]
    )
    return scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scale)


def _captured_ms(launch) -> float:
    """Return the median ms of a replay of what ``launch`` launches."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        launch()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        launch()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(REPLAYS + 1)]
    for event in events:
        event.record()
        graph.replay()
    torch.cuda.synchronize()
    spans_ms = [before.elapsed_time(after) for before, after in itertools.pairwise(events)]
    del graph
    torch.cuda.empty_cache()
    return float(np.median(spans_ms[2:]))


def _steps(geometry: Geometry, shapes, device):
    """Yield for each shape and path the median ms of a whole step."""
    ways = [(Engine.EAGER, EAGER_ATTENTION)]
    ways += [
        (Engine.CUDA_GRAPH, name) for name in dict.fromkeys(itertools.chain(*KERNELS.values()))
    ]
    for engine, kernel in ways:
        bench = TorchBench(device, {}, 0, (kernel,))
        for phase, batch, tokens in shapes:
            if engine is Engine.CUDA_GRAPH and kernel not in KERNELS[phase]:
                continue
            prompt, context = (tokens, 0) if phase is Phase.PREFILL else (0, tokens)
            try:
                bench.prepare(Point(geometry.name, engine, phase, batch, prompt, context))
            except OutOfMemory as refusal:
                print(f"# {refusal}", file=sys.stderr)
                continue
            step_s = bench.run(STEPS).step_time_s
            yield phase, batch, tokens, f"{engine} {kernel}", 1e3 * float(np.median(step_s))
        bench.release()


if __name__ == "__main__":
    with torch.inference_mode():
        main()
