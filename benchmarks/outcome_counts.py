"""Count which models answer the same queries well: the table behind the scaling patterns.

In: cascades.jsonl.gz and boolq.jsonl.gz (per-query outcomes; sources in the table's own comment).
Out: simulate/reproduction/outcomes.csv: how many queries show each combination. No
query, no identifier and no answer of a single query is written.
"""

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

CASCADES = (
    "llama3.2-1b",
    "llama3.2-3b",
    "llama3.1-8b",
    "qwen2.5-32b-coder-instruct",
    "llama3.1-70b",
)
BOOLQ = ("llama-3.2-1B", "llama-3.2-3B", "llama-3.2-8B")
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def rows(path: Path) -> Iterator[dict]:
    """Yield the records of a compressed JSON lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def cascades(path: Path) -> Counter:
    """Count right (1) and wrong (0) answers of the five models, small to large."""
    return Counter(
        ("cascades", 1.0, "".join(str(r["correct"][m]) for m in CASCADES)) for r in rows(path)
    )


def boolq(path: Path) -> Counter:
    """Count where three models give the right answer a probability of at least each threshold.

    The probability is the mean over both orders in which the choices were offered.
    """
    found: Counter = Counter()
    for row in rows(path):
        told = row["p_true"]
        for threshold in THRESHOLDS:
            bits = ""
            for model in BOOLQ:
                true = (told[f"{model}-true-first"] + told[f"{model}-false-first"]) / 2
                bits += str(int((true if row["answer"] else 1 - true) >= threshold))
            found["boolq", threshold, bits] += 1
    return found


def main(folder: Path, target: Path) -> None:
    """Write the table of both pools."""
    counts = cascades(folder / "cascades.jsonl.gz") + boolq(folder / "boolq.jsonl.gz")
    lines = [
        "# How many queries show each combination of good (1) and bad (0) answers, small model to",
        "# large. Counts only: made by benchmarks/outcome_counts.py.",
        "# cascades: outcomes published with arXiv 2501.09345 (github",
        f"# mzelling/rational-llm-cascades at 0d9c861): {', '.join(CASCADES)}.",
        "# boolq: github csisc/BoolV at b306fff, MIT; good is a probability of the right answer",
        f"# of at least the threshold: {', '.join(BOOLQ)} (quantised community builds).",
        "pool,threshold,good,queries",
        *(
            f"{pool},{threshold:g},{bits},{count}"
            for (pool, threshold, bits), count in sorted(counts.items())
        ),
    ]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
