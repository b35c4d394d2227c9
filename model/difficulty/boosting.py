"""Boosted trees: the one place that speaks to XGBoost.

In: matrices and labels, or a document that XGBoost wrote as JSON. Out: boosters, their sums of
leaves and their attributions. One thread and fixed seeds: the same data give the same trees.
XGBoost is imported by the first function that needs it, as that takes as long as many a command.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Booster = Any
"""An ``xgboost.Booster``."""


@dataclass(frozen=True)
class Trees:
    """How many trees of which depth, and how fast they learn."""

    count: int
    depth: int
    rate: float
    subsample: float = 0.7
    columns: float = 0.5
    least_weight: float = 10.0
    ridge: float = 5.0


def fit_trees(
    design: NDArray[np.float64], label: NDArray[np.float64], trees: Trees, *, logistic: bool
) -> Booster:
    """Boost ``trees`` on labels in 0..1 (``logistic``) or on any numbers (squared error)."""
    import xgboost

    parameters = {
        "objective": "binary:logistic" if logistic else "reg:squarederror",
        "max_depth": trees.depth,
        "eta": trees.rate,
        "subsample": trees.subsample,
        "colsample_bytree": trees.columns,
        "min_child_weight": trees.least_weight,
        "lambda": trees.ridge,
        "base_score": float(np.clip(label.mean(), 1e-3, 1 - 1e-3) if logistic else label.mean()),
        "tree_method": "hist",
        "nthread": 1,
        "seed": 0,
    }
    return xgboost.train(parameters, _matrix(design, label), trees.count)


def margin(booster: Booster, design: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log-odds (logistic) or values (squared error), shape (n,)."""
    found: NDArray[np.float64] = booster.predict(_matrix(design), output_margin=True)
    return found.astype(float)


def attributions(booster: Booster, design: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each column adds to the margin (TreeSHAP), and last the bias: (n, k + 1)."""
    found: NDArray[np.float64] = booster.predict(_matrix(design), pred_contribs=True)
    return found.astype(float)


def to_document(booster: Booster) -> dict[str, Any]:
    """Return the booster as XGBoost's own JSON document."""
    document: dict[str, Any] = json.loads(booster.save_raw("json"))
    return document


def from_document(document: object) -> Booster:
    """Return the booster of XGBoost's JSON document.

    Raises:
        ValueError: XGBoost does not take it.
    """
    import xgboost

    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(json.dumps(document).encode()))
        booster.set_param({"nthread": 1})
    except xgboost.core.XGBoostError as error:
        raise ValueError(" ".join(str(error).split())[:120]) from None
    return booster


def _matrix(design: NDArray[np.float64], label: NDArray[np.float64] | None = None) -> Any:
    import xgboost

    return xgboost.DMatrix(design, label, nthread=1)
