"""Vidur: the CSV traces with arrivals that the Vidur simulator replays.

In: columns arrived_at (seconds), num_prefill_tokens, num_decode_tokens. Out: the ``Format``.
"""

from traces.formats.format import Clock, Format
from traces.trace import Source

VIDUR = Format(
    name="vidur",
    containers=("csv",),
    clock=Clock("arrived_at"),
    prompt_tokens="num_prefill_tokens",
    output_tokens="num_decode_tokens",
    source=Source(
        description="Vidur trace",
        licence="",
        kind="measured",
        url="https://github.com/microsoft/vidur",
    ),
)
