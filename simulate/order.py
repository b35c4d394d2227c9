"""In which order requests are served that wait for the same replica.

In: a trace and what a user asks for. Out: a number for each request, the lowest first.
"""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from phasewatt.errors import BadOption
from traces import Trace


class Order(StrEnum):
    """Who is served first; of equals, who arrived first."""

    FCFS = "fcfs"
    TRACE = "trace"
    SHORTEST_PROMPT = "shortest-prompt"
    SHORTEST_JOB = "shortest-job"


def priorities_of(trace: Trace, order: Order) -> NDArray[np.int64] | None:
    """Return the priority of each request of ``trace``, shape (n,); None: first come first served.

    ``shortest-job`` knows how many tokens a request will generate, which no engine does.

    Raises:
        BadOption: the trace is to tell, and does not.
    """
    if order is Order.FCFS:
        return None
    if order is Order.SHORTEST_PROMPT:
        return trace.prompt_tokens
    if order is Order.SHORTEST_JOB:
        return trace.prompt_tokens + trace.output_tokens
    if trace.priority is None:
        raise BadOption(
            f"--priority trace: trace '{trace.name}' holds no priorities; expected a column "
            "'priority'"
        )
    return trace.priority
