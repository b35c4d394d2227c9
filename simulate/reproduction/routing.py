"""Scaling patterns and what routing by them would give, on outcomes that anyone can look up.

In: pools of outcomes, the paper's joules. Out: two sheets.
"""

import numpy as np

from model.calibration import Calibration
from model.patterns import Pattern, patterns
from model.work import Array
from simulate.reproduction.costs import paper_cost
from simulate.reproduction.sheet import Column, Pair, Sheet, Value, joules, ours, percent, signed
from simulate.reproduction.tables import Paper, Pool

ROUTED_POOL = "cascades"
"""The pool with models of about the paper's sizes."""

PAPERS_MODEL = {
    0: "llama-3.2-1b",
    1: "llama-3.2-3b",
    2: "llama-3.1-8b",
    3: "qwen2.5-32b",
}
"""Whose joules stand for each of the first models of that pool: the same sizes, the last one as a
coder. The paper's 14B has no outcomes there, so the 32B answers what scaling helps."""

ROUTES = {Pattern.EASY: 1, Pattern.HELPS: 3, Pattern.HARD: 1, Pattern.INCONSISTENT: 2}
"""Which of them answers each pattern, after Table XV: 3B, 8B and more, 3B, 8B."""


def pattern_shares(pool: Pool) -> dict[str, float]:
    """Return the share of the pool's queries that show each pattern."""
    found = patterns(pool.good, 0.5)
    return {pattern.value: float(pool.share[found == pattern].sum()) for pattern in Pattern}


def pattern_sheet(paper: Paper, pools: tuple[Pool, ...]) -> Sheet:
    """Return the shares of the four patterns, of the paper and of every pool and threshold."""
    rows: dict[str, tuple[Pair, ...]] = {
        "the paper (threshold not given)": tuple(ours(paper.pattern_shares[p]) for p in Pattern)
    }
    for pool in pools:
        shares = pattern_shares(pool)
        models = pool.good.shape[1]
        label = f"{pool.name}, {models} models, {_good(pool.threshold)}"
        rows[label] = tuple(ours(shares[p]) for p in Pattern)
    everyone = paper.right_by_models[-1] + paper.generative_half
    graded = [pool for pool in pools if pool.threshold < 1]
    low, high = (pattern_shares(p)[Pattern.EASY] for p in (graded[0], graded[-1]))
    return Sheet(
        "patterns",
        "Table IX: scaling patterns, as a function of what counts as good (share of queries)",
        tuple(Column(pattern.value, percent) for pattern in Pattern),
        rows,
        (
            "Easy: good from every model; hard: from none; scaling helps: one model is the first "
            "that is good and all larger ones are; inconsistent: the rest.",
            f"The threshold decides: on {graded[0].name} the same answers are {low:.0%} or "
            f"{high:.0%} easy at {graded[0].threshold:g} and {graded[-1].threshold:g}.",
            f"The paper's {paper.pattern_shares[Pattern.EASY]:.1%} easy cannot be good from all "
            "five models at one half: by its Figure 2 at most "
            f"{everyone / paper.figure_2_queries:.1%} are.",
        ),
    )


def mixture_sheet(paper: Paper, calibration: Calibration, pools: tuple[Pool, ...]) -> Sheet:
    """Return quality and joules of the routed mixture on measured outcomes."""
    pool = next(pool for pool in pools if pool.name == ROUTED_POOL)
    found = patterns(pool.good[:, : len(PAPERS_MODEL)], 0.5)
    column = np.select([found == pattern for pattern in ROUTES], list(ROUTES.values()))
    right = np.asarray(pool.good, dtype=np.float64)[:, : len(PAPERS_MODEL)]
    small, large = ROUTES[Pattern.EASY], ROUTES[Pattern.HELPS]
    routed = np.bincount(column, pool.share, minlength=len(PAPERS_MODEL))
    whom = np.eye(len(PAPERS_MODEL))
    answers = {
        f"always {PAPERS_MODEL[large]}": (whom[large], float(pool.share @ right[:, large])),
        f"always {PAPERS_MODEL[small]}": (whom[small], float(pool.share @ right[:, small])),
        "by pattern": (
            routed,
            float(pool.share @ np.take_along_axis(right, column[:, None], 1)[:, 0]),
        ),
        "the same shares by lot": (routed, float(routed @ (pool.share @ right))),
        "smallest right model": _oracle(pool, right),
    }
    high = _joules(paper, calibration, "max-frequency")
    low = _joules(paper, calibration, f"fixed:{paper.low_mhz:g}")
    best = answers[f"always {PAPERS_MODEL[large]}"][1]
    rows: dict[str, tuple[Pair, ...]] = {}
    for label, (shares, quality) in answers.items():
        at_high, at_low = float(shares @ high), float(shares @ low)
        figures: tuple[Value, ...] = (
            quality,
            quality / best - 1,
            at_high,
            1 - at_high / high[large],
            1 - at_low / high[large],
        )
        rows[label] = tuple(ours(figure) for figure in figures)
    gain = rows["by pattern"][4].ours
    assert isinstance(gain, float)
    return Sheet(
        "mixture",
        f"The routed mixture on measured outcomes ({pool.name}, {pool.queries.sum():,} queries), "
        "at the paper's joules",
        (
            Column("right", percent),
            Column("against the large model", signed),
            Column("J a query", joules),
            Column("saving", percent),
            Column(f"saving at {paper.low_mhz:g} MHz", percent),
        ),
        rows,
        (
            f"With the shares of these outcomes the combined saving is {gain:.1%}, not "
            f"{paper.routed_saving:.0%}: more queries need the large model than the paper's shares "
            "say.",
            "Patterns are known from the answers of all models: no router knows them beforehand. "
            "The same shares by lot are what a router reaches that knows nothing.",
            "Assumed: qwen2.5-32b-coder-instruct answers for the paper's 32B; every query takes "
            "the paper's mean joules.",
        ),
    )


def _oracle(pool: Pool, right: Array) -> tuple[Array, float]:
    """Return the shares of the smallest right model, the smallest of all where none is, and Q."""
    column = np.argmax(right > 0, axis=1)
    shares = np.bincount(column, pool.share, minlength=right.shape[1]).astype(np.float64)
    return shares, float(pool.share @ right.max(axis=1))


def _joules(paper: Paper, calibration: Calibration, policy: str) -> Array:
    return np.array(
        [paper_cost(paper, calibration, m, policy).energy_j for m in PAPERS_MODEL.values()]
    )


def _good(threshold: float) -> str:
    return "right" if threshold == 1 else f"P(right) >= {threshold:g}"
