"""Both engines compute what plain transformers computes, step after step at one context."""

import pytest
import torch
from torch_points import BIASED, GROUPED, LLAMA, point
from transformers import DynamicCache

from calibrate.bench import Engine
from calibrate.torchbench.attention import KERNELS
from calibrate.torchbench.caches import exact_cache, forgetful_cache
from calibrate.torchbench.steps import build_step
from calibrate.torchbench.weights import random_model
from model.work import Phase

CPU = torch.device("cpu")
STEPS = 6

ways = pytest.mark.parametrize(
    ("engine", "kernel"),
    [(Engine.EAGER, "sdpa"), (Engine.CUDA_GRAPH, "flash"), (Engine.CUDA_GRAPH, None)],
)
shapes = pytest.mark.parametrize("geometry", [GROUPED, BIASED, LLAMA], ids=lambda g: g.name)


def generator():
    return torch.Generator(CPU).manual_seed(7)


def plain(model, ids, context=None):
    """Logits of transformers' own attention by matrix products, over a cache of ``context``."""
    model.set_attn_implementation("eager")
    cache = DynamicCache()
    for number, layer in enumerate(context or ()):
        cache.update(*layer, number)
    return model(input_ids=ids, past_key_values=cache, use_cache=True).logits[:, -1]


@ways
@shapes
def test_decode_steps_compute_what_plain_transformers_does_at_one_context(geometry, engine, kernel):
    kernel = kernel or list(KERNELS[Phase.DECODE])[-1]
    asked = point(Phase.DECODE, engine, geometry.name)
    model = random_model(geometry, torch.float32, CPU, seed=1)
    step = build_step(model, geometry, asked, kernel, generator())
    found = [step().clone() for _ in range(STEPS)]

    drawn = generator()
    ids = torch.randint(geometry.vocab_size, (asked.batch, 1), generator=drawn)
    make = forgetful_cache if engine is Engine.EAGER else exact_cache
    cache = make(geometry, asked.batch, asked.context_tokens, torch.float32, drawn)
    seen = asked.context_tokens - 1
    context = [(layer.keys[:, :, :seen], layer.values[:, :, :seen]) for layer in cache.layers]
    for logits in found:
        torch.testing.assert_close(logits, plain(model, ids, context), rtol=1e-4, atol=1e-5)
        ids = logits.argmax(-1, keepdim=True)


@ways
@shapes
def test_prefill_steps_compute_what_plain_transformers_does(geometry, engine, kernel):
    kernel = kernel or list(KERNELS[Phase.PREFILL])[-1]
    asked = point(Phase.PREFILL, engine, geometry.name)
    model = random_model(geometry, torch.float32, CPU, seed=1)
    step = build_step(model, geometry, asked, kernel, generator())
    first, second = step().clone(), step().clone()
    shape = (asked.batch, asked.prompt_tokens)
    ids = torch.randint(geometry.vocab_size, shape, generator=generator())
    truth = plain(model, ids)
    torch.testing.assert_close(first, truth, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(second, first, rtol=0, atol=0)
    assert first.shape == (asked.batch, geometry.vocab_size)


def test_eager_prefill_chooses_the_token_that_generate_chooses():
    asked = point(Phase.PREFILL, Engine.EAGER)
    model = random_model(GROUPED, torch.float32, CPU, seed=1)
    logits = build_step(model, GROUPED, asked, "sdpa", generator())()
    shape = (asked.batch, asked.prompt_tokens)
    ids = torch.randint(GROUPED.vocab_size, shape, generator=generator())
    generated = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=False, pad_token_id=0
    )
    assert torch.equal(generated[:, -1], logits.argmax(-1))


def test_an_exact_cache_stays_where_it_is_and_a_forgetful_one_drops_the_token():
    exact = exact_cache(GROUPED, 3, 12, torch.float16, generator())
    places = [layer.keys.data_ptr() for layer in exact.layers]
    token = torch.ones(3, 2, 1, 16, dtype=torch.float16)
    before = exact.layers[1].values.clone()
    for _ in range(3):
        keys, values = exact.update(token, 2 * token, 1)
    assert keys.shape == values.shape == (3, 2, 12, 16)
    assert torch.equal(values[:, :, :-1], before[:, :, :-1])
    assert torch.equal(values[:, :, -1:], 2 * token)
    assert [layer.keys.data_ptr() for layer in exact.layers] == places

    forgetful = forgetful_cache(GROUPED, 3, 12, torch.float16, generator())
    for _ in range(3):
        keys, values = forgetful.update(token, 2 * token, 0)
        assert keys.shape == values.shape == (3, 2, 12, 16)
        assert forgetful.get_seq_length() == 11
    assert torch.equal(values[:, :, -1:], 2 * token)
