"""The joules that one more request adds to a replica that batches, as routing predicts them.

In: lengths, prices of steps, a governor. Out: a function of the request and of how many the replica
has; it knows nothing of where those are in their decode.
"""

from functools import cache

import numpy as np

from model.pricing import Step, StepPrices
from policies.governor import Governor, requested_mhz
from simulate.routing import Marginal
from simulate.service import Lengths


def marginal_joules(
    lengths: Lengths,
    prices: StepPrices,
    governor: Governor,
    idle_power_w: float,
    prefilled: bool = False,
) -> Marginal:
    """Return the function of (request, requests outstanding) that gives joules.

    They are those of its prompt computed alone, none where ``prefilled``, and for each token after
    its first what a decode step of one sequence more draws, all sequences at the mean context of
    the trace. To an otherwise empty replica it adds what it draws beyond idling.
    """
    steps = lengths.decode_steps
    middle = lengths.prompt_tokens + (steps + 1) / 2
    context = float(np.average(middle, weights=np.maximum(steps, 1))) if steps.size else 0.0
    prompts, decodes = lengths.prompt_tokens.tolist(), steps.tolist()

    def cost(step: Step) -> tuple[float, float]:
        asked_mhz = float(requested_mhz(governor, step.phase, step.work(1))[0])
        priced = prices.price(step, 1, asked_mhz)
        time_s = float(priced.time_s[0])
        return time_s, time_s * float(priced.power_w[0])

    @cache
    def prefill(prompt: int) -> tuple[float, float]:
        return (0.0, 0.0) if prefilled else cost(Step(1, prompt, prompt * (prompt + 1) // 2, 0, 0))

    @cache
    def decode(batch: int) -> tuple[float, float]:
        return cost(Step(0, 0, 0, batch, round(batch * context)))

    def marginal(query: int, outstanding: int) -> float:
        prompt_s, prompt_j = prefill(prompts[query])
        step_s, step_j = decode(outstanding + 1)
        if outstanding == 0:
            prompt_j -= prompt_s * idle_power_w
            step_j -= step_s * idle_power_w
        else:
            step_j -= decode(outstanding)[1]
        return float(prompt_j + decodes[query] * step_j)

    return marginal
