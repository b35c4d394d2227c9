"""How little is known of a cell before it is measured: a Gaussian process over cells of a series.

In: places of measured and candidate cells in the unit cube, and what was measured. Out: a relative
uncertainty per candidate. It assumes smooth curves and none of the forms that are fitted later.
"""

import numpy as np

from model.work import Array

REACH = np.array([0.5, 0.5, 0.2])
"""Distance in batch, length and clock over which curves look alike, in the unit cube (assumed).

Log time and log power bend about once over all batches and lengths, but a knee takes a part of the
clock's range only: this short a reach has first designs visit five to seven clocks."""

NUGGET = 1e-3
"""Variance of one measurement over that of the process: a measured cell is known, but not quite."""


def variance(known: Array, places: Array) -> Array:
    """Return the variance of the process at ``places`` (n, 3), given ``known`` (m, 3).

    It is 1 where nothing near is known, and next to nought at what is.
    """
    covariance = _likeness(known, known) + NUGGET * np.eye(len(known))
    between = _likeness(places, known)
    explained = np.einsum("nm,mn->n", between, np.linalg.solve(covariance, between.T))
    return np.asarray(np.clip(1 - explained, 0.0, None))


def spread(known: Array, places: Array, count: int) -> list[int]:
    """Return indices of ``count`` places that tell most, one after the other, given ``known``."""
    chosen: list[int] = []
    for _ in range(min(count, len(places))):
        seen = np.concatenate([known, places[chosen]])
        left = variance(seen, places)
        left[chosen] = -1.0
        chosen.append(int(np.argmax(left)))
    return chosen


def uncertainty(known: Array, values: Array, places: Array) -> Array:
    """Return the relative standard error expected at each of ``places`` (n, 3).

    ``values`` (m, q) are logarithms of what was measured at ``known`` (m, 3); the errors of the q
    figures are added in quadrature. Where the neighbours of a place were predicted badly from all
    others (leave one out), the process is taken to vary more there.
    """
    missed = _left_out(known, values)
    nearness = _likeness(places, known)
    nearness /= nearness.sum(axis=1, keepdims=True)
    local = nearness @ np.sum(missed**2, axis=1)
    return np.asarray(np.sqrt(variance(known, places) * local))


def _left_out(known: Array, values: Array) -> Array:
    """Return what each value differs by from its prediction out of all others, (m, q).

    In units of the standard deviation that the process states for it, so that a far corner, which
    nothing can predict, does not count as rough.
    """
    covariance = _likeness(known, known) + NUGGET * np.eye(len(known))
    trend = np.column_stack([np.ones(len(known)), known])
    inverse = np.linalg.inv(covariance)
    weighted = inverse @ trend
    projected = inverse - weighted @ np.linalg.pinv(trend.T @ weighted) @ weighted.T
    diagonal = np.clip(np.diag(projected), 1e-9, None)[:, None]
    return np.asarray((projected @ values) / np.sqrt(diagonal))


def _likeness(first: Array, second: Array) -> Array:
    squared = np.sum(((first[:, None, :] - second[None, :, :]) / REACH) ** 2, axis=-1)
    return np.asarray(np.exp(-squared / 2))
