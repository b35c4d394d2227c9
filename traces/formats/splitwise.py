"""splitwise-sim: the CSV traces that the Splitwise simulator generates and replays.

In: columns arrival_timestamp (seconds), prompt_size, token_size, and perhaps request_id and
batch_size. Out: the ``Format``.
"""

from traces.formats.format import Clock, Format
from traces.trace import Source

SPLITWISE_SIM = Format(
    name="splitwise-sim",
    containers=("csv",),
    clock=Clock("arrival_timestamp"),
    prompt_tokens="prompt_size",
    output_tokens="token_size",
    texts={"query_id": "request_id"},
    always_one=("batch_size",),
    source=Source(
        description="splitwise-sim trace",
        licence="",
        kind="synthetic",
        url="https://github.com/Mutinifni/splitwise-sim",
    ),
)
