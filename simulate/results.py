"""The result directory: summary, per-request and per-interval tables, plots.

In: a comparison. Out: files in one directory, the same bytes for the same inputs.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.work import Array
from phasewatt.files import whole_file
from simulate.compare import Comparison
from simulate.curves_document import curves_document
from simulate.document import summary
from simulate.meter import State
from simulate.outcome import Outcome
from simulate.parts_report import parts_columns

_ROWS_AT_ONCE = 1 << 19
"""Rows of ``power.parquet`` that are in memory as a table at any time."""


def write_results(comparison: Comparison, directory: Path) -> None:
    """Write every result file of ``comparison`` into ``directory``."""
    # Matplotlib and Bokeh take their time to load.
    from simulate.html.page import write_page_of_directory
    from simulate.plots import plot_energy_latency, plot_power

    document = json.dumps(summary(comparison), indent=2, allow_nan=False) + "\n"
    (directory / "summary.json").write_text(document, encoding="utf-8")
    curves = json.dumps(curves_document(comparison), allow_nan=False) + "\n"
    (directory / "curves.json").write_text(curves, encoding="utf-8")
    outcomes = [result.outcome for result in comparison.results]
    task = comparison.trace.task
    each = ((result.outcome, task, result.request_quality) for result in comparison.results)
    _write(directory / "requests.parquet", (requests_table(*of) for of in each))
    _write(directory / "power.parquet", (t for o in outcomes for t in _power_tables(o)))
    if comparison.scenario.by:
        pq.write_table(parts_columns(comparison), directory / "parts.parquet", compression="zstd")
    if comparison.scenario.token_times:
        _write(directory / "tokens.parquet", (t for o in outcomes for t in _token_tables(o)))
    plot_energy_latency(comparison, directory / "energy-latency.png")
    plot_power(comparison, directory / "power.png")
    write_page_of_directory(directory)


def write_report(directories: Sequence[Path], path: Path) -> None:
    """Write one page of the results in ``directories`` to ``path``, whole or not at all.

    Raises:
        BadResult: one is no directory of results, lacks a part, or is of another schema.
        Unwritable: ``path`` cannot be written.
    """
    from simulate.html.page import write_page
    from simulate.html.result import read_results

    results = read_results(directories)
    with whole_file(path) as temporary:
        write_page(results, temporary)


def requests_table(
    outcome: Outcome,
    task: pa.LargeStringArray | None = None,
    quality: Array | None = None,
) -> pa.Table:
    """Return one row per request: lengths, times in s, energies in J, the replica that served.

    Times are null where the request was rejected; ``task`` is what the trace calls each request,
    ``quality`` that of its answer, null where unknown.
    """
    replayed = outcome.replayed
    rows = outcome.arrival_s.size
    return pa.table(
        {
            "policy": pa.repeat(outcome.policy, rows),
            "request": np.arange(rows),
            "group": _of_groups([group.name for group in outcome.groups], outcome),
            "model": _of_groups([group.model for group in outcome.groups], outcome),
            "replica": replayed.replica,
            "task": pa.nulls(rows, pa.large_string()) if task is None else task,
            "prompt_tokens": outcome.prompt_tokens,
            "found_tokens": replayed.found_tokens.astype(np.int64),
            "output_tokens": outcome.output_tokens,
            "arrival_s": outcome.arrival_s,
            "start_s": pa.array(replayed.start_s, from_pandas=True),
            "first_token_s": pa.array(replayed.first_token_s, from_pandas=True),
            "finish_s": pa.array(replayed.finish_s, from_pandas=True),
            "ttft_s": pa.array(outcome.ttft_s, from_pandas=True),
            "tpot_s": pa.array(outcome.tpot_s, from_pandas=True),
            "e2e_s": pa.array(outcome.e2e_s, from_pandas=True),
            "prefill_j": replayed.prefill_j,
            "decode_j": replayed.decode_j,
            "switching_j": replayed.switching_j,
            "wasted_j": replayed.wasted_j,
            "losses": replayed.losses,
            "failed": replayed.failed,
            "quality": pa.nulls(rows, pa.float64())
            if quality is None
            else pa.array(quality, from_pandas=True),
        }
    )


def _of_groups(words: list[str], outcome: Outcome) -> pa.Array:
    return pa.array(words).take(pa.array(outcome.group_of))


def power_table(outcome: Outcome, rows: slice = slice(None)) -> pa.Table:
    """Return one row per state interval; power_w x duration_s adds up to the run's energy.

    ``sm_mhz`` is null while a replica is idle: its clock is not modelled then.
    """
    intervals = outcome.replayed.intervals
    labels = np.array([state.label for state in State])
    states = intervals.state[rows]
    return pa.table(
        {
            "policy": pa.repeat(outcome.policy, states.size),
            "replica": intervals.replica[rows],
            "state": pa.DictionaryArray.from_arrays(states, labels),
            "start_s": intervals.start_s[rows],
            "duration_s": intervals.duration_s[rows],
            "sm_mhz": pa.array(intervals.sm_mhz[rows], from_pandas=True),
            "power_w": intervals.power_w[rows],
        }
    )


def _power_tables(outcome: Outcome) -> Iterator[pa.Table]:
    for first in range(0, outcome.replayed.intervals.state.size, _ROWS_AT_ONCE):
        yield power_table(outcome, slice(first, first + _ROWS_AT_ONCE))


def _token_tables(outcome: Outcome) -> Iterator[pa.Table]:
    tokens = outcome.replayed.tokens
    assert tokens is not None
    number = tokens.number
    for first in range(0, tokens.request.size, _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        yield pa.table(
            {
                "policy": pa.repeat(outcome.policy, tokens.request[rows].size),
                "request": tokens.request[rows],
                "token": number[rows],
                "time_s": tokens.time_s[rows],
            }
        )


def _write(path: Path, tables: Iterable[pa.Table]) -> None:
    writer: pq.ParquetWriter | None = None
    for table in tables:
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()
