"""How often a learned threshold keeps its promise on queries that it never saw, on real outcomes.

In: cascades.jsonl.gz (outcomes and confidences published with arXiv 2501.09345; github
mzelling/rational-llm-cascades at 0d9c861). Out: one line a pair of models and promise: of 50
splits, those in which the held-out half reaches it, and the share that goes to the large model.
"""

import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from policies import Sight, make_selection

PAIRS = (
    ("llama3.1-8b", "llama3.1-70b"),
    ("llama3.2-3b", "llama3.1-8b"),
    ("llama3.2-1b", "llama3.1-8b"),
)
PROMISES = (0.9, 0.95, 0.98)
SPLITS = 50


def main(path: Path) -> None:
    """Print the table."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    print("pair, promise: splits that keep it, share to the large model, quality held out")
    for pair in PAIRS:
        sight = Sight(
            pair,
            np.tile([1.0, 10.0], (len(rows), 1)),
            np.array([[row["correct"][model] for model in pair] for row in rows], dtype=float),
            np.array([[row["raw_conf"][model] for model in pair] for row in rows]),
        )
        for promise in PROMISES:
            selection = make_selection(f"cascade:min-quality={promise}")
            choices = [selection.choose(replace(sight, seed=seed)) for seed in range(SPLITS)]
            kept = sum(choice.promise.kept for choice in choices)
            large = np.mean([choice.escalated.mean() for choice in choices])
            held = np.mean([choice.promise.held_out_share for choice in choices])
            print(f"{' to '.join(pair)}, {promise}: {kept} of {SPLITS}, {large:.1%}, {held:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
