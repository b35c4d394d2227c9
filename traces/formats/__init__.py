"""The trace formats that can be read, one small module each, and how a file is recognised.

In: the column names of a file and its first record. Out: the ``Format`` to read it by.
"""

from collections.abc import Iterable, Mapping

from phasewatt.errors import BadTrace
from traces.content import Container
from traces.formats.azure import AZURE_2023, AZURE_2024
from traces.formats.burstgpt import BURSTGPT
from traces.formats.format import Format
from traces.formats.mooncake import MOONCAKE
from traces.formats.own import PHASEWATT
from traces.formats.splitwise import SPLITWISE_SIM
from traces.formats.vidur import VIDUR
from traces.nearest import suggestion

FORMATS: Mapping[str, Format] = {
    each.name: each
    for each in (AZURE_2023, AZURE_2024, BURSTGPT, MOONCAKE, SPLITWISE_SIM, VIDUR, PHASEWATT)
}


def format_named(name: str) -> Format:
    """The format called ``name``.

    Raises:
        BadTrace: there is none; the line lists those that exist and the nearest spelling.
    """
    if name not in FORMATS:
        raise BadTrace(
            f"unknown trace format {name!r}{suggestion(name, FORMATS)}; known formats: "
            + ", ".join(FORMATS)
        )
    return FORMATS[name]


def recognise(
    where: str, container: Container, columns: Iterable[str], first: Mapping[str, str]
) -> Format:
    """The format of a file by its ``columns`` and, where those do not settle it, its first record.

    A file that has at least half of a format's columns is taken for that format, so that the
    missing column can be named.

    Raises:
        BadTrace: no format fits; the line lists the columns seen and the formats that exist.
    """
    seen = set(columns)
    candidates = [each for each in FORMATS.values() if container in each.containers]
    whole = [each for each in candidates if seen >= set(each.required)]
    for each in whole:
        if each.matches(first):
            return each
    best = max(candidates, key=lambda each: _share(each, seen))
    if _share(best, seen) >= 0.5:
        return best
    known = "; ".join(f"{each.name} ({', '.join(each.required)})" for each in FORMATS.values())
    raise BadTrace(
        f"{where}: unknown trace format: found columns {', '.join(seen and columns) or 'none'}; "
        f"expected those of one of {known}"
    )


def _share(each: Format, seen: set[str]) -> float:
    return len(seen & set(each.required)) / len(each.required)
