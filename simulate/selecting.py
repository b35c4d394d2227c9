"""From a selection's words to who serves what: the sight that it is given, and its choice.

In: a policy made ready for every group of a fleet, what is known of answers. Out: the models that
answer each query, and which groups may serve it for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.work import Array
from policies import Choice, Sight, make_selection
from simulate.answers import Answers
from simulate.prepare import Prepared
from simulate.service import serve_alone


@dataclass(frozen=True)
class Selected:
    """What the selection ``name`` chose among ``models``, the cheapest first."""

    name: str
    models: tuple[str, ...]
    choice: Choice

    def first(self, groups: Sequence[Prepared]) -> NDArray[np.bool_]:
        """Return which groups may serve each query first, shape (n, groups)."""
        return self._may(self.choice.first, groups)

    def then(self, groups: Sequence[Prepared]) -> NDArray[np.bool_]:
        """Return which groups may serve it after that, none where the answer stands, likewise."""
        return self._may(self.choice.then, groups)

    def _may(self, column: NDArray[np.int64], groups: Sequence[Prepared]) -> NDArray[np.bool_]:
        places = {model: place for place, model in enumerate(self.models)}
        of_group = np.array([places.get(ready.model, len(places)) for ready in groups])
        return np.asarray(column[:, None] == of_group)


def select(selection: str, groups: Sequence[Prepared], answers: Answers, seed: int) -> Selected:
    """Return whom the selection written as ``selection`` chooses among the models of ``groups``.

    Joules are expected as if each query were served alone by the first group of the model, under
    its governor.

    Raises:
        BadPolicy: there is no such selection or model, or what it must look at is not known.
    """
    chooser = make_selection(selection)
    first: dict[str, Prepared] = {}
    for ready in groups:
        first.setdefault(ready.model, ready)
    energy_j = {model: energy_alone_j(first[model]) for model in chooser.models(tuple(first))}
    models = tuple(sorted(energy_j, key=lambda model: float(energy_j[model].mean())))
    sight = Sight(
        models=models,
        energy_j=np.column_stack([energy_j[model] for model in models]),
        quality=answers.table(answers.quality, models),
        confidence=answers.table(answers.confidence, models),
        predictions=answers.predicted(models),
        features=answers if answers.has_text else None,
        seed=seed,
    )
    return Selected(chooser.name, models, chooser.choose(sight))


def energy_alone_j(ready: Prepared) -> Array:
    """Return the joules of each query alone on a GPU of ``ready``, shape (n,)."""
    service = serve_alone(ready.lengths, ready.curves, ready.gpu, ready.governor)
    return np.asarray(sum(cost.time_s * cost.power_w for cost in service.values()))
