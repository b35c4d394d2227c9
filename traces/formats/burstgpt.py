"""BurstGPT: CSV of requests to ChatGPT and GPT-4, counted from midnight of the first day.

In: columns Timestamp (seconds), Request tokens, Response tokens, and perhaps Session ID and Log
Type. Out: the ``Format``.
"""

from traces.formats.format import Clock, Format
from traces.trace import Source

# BurstGPT's README defines rows without response tokens as failed requests, and publishes the
# same trace without them. A failure is no query that generates nothing, so it is a broken row.
BURSTGPT = Format(
    name="burstgpt",
    containers=("csv",),
    clock=Clock("Timestamp", rebase=True),
    prompt_tokens="Request tokens",
    output_tokens="Response tokens",
    least_output=1,
    expected_output=(
        "an integer >= 1 (BurstGPT marks failed requests by 0; skip bad rows to leave them out)"
    ),
    texts={"session": "Session ID", "task": "Log Type"},
    source=Source(
        description="BurstGPT",
        licence="CC-BY-4.0",
        kind="measured",
        url="https://github.com/HPMLL/BurstGPT",
    ),
)
