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
    arrival_s: Array, lengths: Lengths, limits: Limits, decode: Curves, prices: StepPrices, n: int
) -> int:
    """Return the sequences that decode together on one of ``n`` untouched replicas.

    By Little's law, their number is the rate at which they come times how long they decode, which
    is longer the more there are, and the more prefills come between; :func:`full_batch` at most.
    """
    most = full_batch(lengths, limits, decode)
    span_s = float(arrival_s[-1] - arrival_s[0])
    if span_s <= 0 or not limits.refills:
        return min(most, arrival_s.size)
    rate = arrival_s.size / span_s / n
    steps, context = float(lengths.decode_steps.mean()), _mean_context(lengths)
    prompt = int(lengths.prompt_tokens.mean())
    prefill_s = _price(prices, _prefill(1, prompt), UNLOCKED_MHZ)
    decoding = max(1 - rate * prefill_s, 1e-9)
    batch = 1.0
    for _ in range(_ROUNDS):
        size = max(1, round(batch))
        step_s = _price(prices, Step(0, 0, 0, size, round(size * context)), UNLOCKED_MHZ)
        batch = (batch + min(rate * steps * step_s / decoding, most)) / 2
    return min(max(1, round(batch)), most)


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

    Its prefill alone, and its share of decode steps of :func:`full_batch` sequences with contexts
    of mean length; where replicas do not refill, of as many steps as the longest of the batch.
    """
    batch = full_batch(lengths, limits, decode)
    steps = lengths.decode_steps.astype(np.float64)
    if not limits.refills:
        first = np.arange(0, steps.size, batch)
        steps = np.maximum.reduceat(steps, first).repeat(np.diff([*first, steps.size]))
    step = Step(0, 0, 0, batch, round(batch * _mean_context(lengths)))
    step_s = _price(prices, step, _asked(governor, step))
    prompts, inverse = np.unique(lengths.prompt_tokens, return_inverse=True)
    prefill_s = []
    for prompt in prompts.tolist():
        whole = _prefill(1, prompt)
        prefill_s.append(_price(prices, whole, _asked(governor, whole)))
    return np.asarray(np.array(prefill_s)[inverse] + steps * step_s / batch)


def _mean_context(lengths: Lengths) -> float:
    """Return the context of a decode step, averaged over all steps of all queries."""
    steps = lengths.decode_steps.astype(np.float64)
    if not steps.sum():
        return float(lengths.prompt_tokens.mean())
    middle = lengths.prompt_tokens + (steps + 1) / 2
    return float(np.average(middle, weights=steps))


def _prefill(batch: int, prompt: int) -> Step:
    return Step(batch, batch * prompt, batch * prompt * (prompt + 1) // 2, 0, 0)


def _asked(governor: Governor, step: Step) -> float:
    return float(requested_mhz(governor, step.phase, step.work(1))[0])


def _price(prices: StepPrices, step: Step, asked_mhz: float) -> float:
    return float(prices.price(step, 1, asked_mhz).time_s[0])
