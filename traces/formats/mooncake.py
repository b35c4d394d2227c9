"""Mooncake: JSON lines with relative times in milliseconds and hashes of the prompt's prefix.

In: fields timestamp, input_length, output_length and perhaps hash_ids (one per 512 tokens). Out:
the ``Format``.
"""

from traces.formats.format import Clock, Format
from traces.trace import Source

MOONCAKE = Format(
    name="mooncake",
    containers=("jsonl",),
    clock=Clock("timestamp", per_s=1000.0),
    prompt_tokens="input_length",
    output_tokens="output_length",
    block_hashes="hash_ids",
    source=Source(
        description="Mooncake trace (FAST 2025)",
        licence="Apache-2.0",
        kind="measured",
        url="https://github.com/kvcache-ai/Mooncake/tree/main/FAST25-release",
    ),
)
