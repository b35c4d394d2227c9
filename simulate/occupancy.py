"""How many sequences a replica holds at once: at most, and usually by Little's law.

In: lengths, limits, prices of steps. Out: batch sizes, and the seconds of a replica that each
query takes where replicas are full: the capacity of the curves.
"""

import numpy as np

from model.curves import Curves
from model.pricing import Step, StepPrices
from model.work import Array, Phase, Work
from policies.governor import UNLOCKED_MHZ, Governor, requested_mhz
from simulate.batching import BLOCK_TOKENS, Limits
from simulate.service import Lengths

_ROUNDS = 60
"""Repetitions of Little's law; each moves half way to where it points."""


def full_batch(lengths: Lengths, limits: Limits, decode: Curves) -> int:
    """Return the sequences that decode together on a replica that never waits for any.

    No more than the limits allow, than fit its KV cache at their mean length half way through
    their decode, and than were calibrated.
    """
    held = lengths.prompt_tokens + lengths.decode_steps / 2
    fitting = limits.kv_blocks * BLOCK_TOKENS / float(held.mean())
    return max(1, int(min(limits.sequences, fitting, decode.domain.batch[1])))


def usual_batch(
    arrival_s: Array,
    lengths: Lengths,
    limits: Limits,
    decode: Curves,
    prices: StepPrices,
    replicas: float,
    prefill_s: float,
) -> int:
    """Return the sequences that decode together on one of ``replicas``, untouched.

    By Little's law, their number is the rate at which they come times how long they decode, which
    is longer the more there are, and the more prefills of ``prefill_s`` come between;
    :func:`full_batch` at most.
    """
    most = full_batch(lengths, limits, decode)
    span_s = float(arrival_s[-1] - arrival_s[0])
    if span_s <= 0 or not limits.refills:
        return min(most, arrival_s.size)
    rate = arrival_s.size / span_s / replicas
    steps, context = float(lengths.decode_steps.mean()), _mean_context(lengths)
    decoding = max(1 - rate * prefill_s, 1e-9)
    batch = 1.0
    for _ in range(_ROUNDS):
        size = max(1, round(batch))
        step_s = _price(prices, _decode(size, context))
        batch = (batch + min(rate * steps * step_s / decoding, most)) / 2
    return min(max(1, round(batch)), most)


def mean_prefill_s(lengths: Lengths, prices: StepPrices) -> float:
    """Return the seconds that a prompt of mean length takes alone, untouched."""
    return _price(prices, _prefill(1, int(lengths.prompt_tokens.mean())))


def typical_steps(lengths: Lengths, limits: Limits, batch: int) -> dict[Phase, Work]:
    """Return one step for each phase with median lengths and ``batch`` decoding, shape (1,).

    Prefill computes one prompt, as far as a step's tokens go; where replicas do not refill, as
    many prompts as decode.
    """
    prompt = float(np.median(lengths.prompt_tokens))
    context = prompt + (float(np.median(lengths.decode_steps)) + 1) / 2
    prompts = 1 if limits.refills else batch
    return {
        Phase.PREFILL: Work.prefill([float(prompts)], [min(prompt, limits.batched_tokens)]),
        Phase.DECODE: Work.decode([float(batch)], [context]),
    }


def busy_s(
    lengths: Lengths, limits: Limits, decode: Curves, prices: StepPrices, governor: Governor
) -> Array:
    """Return the seconds that each query takes of a full replica under ``governor``, shape (n,).

    Where replicas refill, every step decodes :func:`full_batch` sequences, or as many as leave
    tokens for the prompts that replace them, and computes as many prompt tokens as balance the
    line; a query takes its share of the steps' decode, and of what prompts add. Where they do not,
    batches are full, and each takes its prefill and as many steps as its longest query.
    """
    if limits.refills:
        return _busy_refilling(lengths, limits, decode, prices, governor)
    batch = min(full_batch(lengths, limits, decode), lengths.decode_steps.size)
    steps, prompts = lengths.decode_steps.astype(np.float64), lengths.prompt_tokens
    first = np.arange(0, steps.size, batch)
    sizes = np.diff([*first, steps.size])
    longest = np.maximum.reduceat(steps, first)
    alive = max(1, round(float(steps.sum() / max(longest.sum(), 1))))
    step_s = _price(prices, _decode(alive, _mean_context(lengths)), governor)
    prompt = round(float(prompts.mean()))
    token_s = _price(prices, _prefill(batch, prompt), governor) / (batch * prompt)
    return np.asarray(prompts * token_s + (longest * step_s / sizes).repeat(sizes))


def _busy_refilling(
    lengths: Lengths, limits: Limits, decode: Curves, prices: StepPrices, governor: Governor
) -> Array:
    steps, prompts = lengths.decode_steps.astype(np.float64), lengths.prompt_tokens
    positions = float((prompts * (prompts + 1.0)).sum()) / 2 / float(prompts.sum())
    if not steps.sum():
        tokens = min(round(float(prompts.mean())), limits.batched_tokens)
        alone = Step(1, tokens, round(tokens * positions), 0, 0)
        return np.asarray(prompts * _price(prices, alone, governor) / tokens)
    tokens_per_step = float(prompts.sum() / steps.sum())
    fitting = limits.batched_tokens / (1 + tokens_per_step)
    batch = max(1, int(min(full_batch(lengths, limits, decode), fitting)))
    plain = _decode(batch, _mean_context(lengths))
    tokens = max(1, round(batch * tokens_per_step))
    mixed = plain._replace(
        prefill_batch=1, prefill_tokens=tokens, attended_pairs=round(tokens * positions)
    )
    plain_s, mixed_s = _price(prices, plain, governor), _price(prices, mixed, governor)
    return np.asarray(steps * plain_s / batch + prompts * max(mixed_s - plain_s, 0.0) / tokens)


def _mean_context(lengths: Lengths) -> float:
    """Return the context of a decode step, averaged over all steps of all queries."""
    steps = lengths.decode_steps.astype(np.float64)
    if not steps.sum():
        return float(lengths.prompt_tokens.mean())
    middle = lengths.prompt_tokens + (steps + 1) / 2
    return float(np.average(middle, weights=steps))


def _prefill(batch: int, prompt: int) -> Step:
    return Step(batch, batch * prompt, batch * prompt * (prompt + 1) // 2, 0, 0)


def _decode(batch: int, context: float) -> Step:
    return Step(0, 0, 0, batch, round(batch * context))


def _price(prices: StepPrices, step: Step, governor: Governor | None = None) -> float:
    """Return the seconds of ``step`` under ``governor``, or untouched."""
    asked_mhz = UNLOCKED_MHZ
    if governor is not None:
        asked_mhz = float(requested_mhz(governor, step.phase, step.work(1))[0])
    return float(prices.price(step, 1, asked_mhz).time_s[0])
