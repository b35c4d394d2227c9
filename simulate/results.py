"""The result directory: summary, per-request and per-interval tables, plots.

In: a comparison. Out: files in one directory, the same bytes for the same inputs.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulate.compare import Comparison
from simulate.meter import State
from simulate.outcome import Outcome
from simulate.plots import plot_energy_latency, plot_power
from simulate.report import summary


def write_results(comparison: Comparison, directory: Path) -> None:
    """Write every result file of ``comparison`` into ``directory``."""
    document = json.dumps(summary(comparison), indent=2, allow_nan=False) + "\n"
    (directory / "summary.json").write_text(document, encoding="utf-8")
    outcomes = [result.outcome for result in comparison.results]
    _write(directory / "requests.parquet", (requests_table(o) for o in outcomes))
    _write(directory / "power.parquet", (power_table(o) for o in outcomes))
    plot_energy_latency(comparison, directory / "energy-latency.png")
    plot_power(comparison, directory / "power.png")


def requests_table(outcome: Outcome) -> pa.Table:
    """Return one row per request: lengths, times in s, energies in J, the replica that served."""
    replayed = outcome.replayed
    rows = outcome.arrival_s.size
    return pa.table(
        {
            "policy": _constant(outcome.policy, rows),
            "request": np.arange(rows),
            "model": _constant(outcome.model, rows),
            "replica": replayed.replica,
            "prompt_tokens": outcome.prompt_tokens,
            "output_tokens": outcome.output_tokens,
            "arrival_s": outcome.arrival_s,
            "start_s": replayed.start_s,
            "first_token_s": replayed.first_token_s,
            "finish_s": replayed.finish_s,
            "ttft_s": outcome.ttft_s,
            "tpot_s": pa.array(outcome.tpot_s, from_pandas=True),
            "e2e_s": outcome.e2e_s,
            "prefill_j": replayed.prefill_j,
            "decode_j": replayed.decode_j,
            "switching_j": replayed.switching_j,
        }
    )


def power_table(outcome: Outcome) -> pa.Table:
    """Return one row per state interval; power_w x duration_s adds up to the run's energy.

    ``sm_mhz`` is null while a replica is idle: its clock is not modelled then.
    """
    intervals = outcome.replayed.intervals
    labels = pa.array([state.label for state in State])
    return pa.table(
        {
            "policy": _constant(outcome.policy, intervals.state.size),
            "replica": intervals.replica,
            "state": pa.DictionaryArray.from_arrays(intervals.state, labels),
            "start_s": intervals.start_s,
            "duration_s": intervals.duration_s,
            "sm_mhz": pa.array(intervals.sm_mhz, from_pandas=True),
            "power_w": intervals.power_w,
        }
    )


def _constant(value: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(np.zeros(rows, dtype=np.int8), pa.array([value]))


def _write(path: Path, tables: "object") -> None:
    writer: pq.ParquetWriter | None = None
    for table in tables:  # type: ignore[attr-defined]
        plain = table.set_column(0, "policy", table.column("policy").cast(pa.string()))
        if writer is None:
            writer = pq.ParquetWriter(path, plain.schema, compression="zstd")
        writer.write_table(plain)
    if writer is not None:
        writer.close()
