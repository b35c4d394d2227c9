"""What GPUs that share a step wait for each other, beside the rest of its time.

In: a form of time that knows its parts. Out: the same form with the exchange among its launches,
which no clock changes.
"""

import dataclasses

from model.shape import Coefficients, Form, Inputs, Parts
from model.work import Array

EXCHANGE_S, EXCHANGE_S_PER_TOKEN = "exchange_s", "exchange_s_per_token"
"""Constants of a form whose GPUs wait for each other: seconds of a step, and of each of its tokens.
Absent where one GPU works alone."""


def with_exchange(form: Form) -> Form:
    """Return ``form``, which has parts, with the exchange that its constants tell of."""
    split, total = form.parts, form.total
    assert split is not None
    assert total is not None

    def parts(c: Coefficients, at: Inputs) -> Parts:
        found = split(c, at)
        tokens = at.work.prefill_tokens + at.work.decode_batch
        waits_s = at.constants[EXCHANGE_S] + tokens * at.constants[EXCHANGE_S_PER_TOKEN]
        return dataclasses.replace(found, launch_s=found.launch_s + waits_s)

    def evaluate(c: Coefficients, at: Inputs) -> Array:
        return total(c, parts(c, at))

    return dataclasses.replace(form, parts=parts, evaluate=evaluate)
