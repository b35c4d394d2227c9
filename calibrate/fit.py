"""From measured points to a calibration.

In: a :class:`calibrate.measurements.Study`. Out: a :class:`model.calibration.Calibration` whose
forms were chosen by hold-out error, with covariance and the points themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibrate.measurements import Measurements, Study
from model.calibration import SCHEMA, SCHEMA_VERSION, Calibration
from model.choice import fitted
from model.curves import Curves, Domain, Points
from model.fitted import FittedForm
from model.fitting import Series, fit_best
from model.forms import POWER_FORMS, TIME_FORMS
from model.geometry import GEOMETRIES, Geometry
from model.power_choice import choose_power, with_activity, with_time_errors
from model.provenance import Kind, Origin
from model.structured import Block, Rows
from model.time_choice import choose_time, device_rates, is_hosted
from model.work import Array, Phase, Work
from phasewatt.errors import BadTable

LIMITED_BELOW = 0.98
"""An untouched GPU that draws less than this share of its power limit is held by something else."""

CAPPED_ABOVE = 0.9
"""An untouched GPU below its highest clock is held by its power limit from this share of it on."""

HIGHER = 1.01
"""From this factor on one clock is higher than another, whatever the noise of reading them."""


def fit_study(study: Study) -> Calibration:
    """Fit every (model, engine, phase) of ``study``.

    Series of models whose geometry is known are fitted together by physically structured forms,
    where batches or lengths of any series of their engine vary; every other series by itself,
    against the clock alone. Series that are too thin for either are left out, and the notes of the
    provenance say so.

    Raises:
        BadTable: no series is left.
    """
    series, left_out = _told(series_of(study))
    varied = {one.engine for one in series if one.geometry is not None and one.varies}
    together = [one for one in series if one.geometry is not None and one.engine in varied]
    forms, thin = _fit_each([one for one in series if one not in together])
    left_out += thin
    if together:
        fitted_forms, thin = _fit_together(together, study)
        forms |= fitted_forms
        left_out += thin
    if not forms:
        reasons = "; ".join(f"{who}: {why}" for who, why in left_out)
        raise BadTable(f"{study.name}: {reasons or 'no points'}")
    notes = tuple(f"left out: {who}: {why}" for who, why in left_out)
    series = [one for one in series if one.key in forms]
    curves = tuple(_curves(one, *forms[one.key], study) for one in series)
    shapes = {one.model: one.geometry for one in series if one in together and one.geometry}
    return Calibration(
        schema=SCHEMA,
        schema_version=SCHEMA_VERSION,
        name=study.name,
        gpu=study.gpu,
        curves=curves,
        provenance=replace(study.provenance, notes=(*study.provenance.notes, *notes)),
        geometries=tuple(shapes.values()),
        host=study.host,
    )


def governor_limit_w(rows: Measurements, nominal_w: float) -> float | None:
    """Return the power at which the untouched GPU holds this load, if below its nominal limit.

    It is told from the rows at the governor's own clock, where they draw clearly less than the
    limit although higher clocks exist for the same load; None where the nominal limit holds.
    """
    if not np.any(rows.stock):
        return None
    stock_w = float(rows.power_w[rows.stock].mean())
    higher = rows.sm_mhz.max() > HIGHER * rows.sm_mhz[rows.stock].max()
    return stock_w if higher and stock_w < LIMITED_BELOW * nominal_w else None


def capped_limit_w(rows: Measurements, nominal_w: float, sm_mhz_max: float) -> float | None:
    """Return the power at which the governor holds the loads that its limit slows down.

    These are the rows at the governor's own clock that reach neither the highest clock nor less
    than :data:`CAPPED_ABOVE` of the limit; None where there are none, or they draw the limit.
    """
    held = rows.stock & (rows.sm_mhz < 0.99 * sm_mhz_max)
    held &= rows.power_w >= CAPPED_ABOVE * nominal_w
    if not np.any(held):
        return None
    held_w = float(np.median(rows.power_w[held]))
    return held_w if held_w < nominal_w else None


def domain_of(rows: Measurements, phase: Phase, sm_mhz_max: float | None) -> Domain:
    """Return the ranges that ``rows`` cover, of clocks up to the highest that can be requested.

    Under light load a GPU may run above the highest clock that its driver names. Such rows are
    fitted at the clock that was read; nobody can ask for it (docs/fits.md).
    """
    return Domain(
        sm_mhz=_span(np.minimum(rows.sm_mhz, sm_mhz_max or np.inf)),
        batch=_span(rows.batch),
        prompt_tokens=_span(rows.prompt_tokens) if phase is Phase.PREFILL else None,
        context_tokens=_span(rows.context_tokens) if phase is Phase.DECODE else None,
    )


def points_of(rows: Measurements) -> Points:
    """Return those of ``rows`` that tell time and power as the points of a calibration."""
    rows = rows.rows(np.isfinite(rows.time_s) & np.isfinite(rows.power_w))
    return Points(
        sm_mhz=tuple(rows.sm_mhz.tolist()),
        batch=tuple(rows.batch.tolist()),
        prompt_tokens=tuple(rows.prompt_tokens.tolist()),
        context_tokens=tuple(rows.context_tokens.tolist()),
        time_s=tuple(rows.time_s.tolist()),
        power_w=tuple(rows.power_w.tolist()),
    )


_Key = tuple[str, str, Phase]
_Forms = dict[_Key, tuple[FittedForm, FittedForm]]
"""Time and power of each series."""
_LeftOut = tuple[str, str]
"""Which series, and why."""


@dataclass(frozen=True, eq=False)
class StepSeries:
    """The rows of one phase of one model in one engine; ``geometry`` is None where nobody told."""

    model: str
    engine: str
    phase: Phase
    geometry: Geometry | None
    rows: Measurements

    @property
    def key(self) -> _Key:
        """Model, engine and phase."""
        return self.model, self.engine, self.phase

    @property
    def name(self) -> str:
        """What notes call it."""
        count = len(self.rows)
        points = f"{count} point{'s' * (count > 1)}"
        return f"{self.phase} of {self.model} in {self.engine}, {points}"

    @property
    def varies(self) -> bool:
        """Whether batches or lengths vary."""
        columns = (self.rows.batch, self.rows.prompt_tokens, self.rows.context_tokens)
        return any(np.unique(column).size > 1 for column in columns)


def series_of(study: Study) -> list[StepSeries]:
    """Part the rows of ``study`` by model, engine and phase, in their order."""
    rows = study.measurements
    known: Mapping[str, Geometry] = {**GEOMETRIES, **study.geometries}
    keys = dict.fromkeys(
        zip(rows.model.tolist(), rows.engine.tolist(), rows.phase.tolist(), strict=True)
    )
    return [
        StepSeries(
            model,
            engine,
            Phase(phase),
            known.get(model),
            rows.rows((rows.model == model) & (rows.engine == engine) & (rows.phase == phase)),
        )
        for model, engine, phase in keys
    ]


def _told(series: Sequence[StepSeries]) -> tuple[list[StepSeries], list[_LeftOut]]:
    """Part ``series`` into those whose points tell time and power, and those that do not."""
    told: list[StepSeries] = []
    left_out: list[_LeftOut] = []
    for one in series:
        missing = [
            name
            for name in ("time", "power")
            if not np.any(np.isfinite(getattr(one.rows, _COLUMNS[name])))
        ]
        if missing:
            left_out.append((one.name, f"no point tells {' or '.join(missing)}"))
        else:
            told.append(one)
    return told, left_out


_COLUMNS = {"time": "time_s", "power": "power_w"}


def _fit_each(series: Sequence[StepSeries]) -> tuple[_Forms, list[_LeftOut]]:
    """Fit each of ``series`` against the clock alone."""
    forms: _Forms = {}
    left_out: list[_LeftOut] = []
    for one in series:
        rows, work = one.rows, one.rows.work(one.phase)
        timed, metered = np.isfinite(rows.time_s), np.isfinite(rows.power_w)
        try:
            time = Series(one.phase, rows.sm_mhz, work, rows.time_s).rows(timed)
            power = Series(one.phase, rows.sm_mhz, work, rows.power_w).rows(metered)
            forms[one.key] = fit_best(TIME_FORMS, time), fit_best(POWER_FORMS, power)
        except BadTable as error:
            left_out.append((one.name, str(error).removeprefix(f"{one.phase}: ")))
    return forms, left_out


def _fit_together(together: Sequence[StepSeries], study: Study) -> tuple[_Forms, list[_LeftOut]]:
    """Fit time engine by engine, then power of all engines that time was found of.

    Engines whose host sets the pace come last: what they hide of the GPU, the first one tells.
    """
    reference_mhz = study.gpu.sm_mhz_max or max(float(s.rows.sm_mhz.max()) for s in together)
    times: dict[_Key, FittedForm] = {}
    left_out: list[_LeftOut] = []
    believed: dict[str, tuple[float, float]] = {}
    for engine in sorted({one.engine for one in together}, key=is_hosted):
        members = [one for one in together if one.engine == engine]
        rows = replace(stacked(members, "time_s", "time_error"), believed=believed)
        try:
            chosen = choose_time(rows, reference_mhz)
        except BadTable as error:
            left_out.append((", ".join(one.name for one in members), str(error)))
            continue
        times |= {one.key: fitted(chosen, i) for i, one in enumerate(members)}
        believed = believed or device_rates(chosen.solution)
    timed = [one for one in together if one.key in times]
    if not timed:
        return {}, left_out
    of_blocks = [times[one.key] for one in timed]
    rows = metered(timed, of_blocks, study)
    try:
        power = with_time_errors(choose_power(rows, reference_mhz), of_blocks)
    except BadTable as error:
        return {}, [*left_out, (", ".join(one.name for one in timed), str(error))]
    return {one.key: (times[one.key], fitted(power, i)) for i, one in enumerate(timed)}, left_out


def metered(members: Sequence[StepSeries], times: Sequence[FittedForm], study: Study) -> Rows:
    """Stack the rows of ``members`` that tell power, with what kept the GPU busy meanwhile.

    Fitted ``times``, one of each member, say what that was.
    """
    rows = replace(stacked(members, "power_w", "power_error"), believed=study.believed)
    return with_activity(rows, [time.activity for time in times])


def stacked(members: Sequence[StepSeries], target: str, error: str) -> Rows:
    """Stack the rows of ``members`` that tell ``target``."""
    blocks, parts = [], []
    for one in members:
        assert one.geometry is not None
        blocks.append(Block(one.model, one.engine, one.phase, one.geometry.constants()))
        parts.append(one.rows.rows(np.isfinite(getattr(one.rows, target))))
    work = [part.work(one.phase) for part, one in zip(parts, members, strict=True)]
    counts = [len(part) for part in parts]
    return Rows(
        blocks=tuple(blocks),
        block=np.repeat(np.arange(len(blocks)), counts),
        sm_mhz=np.concatenate([part.sm_mhz for part in parts]),
        work=Work.stacked(work),
        target=np.concatenate([getattr(part, target) for part in parts]),
        error=np.concatenate([getattr(part, error) for part in parts]),
    )


def _curves(one: StepSeries, time: FittedForm, power: FittedForm, study: Study) -> Curves:
    nominal_w, top_mhz = study.gpu.power_limit_w, study.gpu.sm_mhz_max
    limit_w = governor_limit_w(one.rows, nominal_w)
    if top_mhz is not None:
        limit_w = capped_limit_w(one.rows, nominal_w, top_mhz)
    return Curves(
        model=one.model,
        engine=one.engine,
        phase=one.phase,
        time=time,
        power=power,
        domain=domain_of(one.rows, one.phase, top_mhz),
        points=points_of(one.rows),
        governor_limit_w=limit_w,
        origin=Origin(
            Kind.TWIN if study.provenance.kind is Kind.TWIN else Kind.FITTED,
            study.provenance.source,
        ),
    )


def _span(values: Array) -> tuple[float, float]:
    return float(values.min()), float(values.max())
