"""How fast features are made, and how much memory that takes.

In: nothing; it writes questions like those of MMLU. Out: a line for each set of features with
queries a second on one core, milliseconds a query, and the peak memory of the process above that of
the imports. A set whose package is not installed is left out and named.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np

SETS = ("light-1+capitals", "light-1+capitals+words", "light-1+en_core_web_sm-3.8")
EMBEDDED = "light-1+capitals+words+minilm-l6-v2"
WORDS = (
    "the of a in is which following what by to and that for most energy value theory Paris Smith "
    "increase current probability cell government 1848 percent reaction London not function market"
)


def main() -> None:
    """Measure each set in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--queries", type=int, default=4000)
    options = parser.parse_args()
    if options.measure:
        _measure(options.measure, options.queries)
        return
    print(f"{'features':<40} {'queries/s':>10} {'ms/query':>9} {'peak MiB':>9}")
    for name in (*SETS, EMBEDDED):
        queries = options.queries if name in SETS[:2] else options.queries // 10
        command = [sys.executable, __file__, "--measure", name, "--queries", str(queries)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            print(done.stdout, end="", flush=True)
        else:
            print(f"{name:<40} left out: {done.stderr.strip().splitlines()[-1]}")


def questions(count: int) -> list[str]:
    """Return questions of about 75 words with four options."""
    rng = np.random.default_rng(0)
    words = WORDS.split()
    texts = []
    for _ in range(count):
        stem = " ".join(rng.choice(words, 45))
        options = (f"{letter}. {' '.join(rng.choice(words, 7))}" for letter in "ABCD")
        texts.append("\n".join((f"{stem.capitalize()}?", *options)))
    return texts


def _measure(name: str, count: int) -> None:
    from calibrate.difficulty.embeddings import features_for

    texts = questions(count)
    features_for(texts[:20], name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    features_for(texts, name)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{name:<40} {count / seconds:10,.0f} {1e3 * seconds / count:9.2f} {peak / 1024:9.0f}")


if __name__ == "__main__":
    main()
