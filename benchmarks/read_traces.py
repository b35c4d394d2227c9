"""How fast traces are read and how much memory that takes.

In: nothing; it writes synthetic files of a million rows (or ``--rows``) into a temporary directory.
Out: a line for each format with rows a second and peak memory a row above the bare interpreter.
"""

import argparse
import gzip
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as parquet

import traces


def main() -> None:
    """Write the files, then read each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--skip", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        _measure(options.measure, skip_bad_rows=options.skip)
        return
    print(
        f"{'file':24} {'rows/s':>12} {'seconds':>8} {'peak bytes/row':>15} {'file bytes/row':>15}"
    )
    with tempfile.TemporaryDirectory() as directory:
        for path in _write(Path(directory), options.rows):
            command = [sys.executable, __file__, "--measure", str(path)]
            if "failures" in path.name:
                command.append("--skip")
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows, seconds, peak_bytes = (float(each) for each in answer.split())
            print(
                f"{path.name:24} {rows / seconds:12,.0f} {seconds:8.2f} {peak_bytes / rows:15.1f} "
                f"{path.stat().st_size / rows:15.1f}",
                flush=True,
            )


def _measure(path: Path, *, skip_bad_rows: bool) -> None:
    # The first read pays for imports and lazily loaded parts of pyarrow.
    traces.load("azure-code-2023")
    before = _peak_bytes()
    start = time.perf_counter()
    trace = traces.load(path, skip_bad_rows=skip_bad_rows)
    seconds = time.perf_counter() - start
    print(len(trace) + trace.source.skipped_rows, seconds, _peak_bytes() - before)


def _peak_bytes() -> int:
    # Unlike ru_maxrss, this starts anew with each program that is run.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _write(directory: Path, n: int) -> list[Path]:
    rng = np.random.default_rng(0)
    arrival_s = pa.array(np.round(np.cumsum(rng.exponential(0.1, n)), 6))
    prompt, output = (pa.array(rng.integers(1, 4000, n)) for _ in range(2))
    own = pa.table({"arrival_s": arrival_s, "prompt_tokens": prompt, "output_tokens": output})
    stamps = pc.cast(
        pa.array((np.asarray(arrival_s) * 1e6).astype(np.int64)), pa.timestamp("us", "UTC")
    )
    azure = pa.table(
        {
            "TIMESTAMP": pc.strftime(stamps, "%Y-%m-%d %H:%M:%S+00:00"),
            "ContextTokens": prompt,
            "GeneratedTokens": output,
        }
    )
    text = pa.array([f"query {i}, with\nsome text" for i in range(n)])
    failing = pa.array(np.where(rng.random(n) < 0.02, 0, np.asarray(output)))
    burst = pa.table({"Timestamp": arrival_s, "Request tokens": prompt, "Response tokens": failing})
    paths = [directory / name for name in ("own.csv", "azure-2024.csv", "own-text-lines.csv")]
    for path, table in zip(paths, (own, azure, own.append_column("text", text)), strict=True):
        csv.write_csv(table, path)
    failures = directory / "burstgpt-failures.csv"
    csv.write_csv(burst, failures)
    packed = directory / "own.csv.gz"
    packed.write_bytes(gzip.compress(paths[0].read_bytes(), 6))
    rows = directory / "own.parquet"
    parquet.write_table(own, rows)
    lines = directory / "own.jsonl"
    mooncake = directory / "mooncake.jsonl"
    columns = [own.column(name).to_pylist() for name in own.column_names]
    with lines.open("w") as plain, mooncake.open("w") as hashed:
        for row, (a, p, o) in enumerate(zip(*columns, strict=True)):
            plain.write(f'{{"arrival_s": {a}, "prompt_tokens": {p}, "output_tokens": {o}}}\n')
            hashes = list(range(row, row + p // 512 + 1))
            hashed.write(
                f'{{"timestamp": {int(a * 1000)}, "input_length": {p}, "output_length": {o}, '
                f'"hash_ids": {hashes}}}\n'
            )
    return [*paths, failures, packed, rows, lines, mooncake]


if __name__ == "__main__":
    main()
