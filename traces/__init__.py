"""Traces: queries as columns, read from files, drawn from distributions, or shipped by name.

In: a shipped name, a path, or a synthetic recipe. Out: a ``Trace``, and replay options on it.
"""

from traces.digest import digest
from traces.loading import known_formats, known_traces, load
from traces.replay import limit, parse_window, scale_rate, shuffle, window
from traces.trace import Source, Trace

__all__ = [
    "Source",
    "Trace",
    "digest",
    "known_formats",
    "known_traces",
    "limit",
    "load",
    "parse_window",
    "scale_rate",
    "shuffle",
    "window",
]
