"""Azure LLM inference traces of 2023 and 2024: CSV with wall-clock times and two token counts.

In: columns TIMESTAMP, ContextTokens, GeneratedTokens. Out: two ``Format``s that differ in the
timestamps: 2023 has none, 2024 has an offset from UTC.
"""

import re
from collections.abc import Mapping

from traces.formats.format import Clock, Format
from traces.trace import Source

_TIMESTAMP = "TIMESTAMP"
_OFFSET = re.compile(r"(Z|[+-]\d\d(:?\d\d)?)$")
_DATE_LENGTH = len("2024-05-10")


def _has_offset(first: Mapping[str, str]) -> bool:
    return _OFFSET.search(first.get(_TIMESTAMP, "")[_DATE_LENGTH:]) is not None


def _has_no_offset(first: Mapping[str, str]) -> bool:
    return not _has_offset(first)


AZURE_2023 = Format(
    name="azure-2023",
    containers=("csv",),
    clock=Clock(_TIMESTAMP, kind="local", rebase=True),
    prompt_tokens="ContextTokens",
    output_tokens="GeneratedTokens",
    source=Source(
        description="Azure LLM inference trace 2023 (Splitwise, ISCA 2024)",
        licence="CC-BY-4.0",
        kind="measured",
        url="https://github.com/Azure/AzurePublicDataset/blob/master/AzureLLMInferenceDataset2023.md",
    ),
    matches=_has_no_offset,
)

AZURE_2024 = Format(
    name="azure-2024",
    containers=("csv",),
    clock=Clock(_TIMESTAMP, kind="offset", rebase=True),
    prompt_tokens="ContextTokens",
    output_tokens="GeneratedTokens",
    source=Source(
        description="Azure LLM inference trace 2024 (DynamoLLM)",
        licence="CC-BY-4.0",
        kind="measured",
        url="https://github.com/Azure/AzurePublicDataset/blob/master/AzureLLMInferenceDataset2024.md",
    ),
    matches=_has_offset,
)
