"""What the page needs of each request, from a file that may hold a million of them.

In: ``requests.parquet``. Out: for each policy, how its latencies are spread, and the joules that
requests drew themselves, by phase.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.work import Array
from simulate.html.cdf import Cdf, thinned
from simulate.html.tables import parts_of

LATENCIES = ("ttft", "tpot", "e2e")
PHASES = ("prefill", "decode", "switching", "wasted")


@dataclass(frozen=True)
class Spread:
    """One policy's requests: latencies in s by name, and joules by what drew them."""

    latency_s: Mapping[str, Cdf]
    own_j: Mapping[str, float]


def read_spreads(
    path: Path, policies: Sequence[str], since_s: Sequence[float], most: int
) -> list[Spread]:
    """Return the spread of each policy's requests that arrive from ``since_s`` on.

    Distributions keep ``most`` points or fewer.
    """
    columns = ["arrival_s", *(f"{n}_s" for n in LATENCIES), *(f"{n}_j" for n in PHASES)]
    since = dict(zip(policies, since_s, strict=True))
    waits: dict[str, list[list[Array]]] = {policy: [] for policy in policies}
    joules = {policy: np.zeros(len(PHASES)) for policy in policies}
    for policy, (arrival_s, *arrays) in parts_of(path, columns):
        kept = arrival_s >= since[policy]
        kept_arrays = [array[kept] for array in arrays]
        waits[policy].append(kept_arrays[: len(LATENCIES)])
        joules[policy] += [float(array.sum()) for array in kept_arrays[len(LATENCIES) :]]
    return [
        Spread(
            {
                name: thinned(np.concatenate([part[index] for part in waits[policy]]), most)
                for index, name in enumerate(LATENCIES)
            },
            dict(zip(PHASES, joules[policy].tolist(), strict=True)),
        )
        for policy in policies
    ]
