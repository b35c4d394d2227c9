"""The paper's figures and the counts of outcomes, as kept beside this module.

In: two files of data. Out: frozen values, models from small to large.
"""

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.work import Array

_HERE = Path(__file__).parent


class Slowed(NamedTuple):
    """A row of Table XI as fractions: what the low clock changes against the baseline clock."""

    saving: float
    latency: float
    prefill: float
    decode: float
    prefill_share: float


class Optimum(NamedTuple):
    """A cell of Table XII: the clock of least energy x delay, and the changes as fractions."""

    sm_mhz: float
    saving: float
    latency: float


class Joules(NamedTuple):
    """A row of Table XVI: joules a query at both clocks; changes as fractions."""

    baseline_j: float
    low_j: float
    saving: float
    latency: float


class Routed(NamedTuple):
    """A row of Table XVII: share of queries, the model that answers, saving as a fraction."""

    share: float
    model: str
    saving: float


class Strategy(NamedTuple):
    """A row of Table XVIII: one model at one clock for everything; fractions but for the joules."""

    model: str
    sm_mhz: float
    energy_j: float
    quality: float
    saving: float


@dataclass(frozen=True)
class Paper:
    """What the paper's tables say; mappings by table number where a table has several parts."""

    name: str
    gpu: str
    clocks_mhz: tuple[float, ...]
    baseline_mhz: float
    low_mhz: float
    models: tuple[str, ...]
    tokens_per_query: int
    lengths: Mapping[str, tuple[int, int]]
    quality: Mapping[str, tuple[float, ...]]
    pattern_shares: Mapping[str, float]
    slowed: Mapping[int, tuple[Slowed, ...]]
    slowed_average: Mapping[int, Slowed]
    optima: Mapping[int, tuple[Optimum, ...]]
    savings_mhz: tuple[float, ...]
    savings: tuple[tuple[float, ...], ...]
    joules: tuple[Joules, ...]
    joules_average: tuple[float, float]
    routed: Mapping[str, Routed]
    routed_saving: float
    strategies: Mapping[str, Strategy]
    right_by_models: tuple[int, ...]
    generative_half: int
    figure_2_queries: int


@dataclass(frozen=True)
class Pool:
    """Queries whose answers by several models are known, counted by who answers well.

    Attributes:
        name: of the data set.
        threshold: the least quality that counts as good.
        good: each combination that occurs, small model to large, shape (k, models).
        queries: how many queries show it, shape (k,).
    """

    name: str
    threshold: float
    good: NDArray[np.int64]
    queries: NDArray[np.int64]

    @property
    def share(self) -> Array:
        """Share of all queries that show each combination, shape (k,)."""
        return np.asarray(self.queries / self.queries.sum(), dtype=np.float64)


@cache
def paper() -> Paper:
    """Return the paper's figures."""
    written = tomllib.loads((_HERE / "2501.08219.toml").read_text(encoding="utf-8"))
    xi = {int(batch): part for batch, part in written["table_XI"].items()}
    return Paper(
        name=written["paper"],
        gpu=written["gpu"],
        clocks_mhz=tuple(map(float, written["clocks_mhz"])),
        baseline_mhz=float(written["baseline_mhz"]),
        low_mhz=float(written["low_mhz"]),
        models=tuple(written["models"]),
        tokens_per_query=written["tokens_per_query"],
        lengths={r["dataset"]: (r["input"], r["output"]) for r in written["table_I"]},
        quality={dataset: tuple(row) for dataset, row in written["table_VII"].items()},
        pattern_shares={name: x / 100 for name, x in written["table_IX"].items()},
        slowed={b: tuple(Slowed(*_parts(row)) for row in part["rows"]) for b, part in xi.items()},
        slowed_average={b: Slowed(*_parts(part["average"])) for b, part in xi.items()},
        optima={
            int(batch): tuple(Optimum(float(r[0]), *_parts(r[1:])) for r in rows)
            for batch, rows in written["table_XII"].items()
        },
        savings_mhz=tuple(map(float, written["figure_4"]["clocks_mhz"])),
        savings=tuple(_parts(row) for row in written["figure_4"]["saving"]),
        joules=tuple(Joules(r[0], r[1], *_parts(r[2:])) for r in written["table_XVI"]["rows"]),
        joules_average=_pair(written["table_XVI"]["average"]),
        routed={
            name: Routed(row[0] / 100, row[1], row[2] / 100)
            for name, row in written["table_XVII"].items()
            if name != "weighted"
        },
        routed_saving=written["table_XVII"]["weighted"] / 100,
        strategies={
            name: Strategy(row[0], float(row[1]), row[2], row[3] / 100, row[4] / 100)
            for name, row in written["table_XVIII"].items()
        },
        right_by_models=tuple(written["figure_2"]["classification_right_by_models"]),
        generative_half=written["figure_2"]["generative_mean_half_or_more"],
        figure_2_queries=written["figure_2"]["queries"],
    )


@cache
def pools() -> tuple[Pool, ...]:
    """Return every pool of outcomes at every threshold, in the order of the file."""
    text = (_HERE / "outcomes.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    keys = dict.fromkeys((row["pool"], float(row["threshold"])) for row in rows)
    return tuple(
        Pool(
            name,
            threshold,
            np.array([[int(bit) for bit in row["good"]] for row in mine]),
            np.array([int(row["queries"]) for row in mine]),
        )
        for name, threshold in keys
        for mine in [[r for r in rows if (r["pool"], float(r["threshold"])) == (name, threshold)]]
    )


def _parts(percent: Any) -> tuple[float, ...]:
    return tuple(each / 100 for each in percent)


def _pair(percent: Any) -> tuple[float, float]:
    first, second = _parts(percent)
    return first, second
