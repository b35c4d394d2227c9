"""Routing between two models: what quality costs as the threshold moves.

In: for each query the outcome of the small and of the large model, and a score: the highest go to
the large one. Out: the curve of quality against the share of calls, APGR and CPT as RouteLLM
defines them (arXiv 2406.18665, section 2), and energy saved at a stated loss of quality.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Curve:
    """``quality[i]`` is the mean outcome with the share ``calls[i]`` of queries sent to the large
    model; both go from none to all.
    """

    calls: NDArray[np.float64] = field(repr=False)
    quality: NDArray[np.float64] = field(repr=False)

    @property
    def recovered(self) -> NDArray[np.float64]:
        """PGR: the share of the gap between the models that is recovered; may exceed 1."""
        gap = self.quality[-1] - self.quality[0]
        found: NDArray[np.float64] = (self.quality - self.quality[0]) / gap
        return found

    def apgr(self) -> float:
        """Return the mean PGR over all shares of calls: 0.5 where routing is random."""
        return float(np.trapezoid(self.recovered, self.calls))

    def cpt(self, share: float) -> float:
        """Return the least share of calls from which PGR reaches ``share``: CPT50 is 0.5."""
        return float(self.calls[np.argmax(self.recovered >= share - 1e-12)])

    def saved(self, loss: float, cost_small: float, cost_large: float, *, both: bool) -> float:
        """Return the most energy saved against the large model alone at ``loss`` of its quality.

        ``loss`` is relative (0.01 is 1%); ``both`` says that escalated queries run on the small
        model too. Zero where nothing is saved.
        """
        kept = self.quality >= (1 - loss) * self.quality[-1] - 1e-12
        small = 1.0 if both else 1 - self.calls
        cost = (small * cost_small + self.calls * cost_large) / cost_large
        return float(max(1 - cost[kept].min(), 0.0))


def curve(
    score: NDArray[np.float64], small: NDArray[np.float64], large: NDArray[np.float64]
) -> Curve:
    """Return the curve of sending the queries of the highest ``score`` to the large model first.

    All arrays have shape (n,). Of queries with one score, any may go first: between such groups the
    curve is a straight line.
    """
    order = np.argsort(-score, kind="stable")
    gained = np.concatenate([[0.0], np.cumsum((large - small)[order])])
    ends = np.concatenate([[0], np.flatnonzero(np.diff(score[order])) + 1, [len(score)]])
    place = np.arange(len(score) + 1)
    quality = small.mean() + np.interp(place, ends, gained[ends]) / len(score)
    return Curve(place / len(score), quality)
