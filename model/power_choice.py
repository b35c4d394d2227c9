"""Choose the form that tells the power of steps from what keeps the GPU busy.

In: rows of measured power, the fitted times that say what is busy. Out: a
:class:`model.choice.Choice` whose covariance admits what is not known of times and of beliefs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from model.activity import ACTIVITY_FORMS
from model.choice import Choice, Field
from model.fitted import FittedForm, lower_root
from model.shape import Activity
from model.structured import Rows, Sharing, Structure
from model.work import Work


def choose_power(rows: Rows, reference_mhz: float) -> Choice:
    """Choose the power form of ``rows``, of all engines, and who shares its coefficients.

    The voltage curve belongs to the GPU and is shared by all. What ``rows.believed`` tells of it is
    taken as it is, since under a power limit rows cannot tell it from what a step draws: there the
    clock gives way to power. The covariance admits how well it is known.

    Raises:
        BadTable: the rows determine none.
    """
    field = Field(holding_beliefs(rows), reference_mhz)
    for sharing in Sharing:
        for form in ACTIVITY_FORMS:
            fewest = _fewest_rows(rows, sharing)
            if sharing is Sharing.ALL or fewest >= _ROWS_A_NUMBER * len(form.coefficients):
                field.attempt(Structure(form, sharing))
        if field.noise_is_reached():
            break
    return _admitting(field.choice("power"), rows.believed)


def holding_beliefs(rows: Rows) -> Rows:
    """Return ``rows`` with what is believed of the GPU taken as it is."""
    held = {name: (mean, _HELD * sd) for name, (mean, sd) in rows.believed.items()}
    return replace(rows, believed=held)


_HELD = 0.01
"""What is left of a belief's standard deviation while a fit holds it as it is."""


def _admitting(choice: Choice, believed: Mapping[str, tuple[float, float]]) -> Choice:
    """Return ``choice`` with a covariance that admits how far what was believed may be wrong."""
    solution = choice.solution
    estimate, covariance = solution.estimate, solution.estimate.covariance.copy()
    kept = np.ones(solution.rows.target.size, dtype=np.bool_)
    for name, (mean, sd) in believed.items():
        if name in solution.structure.form.names:
            rows = replace(solution.rows, believed={**believed, name: (mean + sd, _HELD * sd)})
            change = replace(solution, rows=rows).solved_with(kept) - estimate.theta
            covariance += np.outer(change, change)
    estimate = replace(estimate, covariance=covariance)
    return replace(choice, solution=replace(solution, estimate=estimate))


_ROWS_A_NUMBER = 2
"""Rows of a group to each of its numbers: of fewer, one more or less would change them all."""


def _fewest_rows(rows: Rows, sharing: Sharing) -> int:
    """Return how many rows the smallest group has that ``sharing`` makes."""
    groups = [block.group(sharing) for block in rows.blocks]
    counts = dict.fromkeys(groups, 0)
    for block, group in enumerate(groups):
        counts[group] += int(np.sum(rows.block == block))
    return min(counts.values())


def with_activity(rows: Rows, of_blocks: Sequence[Callable[[Work], Activity]]) -> Rows:
    """Return ``rows`` with what keeps the GPU busy, which ``of_blocks`` tells for each block."""
    memory, compute = np.empty(rows.target.size), np.empty(rows.target.size)
    for block, activity_of in enumerate(of_blocks):
        mine = rows.block == block
        activity = activity_of(rows.work.at(mine))
        memory[mine], compute[mine] = activity.memory, activity.compute
    return replace(rows, activity=Activity(memory, compute))


def with_time_errors(choice: Choice, times: Sequence[FittedForm]) -> Choice:
    """Return the choice of power with a covariance that admits what is not known of the times.

    What keeps the GPU busy comes from the fitted time of each block (``times``): every direction
    in which those may err moves the residuals, and through them the numbers of the power form.
    """
    solution = choice.solution
    estimate, residuals = solution.estimate, solution.residuals()
    covariance = estimate.covariance.copy()
    for shared in {(t.form, tuple(t.theta), t.covariance): t for t in times}.values():
        for error in lower_root(shared.covariance_matrix).T:
            other = [
                t.with_theta(t.theta + error) if t.same_coefficients(shared) else t for t in times
            ]
            rows = with_activity(solution.rows, [t.activity for t in other])
            change = estimate.gain @ (replace(solution, rows=rows).residuals() - residuals)
            covariance += np.outer(change, change)
    return replace(
        choice, solution=replace(solution, estimate=replace(estimate, covariance=covariance))
    )
