"""From measured points to a calibration.

In: a :class:`calibrate.measurements.Study`. Out: a :class:`model.calibration.Calibration` whose
forms were chosen by hold-out error, with covariance and the points themselves.
"""

import numpy as np

from calibrate.measurements import Measurements, Study
from model.calibration import SCHEMA, SCHEMA_VERSION, Calibration
from model.curves import Curves, Domain, Points
from model.fitting import Series, fit_best
from model.forms import POWER_FORMS, TIME_FORMS
from model.provenance import Kind, Origin
from model.work import Array, Phase
from phasewatt.errors import BadTable

LIMITED_BELOW = 0.98
"""An untouched GPU that draws less than this share of its power limit is held by something else."""


def fit_study(study: Study) -> Calibration:
    """Fit every (model, engine, phase) of ``study``.

    Raises:
        BadTable: a phase has too few distinct clocks, or only one of both phases was measured.
    """
    rows = study.measurements
    keys = dict.fromkeys(
        zip(rows.model.tolist(), rows.engine.tolist(), rows.phase.tolist(), strict=True)
    )
    curves = []
    for model, engine, phase in keys:
        chosen = (rows.model == model) & (rows.engine == engine) & (rows.phase == phase)
        curves.append(_fit_series(model, engine, Phase(phase), rows.rows(chosen), study))
    return Calibration(
        schema=SCHEMA,
        schema_version=SCHEMA_VERSION,
        name=study.name,
        gpu=study.gpu,
        curves=tuple(curves),
        provenance=study.provenance,
    )


def _fit_series(model: str, engine: str, phase: Phase, rows: Measurements, study: Study) -> Curves:
    work = rows.work(phase)
    try:
        time = fit_best(TIME_FORMS, Series(phase, rows.sm_mhz, work, rows.time_s))
        power = fit_best(POWER_FORMS, Series(phase, rows.sm_mhz, work, rows.power_w))
    except BadTable as error:
        raise BadTable(f"{study.name}: {model} in {engine}: {error}") from None
    return Curves(
        model=model,
        engine=engine,
        phase=phase,
        time=time,
        power=power,
        domain=domain_of(rows, phase),
        points=points_of(rows),
        governor_limit_w=governor_limit_w(rows, study.gpu.power_limit_w),
        origin=Origin(
            Kind.TWIN if study.provenance.kind is Kind.TWIN else Kind.FITTED,
            study.provenance.source,
        ),
    )


def governor_limit_w(rows: Measurements, nominal_w: float) -> float | None:
    """Return the power at which the untouched GPU holds this load, if below its nominal limit.

    It is told from the rows at the governor's own clock, where they draw clearly less than the
    limit although higher clocks exist for the same load; None where the nominal limit holds.
    """
    if not np.any(rows.stock):
        return None
    stock_w = float(rows.power_w[rows.stock].mean())
    higher = rows.sm_mhz.max() > rows.sm_mhz[rows.stock].max()
    return stock_w if higher and stock_w < LIMITED_BELOW * nominal_w else None


def domain_of(rows: Measurements, phase: Phase) -> Domain:
    """Return the ranges that ``rows`` cover."""
    return Domain(
        sm_mhz=_span(rows.sm_mhz),
        batch=_span(rows.batch),
        prompt_tokens=_span(rows.prompt_tokens) if phase is Phase.PREFILL else None,
        context_tokens=_span(rows.context_tokens) if phase is Phase.DECODE else None,
    )


def points_of(rows: Measurements) -> Points:
    """Return ``rows`` as the points that a calibration carries."""
    return Points(
        sm_mhz=tuple(rows.sm_mhz.tolist()),
        batch=tuple(rows.batch.tolist()),
        prompt_tokens=tuple(rows.prompt_tokens.tolist()),
        context_tokens=tuple(rows.context_tokens.tolist()),
        time_s=tuple(rows.time_s.tolist()),
        power_w=tuple(rows.power_w.tolist()),
    )


def _span(values: Array) -> tuple[float, float]:
    return float(values.min()), float(values.max())
