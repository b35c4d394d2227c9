"""Our own schema, for anyone's queries: CSV, JSON lines or Parquet, with text and answers' quality.

In: columns arrival_s, prompt_tokens, output_tokens and perhaps query_id, text, task, session,
block_hashes, priority and, for each model, quality.<model>, confidence.<model>,
output_tokens.<model>. Out: the ``Format``.
"""

from traces.formats.format import Clock, Format
from traces.trace import PER_MODEL, TEXT_COLUMNS, Source

PHASEWATT = Format(
    name="phasewatt",
    containers=("csv", "jsonl", "parquet"),
    clock=Clock("arrival_s"),
    prompt_tokens="prompt_tokens",
    output_tokens="output_tokens",
    texts={column: column for column in TEXT_COLUMNS},
    per_model=PER_MODEL,
    block_hashes="block_hashes",
    priority="priority",
    source=Source(description="a file of the user's own", licence="", kind="user"),
)
