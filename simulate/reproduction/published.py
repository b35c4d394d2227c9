"""A calibration made of the paper's tables, as far as they go.

In: Tables XI and XVI and Figure 4. Out: curves of five models at three batch sizes, kind
``published``. The paper gives no seconds and no watts: the unit of time is each model's own query
at the baseline clock, so that only ratios of times, and joules a query, mean anything.
"""

import numpy as np
import scipy
from numpy.typing import ArrayLike

from model.calibration import Calibration
from model.curves import Curves, Domain, Points
from model.fitted import Diagnostics, FitErrors, FittedForm
from model.gpu import Gpu
from model.provenance import Kind, Origin, Provenance
from model.work import Array, Phase
from simulate.reproduction.tables import Paper, Slowed

POWER_LIMIT_W = 600.0
"""Of the Workstation and Server variants by their data sheets; the paper states no variant. It
never binds here."""

NAME = "paper-2501.08219"

_STEEPEST = 9.0


def published(paper: Paper) -> Calibration:
    """Return the calibration: engines ``batch-1``, ``batch-4`` and ``batch-8`` for every model.

    A query has :func:`prompt_tokens` prompt tokens and the decode steps of
    ``paper.tokens_per_query``. Times are `a + b / f` through both clocks of Table XI; where that
    says that a lower clock is faster, b is 0. Both phases draw one power (assumed: the paper gives
    no joules of a phase), a power law through the joules of both clocks whose steepness is that
    of Figure 4. Of batches 4 and 8 the paper gives no joules: theirs are in units of the query at
    the baseline clock.
    """
    curves = tuple(
        each
        for index, model in enumerate(paper.models)
        for batch, rows in paper.slowed.items()
        for each in _curves(paper, model, batch, rows[index], index)
    )
    source = f"{paper.name}, Tables XI and XVI, Figure 4"
    return Calibration(
        schema="phasewatt-calibration",
        schema_version=1,
        name=NAME,
        gpu=Gpu(
            name=paper.gpu,
            sm_mhz_step=1.0,
            power_limit_w=POWER_LIMIT_W,
            idle_power_w=0.0,
            origins={
                "power_limit_w": Origin(Kind.PUBLISHED, "data sheets; it never binds here"),
                "idle_power_w": Origin(Kind.ASSUMED, "the paper does not count idle time"),
            },
            sm_mhz_max=paper.baseline_mhz,
        ),
        curves=curves,
        provenance=Provenance(
            kind=Kind.PUBLISHED,
            source=source,
            method="two-point curves through published ratios; not a fit to measurements",
            date="2026-02",
            licence="facts from a paper",
            software={},
            command="simulate reproduce 2501.08219",
            notes=(
                "The unit of time is each model's own query at the baseline clock: no seconds are "
                "published.",
                "Clocks are those requested; the paper reports none that was observed.",
            ),
        ),
    )


def prompt_tokens(paper: Paper) -> int:
    """Return the mean prompt of the paper's four data sets, Table I."""
    return round(sum(tokens for tokens, _ in paper.lengths.values()) / len(paper.lengths))


def engine(batch: int) -> str:
    """Return what the calibration calls the paper's engine at a batch size."""
    return f"batch-{batch}"


def _curves(paper: Paper, model: str, batch: int, row: Slowed, index: int) -> tuple[Curves, Curves]:
    origin = Origin(Kind.PUBLISHED, f"{paper.name}, Table XI, batch {batch}")
    steps, prompt = paper.tokens_per_query, prompt_tokens(paper)
    whole_j = paper.joules[index].baseline_j if batch == 1 else 1.0
    low = paper.low_mhz / paper.baseline_mhz
    shares = {Phase.PREFILL: row.prefill_share, Phase.DECODE: 1 - row.prefill_share}
    slowed = {Phase.PREFILL: row.prefill, Phase.DECODE: row.decode}
    times = {phase: _through(shares[phase], slowed[phase], low) for phase in Phase}
    power = _power(paper, index, row, whole_j, times)
    units = {Phase.PREFILL: batch * prompt, Phase.DECODE: steps}
    clocks = np.array([paper.low_mhz, paper.baseline_mhz])

    def curve(phase: Phase) -> Curves:
        a, b = (float(part) / units[phase] for part in times[phase])
        prefill = phase is Phase.PREFILL
        time_s = [units[phase] * (a + b * paper.baseline_mhz / mhz) for mhz in clocks]
        p0, c, k = power
        return Curves(
            model=model,
            engine=engine(batch),
            phase=phase,
            time=_exact(paper, "a+b/f", {"a_s": a, "b_s": b}),
            power=_exact(paper, "power-law", {"p0_w": p0, "c_w": c, "k": k}),
            domain=Domain(
                sm_mhz=(paper.low_mhz, paper.baseline_mhz),
                batch=(float(batch), float(batch)),
                prompt_tokens=(float(prompt), float(prompt)) if prefill else None,
                context_tokens=None if prefill else (1.0, float(prompt + steps)),
            ),
            points=Points(
                sm_mhz=tuple(clocks.tolist()),
                batch=(float(batch),) * 2,
                prompt_tokens=(float(prompt),) * 2,
                context_tokens=(0.0,) * 2 if prefill else (float(prompt),) * 2,
                time_s=tuple(time_s),
                power_w=tuple(p0 + c * (mhz / paper.baseline_mhz) ** k for mhz in clocks),
            ),
            governor_limit_w=None,
            origin=origin,
        )

    return curve(Phase.PREFILL), curve(Phase.DECODE)


def _through(at_baseline: float, slowed: float, low: float) -> tuple[float, float]:
    """Return a, b of ``a + b / x`` with ``at_baseline`` at 1, ``slowed`` more at ``low``."""
    b = max(at_baseline * slowed / (1 / low - 1), 0.0)
    return at_baseline - b, b


def _power(
    paper: Paper,
    index: int,
    row: Slowed,
    whole_j: float,
    times: dict[Phase, tuple[float, float]],
) -> tuple[float, float, float]:
    """Return p0, c, k of ``p0 + c x^k``: both ends of Table XI, between them Figure 4's shape."""

    def time_at(x: ArrayLike) -> Array:
        return np.asarray(sum(a + b / np.asarray(x) for a, b in times.values()))

    low = paper.low_mhz / paper.baseline_mhz
    low_w = whole_j * (1 - row.saving) / float(time_at(low))

    def ends(k: float) -> tuple[float, float]:
        c = (whole_j - low_w) / (1 - low**k)
        return whole_j - c, c

    drawn = dict(zip(paper.savings_mhz, paper.savings[index], strict=True))
    # Figure 4 does not say of which batch it is: its shape is stretched to Table XI's saving.
    stretch = row.saving / drawn[paper.low_mhz]

    def miss(k: float) -> float:
        p0, c = ends(k)
        x = np.array(list(drawn)) / paper.baseline_mhz
        savings = 1 - (p0 + c * x**k) * time_at(x) / whole_j
        return float(np.sum((savings - stretch * np.array(list(drawn.values()))) ** 2))

    k = float(scipy.optimize.minimize_scalar(miss, bounds=(1.0, _STEEPEST), method="bounded").x)
    return (*ends(k), k)


def _exact(paper: Paper, form: str, coefficients: dict[str, float]) -> FittedForm:
    size = len(coefficients)
    return FittedForm(
        form=form,
        reference_mhz=paper.baseline_mhz,
        coefficients=coefficients,
        covariance=tuple((0.0,) * size for _ in range(size)),
        constants={},
        residual_sd=0.0,
        degrees_of_freedom=1,
        errors=FitErrors(2, 2, 0.0, 0.0, 0.0, {form: 0.0}),
        diagnostics=Diagnostics(None, None, None),
    )
