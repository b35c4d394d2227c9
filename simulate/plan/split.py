"""How a disaggregated fleet is split into its two pools.

In: a policy made ready, queries, goals. Out: the share of replicas that prefill: an estimate, which
only says which fleets are run.
"""

import numpy as np

from model.work import Phase, Work
from simulate.batching import Disaggregated, limits_of
from simulate.occupancy import full_batch
from simulate.plan.goals import LatencyGoal
from simulate.prepare import Prepared
from simulate.serving import Queries

POOLS = "disaggregated"
"""How ``--batching`` is written where a plan splits the fleet."""

_HASTE = 0.8
"""Of the limit on TPOT, what a step of the decoding pool is taken to last at most."""


def pool_seconds(
    ready: Prepared, queries: Queries, goals: tuple[LatencyGoal, ...]
) -> tuple[float, float]:
    """Return the seconds of replicas that all prefills take, one by one, and all decodes.

    Decodes are taken in steps of the largest batch that was calibrated, fits, and does not last
    longer than :data:`_HASTE` of the limit on TPOT.
    """
    lengths, decode = queries.lengths, ready.curves[Phase.DECODE]
    prefill_mhz, decode_mhz = ready.held_mhz[Phase.PREFILL], ready.held_mhz[Phase.DECODE]
    prompts = Work.prefill(1.0, lengths.prompt_tokens)
    prefill_s = float(ready.curves[Phase.PREFILL].time_s(prompts, prefill_mhz).sum())
    steps = lengths.decode_steps.astype(np.float64)
    if not steps.sum():
        return prefill_s, 0.0
    assert isinstance(ready.batching, Disaggregated)
    sizes = np.arange(1.0, full_batch(lengths, limits_of(ready.batching), decode) + 1)
    context = float(np.average(lengths.prompt_tokens + (steps + 1) / 2, weights=steps))
    steps_s = decode.time_s(Work.decode(sizes, context), decode_mhz)
    limit_s = next((goal.limit_s for goal in goals if goal.figure.latency == "tpot"), np.inf)
    allowed = steps_s <= max(_HASTE * limit_s, steps_s[0])
    return prefill_s, float(steps.sum() * (steps_s[allowed] / sizes[allowed]).min())


def pools_of(replicas: int, share: float) -> tuple[int, int]:
    """Return how many of ``replicas``, 2 or more, prefill and decode."""
    prefilling = min(max(round(share * replicas), 1), replicas - 1)
    return prefilling, replicas - prefilling
