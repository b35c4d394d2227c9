"""Whose joules a replica draws that serves many requests at once.

In: the energy of planned steps and of changes of clock. Out: prefill, decode and switching joules
of every request, in shared columns.
"""

from model.pricing import StepPrices
from simulate.columns import Views
from simulate.scheduler import Plan


class Accounts:
    """Shares the energy of one replica's steps, which cost ``prices``, among their requests.

    Prefill's part of a step is shared by prompt tokens, decode's part equally; of a mixed step,
    prefill's part is the time that its prefill would take alone over the times of both alone. A
    change of clock is shared equally by the requests of the step that it precedes.

    Decode's part is summed for one request that decodes all along: an account is a difference of
    two such sums, so that a step costs the same for any batch.
    """

    def __init__(self, prices: StepPrices, columns: Views) -> None:
        self._prices, self._columns = prices, columns
        self._decode_j, self._switching_j = 0.0, 0.0

    def open(self, request: int) -> None:
        """Let ``request`` decode from now on."""
        self._columns.decode_j[request] -= self._decode_j
        self._columns.switching_j[request] -= self._switching_j

    def close(self, request: int) -> None:
        """Let ``request`` decode no more: its columns hold what it has drawn."""
        self._columns.decode_j[request] += self._decode_j
        self._columns.switching_j[request] += self._switching_j

    def share(self, plan: Plan, energy_j: float, held_mhz: float) -> None:
        """Share the energy of the steps of ``plan``, which ran at ``held_mhz``."""
        step = plan.step
        if not plan.chunks:
            self._decode_j += energy_j / step.decode_batch
            return
        share = self._prices.prefill_time_share(step, held_mhz) if step.decode_batch else 1.0
        if step.decode_batch:
            self._decode_j += (1 - share) * energy_j / step.decode_batch
        token_j = share * energy_j / step.prefill_tokens
        for chunk in plan.chunks:
            self._columns.prefill_j[chunk.request] += token_j * chunk.tokens

    def charge(self, plan: Plan, switching_j: float) -> None:
        """Share the energy of a change of clock before the steps of ``plan``."""
        each_j = switching_j / (plan.step.decode_batch + len(plan.chunks))
        self._switching_j += each_j if plan.step.decode_batch else 0.0
        for chunk in plan.chunks:
            self._columns.switching_j[chunk.request] += each_j

    def waste(self, request: int, prefilled: bool) -> None:
        """Let all that ``request``, whose account is closed, has drawn have been in vain."""
        columns = self._columns
        drawn_j = columns.prefill_j[request] + columns.decode_j[request]
        columns.waste(request, drawn_j + columns.switching_j[request], prefilled)
