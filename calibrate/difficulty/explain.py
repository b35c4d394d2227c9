"""What a predictor makes of one query, and why.

In: a predictor and a text. Out: a document of plain values, and its tables.
"""

from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from calibrate.difficulty.embeddings import features_for
from model.difficulty.predictor import WORDS, DifficultyPredictor

COVERAGE = 0.8


def explain(
    predictor: DifficultyPredictor, text: str, task: str | None, model: str | None, top: int
) -> dict[str, Any]:
    """Return chances, conformal intervals, gains and the ``top`` attributions of ``model``.

    Raises:
        BadPredictor: an unknown model, or a task that is wanted and not given.
    """
    features = features_for([text], predictor.extractor)
    tasks = None if task is None else [task]
    chances = predictor.probabilities(features, tasks)[0]
    low, high = predictor.intervals(features, tasks, COVERAGE)
    asked = predictor.models[0] if model is None else model
    names, parts = predictor.attributions(features, asked, tasks)
    order = np.argsort(-np.abs(parts[0, :-1]), kind="stable")[:top]
    values = dict(zip(features.names, features.values[0].tolist(), strict=True))
    return {
        "predictor": predictor.name,
        "extractor": predictor.extractor,
        "unlike": bool(predictor.unlike(features, tasks)[0]),
        "chances": [
            {"model": name, "chance": float(chance), "low": float(below), "high": float(above)}
            for name, chance, below, above in zip(
                predictor.models, chances, low[0], high[0], strict=True
            )
        ],
        "gains": [
            {
                "small": head.small,
                "large": head.large,
                "gain": float(predictor.gain(features, head.small, head.large, tasks)[0]),
            }
            for head in predictor.gains
        ],
        "model": asked,
        "base": float(parts[0, -1]),
        "attributions": [
            {
                "feature": names[column],
                "value": values.get(names[column]),
                "log_odds": float(parts[0, column]),
            }
            for column in order
        ],
        "others": float(np.delete(parts[0, :-1], order).sum()),
    }


def print_explanation(console: Console, found: dict[str, Any]) -> None:
    """Print an explanation as tables."""
    if found["unlike"]:
        console.print(
            "! unlike the training data: do not trust what follows; take the large model, or a "
            "cascade"
        )
    chances = _table("model", "chance of being right", f"outcome, {COVERAGE:.0%} of the time")
    for each in found["chances"]:
        chances.add_row(
            each["model"], f"{each['chance']:.2f}", f"{each['low']:.2f} to {each['high']:.2f}"
        )
    console.print(chances)
    gains = _table("from", "to", "gain")
    for each in found["gains"]:
        gains.add_row(each["small"], each["large"], f"{each['gain']:+.2f}")
    console.print(gains)
    reasons = _table(f"why {found['model']}", "value", "log-odds")
    for each in found["attributions"]:
        name = "which words it has" if each["feature"] == WORDS else each["feature"]
        value = "" if each["value"] is None else f"{each['value']:.3g}"
        reasons.add_row(name.replace("_", " "), value, f"{each['log_odds']:+.3f}")
    reasons.add_row("all other features", "", f"{found['others']:+.3f}")
    reasons.add_row("where it starts", "", f"{found['base']:+.3f}")
    console.print(reasons)
    console.print(f"Predictor {found['predictor']}, features {found['extractor']}")


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table
