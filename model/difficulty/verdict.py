"""The verdict on every method: its scores in each view, as numbers that a report prints.

In: predictions that nobody trained on (:mod:`model.difficulty.evaluation`) and the outcomes. Out: a
document of plain numbers: "right" for each model, "gain" for each pair, and what ours adds to
length.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.difficulty.evaluation import OURS, OURS_TASK, Judged, Pair
from model.difficulty.routing import curve
from model.difficulty.scores import (
    auc,
    average_precision,
    brier_skill,
    calibration_error,
    interval,
)
from model.difficulty.table import OutcomeTable

LEAST_OF_EACH = 5
"""A task counts in the within view where it has so many positives and negatives."""

LOSS = 0.01
"""Relative loss of quality at which saved energy is counted."""

RANDOM, ORACLE = "random", "oracle"
CURVE_POINTS = 21

_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)b\b", re.IGNORECASE)

Scores = dict[str, Any]


def right_scores(
    table: OutcomeTable, judged: Sequence[Judged], view: str, rng: np.random.Generator
) -> list[Scores]:
    """Return for each method and model how well its chances foretell "right" (outcome >= 0.5)."""
    found = []
    for each in judged:
        if each.chances is None:
            continue
        for column, model in enumerate(table.models):
            chance, outcome = each.chances[:, column], table.outcomes[:, column]
            label = outcome >= 0.5
            found.append(
                {
                    "method": each.method,
                    "model": model,
                    "view": view,
                    "auc": _auc(chance, label),
                    "auc_interval": _interval(each, chance, label, rng),
                    "auc_within": within(table, chance, label),
                    "ap": average_precision(chance, label),
                    "share_right": float(label.mean()),
                    "brier_skill": brier_skill(chance, outcome),
                    "calibration_error": calibration_error(chance, outcome),
                }
            )
    return found


def gain_scores(
    table: OutcomeTable,
    judged: Sequence[Judged],
    pairs: Sequence[Pair],
    view: str,
    rng: np.random.Generator,
    costs: dict[str, float] | None = None,
    *,
    both: Sequence[str] = (),
) -> list[Scores]:
    """Return for each method and pair how well it foretells where the larger model pays.

    Methods named in ``both`` run the small model on every query.
    """
    found = []
    for number, (small, large) in enumerate(pairs):
        low, high = (table.outcomes[:, table.column(model)] for model in (small, large))
        pays = (high >= 0.5) & (low < 0.5)
        for each in (*judged, *_bounds(pairs, number, high - low)):
            score = each.gains[number]
            routed = curve(score, low, high)
            steps = np.linspace(0, len(score), CURVE_POINTS).astype(int)
            found.append(
                {
                    "method": each.method,
                    "small": small,
                    "large": large,
                    "view": view,
                    "auc": _auc(score, pays),
                    "auc_within": within(table, score, pays),
                    "ap": average_precision(score, pays),
                    "share_pays": float(pays.mean()),
                    "skill": None if each.chances is None else brier_skill(score, high - low),
                    "calibration_error": (
                        None if each.chances is None else calibration_error(score, high - low)
                    ),
                    "apgr": routed.apgr(),
                    "apgr_interval": (
                        _apgr_interval(score, low, high, rng) if _wants_interval(each) else None
                    ),
                    "cpt50": routed.cpt(0.5),
                    "cpt80": routed.cpt(0.8),
                    "saved": _saved(routed, small, large, costs, both=each.method in both),
                    "calls": routed.calls[steps].tolist(),
                    "quality": routed.quality[steps].tolist(),
                    "energy": _energy(
                        routed.calls[steps], small, large, costs, both=each.method in both
                    ),
                }
            )
    return found


def over_length(
    table: OutcomeTable, judged: Sequence[Judged], rng: np.random.Generator
) -> list[Scores]:
    """Return how much AUC ours adds to the better length-only baseline, with paired intervals."""
    of = {each.method: each for each in judged}
    found = []
    for method in (OURS, OURS_TASK):
        for column, model in enumerate(table.models if method in of else ()):
            label = table.outcomes[:, column] >= 0.5
            ours = _chance(of[method], column)
            best = max(
                (_chance(of[name], column) for name in ("length, linear", "length, tree")),
                key=lambda chance: auc(chance, label),
            )

            def difference(
                rows: NDArray[np.int_],
                ours: NDArray[np.float64] = ours,
                best: NDArray[np.float64] = best,
                label: NDArray[np.bool_] = label,
            ) -> float:
                return auc(ours[rows], label[rows]) - auc(best[rows], label[rows])

            found.append(
                {
                    "method": method,
                    "model": model,
                    "difference": difference(np.arange(len(label))),
                    "interval": list(interval(len(label), difference, rng)),
                }
            )
    return found


def within(
    table: OutcomeTable, score: NDArray[np.float64], label: NDArray[np.bool_]
) -> float | None:
    """Return the mean AUC inside tasks, weighted by their rows; None without tasks that tell."""
    if table.tasks is None:
        return None
    found, weights = [], []
    for task in np.unique(table.tasks):
        rows = table.tasks == task
        positives = int(label[rows].sum())
        if min(positives, rows.sum() - positives) >= LEAST_OF_EACH:
            found.append(auc(score[rows], label[rows]))
            weights.append(rows.sum())
    return float(np.average(found, weights=weights)) if found else None


def by_task(
    table: OutcomeTable, judged: Sequence[Judged], pairs: Sequence[Pair], view: str
) -> list[Scores]:
    """Return AUC of right and of the gain inside each task, and the share abstained from."""
    assert table.tasks is not None
    found = []
    for each in judged:
        for task in np.unique(table.tasks):
            rows = table.tasks == task
            right = {
                model: _auc(_chance(each, m)[rows], table.outcomes[rows, m] >= 0.5)
                for m, model in enumerate(table.models)
            }
            pays = {}
            for gain, (small, large) in zip(each.gains, pairs, strict=True):
                low, high = (table.outcomes[rows, table.column(m)] for m in (small, large))
                pays[f"{small} to {large}"] = _auc(gain[rows], (high >= 0.5) & (low < 0.5))
            found.append(
                {
                    "method": each.method,
                    "view": view,
                    "task": str(task),
                    "rows": int(rows.sum()),
                    "right": right,
                    "pays": pays,
                    "unlike": None if each.unlike is None else float(each.unlike[rows].mean()),
                }
            )
    return found


def cost_of(model: str) -> float | None:
    """Return the billions of parameters in a model's name ("llama-3.1-8b": 8), None without."""
    found = _SIZE.findall(model.replace("-", " "))
    return float(found[-1]) if len(found) == 1 else None


def _saved(
    routed: Any, small: str, large: str, costs: dict[str, float] | None, *, both: bool
) -> float | None:
    if costs is None or small not in costs or large not in costs:
        return None
    return float(routed.saved(LOSS, costs[small], costs[large], both=both))


def _energy(
    calls: NDArray[np.float64],
    small: str,
    large: str,
    costs: dict[str, float] | None,
    *,
    both: bool,
) -> list[float] | None:
    if costs is None or small not in costs or large not in costs:
        return None
    ratio = costs[small] / costs[large]
    return [float(share + (1.0 if both else 1 - share) * ratio) for share in calls]


def _bounds(pairs: Sequence[Pair], number: int, gain: NDArray[np.float64]) -> tuple[Judged, ...]:
    """Return what knows nothing (its curve is the expectation of random calls) and all."""
    scores = {RANDOM: np.zeros(len(gain)), ORACLE: gain}
    return tuple(
        Judged(name, None, tuple(score for _ in pairs[: number + 1]))
        for name, score in scores.items()
    )


def _chance(judged: Judged, column: int) -> NDArray[np.float64]:
    assert judged.chances is not None
    return judged.chances[:, column]


def _auc(score: NDArray[np.float64], label: NDArray[np.bool_]) -> float | None:
    found = auc(score, label)
    return None if np.isnan(found) else found


def _wants_interval(judged: Judged) -> bool:
    return judged.method != RANDOM and (judged.method.startswith(OURS) or judged.chances is None)


def _interval(
    judged: Judged,
    score: NDArray[np.float64],
    label: NDArray[np.bool_],
    rng: np.random.Generator,
) -> list[float] | None:
    if not judged.method.startswith(OURS):
        return None
    return list(interval(len(label), lambda rows: auc(score[rows], label[rows]), rng))


def _apgr_interval(
    score: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    rng: np.random.Generator,
) -> list[float]:
    return list(
        interval(len(score), lambda r: curve(score[r], low[r], high[r]).apgr(), rng, draws=200)
    )
