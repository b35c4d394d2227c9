"""Questions whose difficulty is known: what a predictor can learn of them is written here."""

from dataclasses import replace

import numpy as np

from model.difficulty import paper
from model.difficulty.features import Features, features_of
from model.difficulty.table import OutcomeTable
from model.difficulty.training import Recipe, Trees

MODELS = ("small", "middle", "large")
TASKS = ("sums", "trivia")
NOUNS = (
    *("apples", "rivers", "poets", "planets", "bridges"),
    *("engines", "kings", "metals", "songs", "borders"),
)

QUICK = Recipe(
    own=Trees(12, 2, 0.3), pool=Trees(12, 2, 0.3), gain=Trees(12, 2, 0.3), penalty=5.0, folds=2
)

FEW = (*paper.NAMES, "words", "chars", "commas", "numbers", "longest_word")


def texts_and_chances(n, rng):
    """Texts, tasks, and P(right) of each model: longer sums and rarer nouns are harder."""
    texts, tasks, hard = [], [], []
    for index in range(n):
        terms = int(rng.integers(1, 12))
        noun = NOUNS[rng.integers(len(NOUNS))]
        if rng.random() < 0.5:
            numbers = " + ".join(str(each) for each in rng.integers(1, 99, terms))
            texts.append(f"Case {index}: what is {numbers} in {noun}?")
            tasks.append("sums")
        else:
            names = ", ".join(NOUNS[k].capitalize() for k in rng.integers(0, 10, terms))
            texts.append(f"Which of {names} is the oldest of the {noun} number {index}?")
            tasks.append("trivia")
        hard.append(terms / 12)
    difficulty = np.array(hard)
    chances = np.column_stack([1 - difficulty, 1 - 0.7 * difficulty**2, 0.98 - 0.2 * difficulty])
    return texts, np.array(tasks), np.clip(chances, 0.02, 0.98)


def table(n=400, seed=0):
    """An outcome table of such questions, drawn with ``seed``."""
    rng = np.random.default_rng(seed)
    texts, tasks, chances = texts_and_chances(n, rng)
    return OutcomeTable(
        ids=np.array([f"q{index}" for index in range(n)]),
        tasks=tasks,
        features=features_of(texts),
        models=MODELS,
        outcomes=(rng.random(chances.shape) < chances).astype(float),
    )


def slim_table(n=400, seed=0):
    """The same with a few features, one of them noise, and no words: quicker to learn from."""
    full = table(n, seed)
    own = np.random.default_rng(seed).random(n)
    few = Features("few", (*FEW, "noise"), np.column_stack([full.features.columns(FEW), own]))
    return replace(full, features=few)
