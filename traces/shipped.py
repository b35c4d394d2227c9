"""The traces that come with the package, by name.

In: a name. Out: the file beside this module and where it comes from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from traces.formats.azure import AZURE_2023
from traces.trace import Source

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Shipped:
    """A shipped file: its path, the name of its format, and its source."""

    path: Path
    format: str
    source: Source


def _azure_2023(kind: str, words: str) -> Shipped:
    known = AZURE_2023.source
    return Shipped(
        path=_DATA / f"AzureLLMInferenceTrace_{kind}.csv.gz",
        format=AZURE_2023.name,
        source=Source(
            description=f"{known.description}: {words}",
            licence=known.licence,
            kind=known.kind,
            url=known.url,
        ),
    )


SHIPPED: Mapping[str, Shipped] = {
    "azure-conv-2023": _azure_2023("conv", "an hour of conversation on 2023-11-16"),
    "azure-code-2023": _azure_2023("code", "an hour of coding on 2023-11-16"),
}
