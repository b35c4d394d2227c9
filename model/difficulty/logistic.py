"""Ridge logistic regression by Newton's method, for labels anywhere in 0..1.

In: a design matrix, labels, a penalty. Out: an intercept and coefficients. The plain model that the
trees have to match, and a member of their ensemble.
"""

import numpy as np
import scipy
from numpy.typing import NDArray

_ROUNDS = 50
_TOLERANCE = 1e-8


def fit_logistic(
    design: NDArray[np.float64], label: NDArray[np.float64], penalty: float
) -> NDArray[np.float64]:
    """Return the intercept and the coefficients of P(label) = expit(a + design b).

    ``design`` has shape (n, k), ``label`` (n,) lies in 0..1; ``penalty`` / 2 x the sum of squares
    of ``b`` is added to the negative log-likelihood. The intercept is not penalised.
    """
    full = np.column_stack([np.ones(len(design)), design])
    ridge = np.full(full.shape[1], penalty)
    ridge[0] = 1e-9
    beta = np.zeros(full.shape[1])
    rate = np.clip(label.mean(), 1e-6, 1 - 1e-6)
    beta[0] = np.log(rate / (1 - rate))
    loss = _loss(full, label, ridge, beta)
    for _ in range(_ROUNDS):
        chance = scipy.special.expit(full @ beta)
        gradient = full.T @ (chance - label) + ridge * beta
        weight = np.maximum(chance * (1 - chance), 1e-9)
        hessian = (full * weight[:, None]).T @ full + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and _loss(full, label, ridge, beta - size * step) > loss:
            size /= 2
        beta = beta - size * step
        before, loss = loss, _loss(full, label, ridge, beta)
        if before - loss <= _TOLERANCE * max(abs(loss), 1.0):
            break
    return beta


def _loss(
    full: NDArray[np.float64],
    label: NDArray[np.float64],
    ridge: NDArray[np.float64],
    beta: NDArray[np.float64],
) -> float:
    logit = full @ beta
    return float(np.logaddexp(0.0, logit).sum() - label @ logit + 0.5 * ridge @ beta**2)
