"""Curves of a model that nobody measured, from its shape and from the models that were.

In: a calibration with physically structured curves, a geometry. Out: the calibration with curves
of that geometry added: labelled as transferred, wider by what sets one model apart from the next.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from model.activity import ACTIVITY_FORMS
from model.calibration import Calibration
from model.choice import Choice, fitted
from model.curves import Curves, Domain, Points
from model.fitted import FittedForm
from model.geometry import Geometry
from model.power_choice import with_activity, with_time_errors
from model.provenance import Kind, Origin
from model.roofline import ROOFLINES, Launch, Roofline
from model.structured import Block, Rows, Sharing, Solution, Structure, fit_structure
from model.work import Array, Work
from phasewatt.errors import BadCalibration

ASSUMED_SD = 0.15
"""Relative standard deviation of a transfer from a single model, which cannot tell how models
differ: assumed, about three times the error that structured fits aim at for models they saw."""


def transfer(calibration: Calibration, geometry: Geometry) -> Calibration:
    """Return ``calibration`` with curves of ``geometry`` for every engine and phase it can tell.

    The structure is the one that best predicts each measured model from all others; the error of
    those predictions widens the intervals of the transfer.

    Raises:
        BadCalibration: the model is there already, or nothing was fitted in physical structure.
    """
    if geometry.name in calibration.models:
        raise BadCalibration(
            f"calibration {calibration.name} holds {geometry.name!r} already; "
            "expected another name for the transfer"
        )
    sources = [c for c in calibration.curves if _is_source(calibration, c)]
    if not sources:
        raise BadCalibration(
            f"calibration {calibration.name} holds no curves to transfer from; expected a model of "
            "known geometry, measured at several batches or lengths"
        )
    added = [
        curves
        for engine in dict.fromkeys(c.engine for c in sources)
        for curves in _carried([c for c in sources if c.engine == engine], calibration, geometry)
    ]
    return replace(
        calibration,
        curves=(*calibration.curves, *added),
        geometries=(*calibration.geometries, geometry),
    )


@dataclass(frozen=True)
class _Left:
    """A structure with the errors of predicting each model from all others.

    ``error`` is the log of predicted over measured, (n,), and ``without`` the solution that each
    model was predicted from, by its name; both are empty where there is one model only.
    """

    whole: Solution
    error: Array
    without: dict[str, Solution]


def _is_source(calibration: Calibration, curves: Curves) -> bool:
    known = calibration.geometry_of(curves.model) is not None
    return known and curves.time.definition.parts is not None and bool(curves.points.sm_mhz)


def _carried(
    sources: Sequence[Curves], calibration: Calibration, geometry: Geometry
) -> list[Curves]:
    """Return the curves of ``geometry`` in the one engine of ``sources``."""
    reference_mhz = sources[0].time.reference_mhz
    rows = _rows(sources, calibration)
    time = _leave_models_out(_time_structures(sources), rows, reference_mhz, {})
    whole_time = [partial(time.whole.activity, i) for i in range(len(sources))]
    watts = np.concatenate([c.points.power_w for c in sources])
    power_rows = with_activity(replace(rows, target=watts), whole_time)
    power = _leave_models_out(_power_structures(), power_rows, reference_mhz, time.without)
    times = [fitted(_as_choice(time), i) for i in range(len(sources))]
    powers = with_time_errors(_as_choice(power), times)
    models = tuple(dict.fromkeys(c.model for c in sources))
    carried = []
    for phase in dict.fromkeys(c.phase for c in sources):
        alike = [i for i, c in enumerate(sources) if c.phase is phase]
        first, members = alike[0], [sources[i] for i in alike]
        mine = np.isin(rows.block, alike)
        limits = [c.governor_limit_w for c in members if c.governor_limit_w is not None]
        carried.append(
            Curves(
                model=geometry.name,
                engine=sources[first].engine,
                phase=phase,
                time=_moved(times[first], geometry.constants(), time, mine),
                power=_moved(fitted(powers, first), {}, power, mine),
                domain=_common(members),
                points=Points((), (), (), (), (), ()),
                governor_limit_w=float(np.median(limits)) if limits else None,
                origin=Origin(Kind.TRANSFERRED, _source(calibration, models)),
            )
        )
    return carried


def _rows(sources: Sequence[Curves], calibration: Calibration) -> Rows:
    blocks = []
    for curves in sources:
        geometry = calibration.geometry_of(curves.model)
        assert geometry is not None
        blocks.append(Block(curves.model, curves.engine, curves.phase, geometry.constants()))
    counts = [len(c.points.sm_mhz) for c in sources]
    return Rows(
        blocks=tuple(blocks),
        block=np.repeat(np.arange(len(blocks)), counts),
        sm_mhz=np.concatenate([c.points.sm_mhz for c in sources]),
        work=Work.stacked([c.points.work(c.phase) for c in sources]),
        target=np.concatenate([c.points.time_s for c in sources]),
        error=np.full(sum(counts), np.nan),
    )


def _time_structures(sources: Sequence[Curves]) -> list[Structure]:
    """Return those in use and the plain rooflines, shared by all models or by each phase."""
    used = {c.time.form for c in sources}
    forms = [form for form in ROOFLINES.values() if form.name in used]
    for launch in Launch:
        forms += [ROOFLINES[Roofline(launch, one)] for one in (False, True)]
    return [Structure(f, s) for s in _POOLED for f in dict.fromkeys(forms)]


def _power_structures() -> list[Structure]:
    return [Structure(form, sharing) for sharing in _POOLED for form in ACTIVITY_FORMS]


_POOLED = (Sharing.ALL, Sharing.PHASE)


def _leave_models_out(
    structures: Iterable[Structure],
    rows: Rows,
    reference_mhz: float,
    times: dict[str, Solution],
) -> _Left:
    """Return the structure that predicts each model from all others best.

    ``times`` are the fits of time without each model, where the target is power: what keeps a
    model busy that was left out is predicted as well. A structure that errs more on models it has
    seen than another on models it has not is out of the running.
    """
    names = np.array([block.model for block in rows.blocks])
    models = tuple(dict.fromkeys(names.tolist()))
    found: list[_Left] = []
    for structure in structures:
        whole = fit_structure(structure, rows, reference_mhz)
        seen_error = float(np.mean(np.abs(whole.residuals())))
        if not whole.estimate.determined or any(seen_error > _score(left) for left in found):
            continue
        start = [whole.coefficients(0)] if structure.sharing is Sharing.ALL else []
        left = _Left(whole, np.empty(0), {})
        if len(models) > 1:
            left = _Left(whole, np.empty(rows.target.size), {})
            for model in models:
                held = np.isin(rows.block, np.flatnonzero(names == model))
                seen = _as_seen(rows, times.get(model))
                fit = fit_structure(structure, seen.rows(~held), reference_mhz, start)
                if not fit.estimate.determined:
                    break
                left.without[model] = fit
                left.error[held] = replace(fit, rows=seen.rows(held)).residuals()
            if len(left.without) < len(models):
                continue
        found.append(left)
    if not found:
        raise BadCalibration(
            f"the points of {', '.join(models)} are too few or too alike to transfer from"
        )
    return min(found, key=_score)


def _as_seen(rows: Rows, time: Solution | None) -> Rows:
    if time is None:
        return rows
    blocks = range(len(rows.blocks))
    return with_activity(rows, [partial(time.activity, block) for block in blocks])


def _score(left: _Left) -> float:
    errors = left.error if left.error.size else left.whole.residuals()
    return float(np.mean(np.abs(errors)))


def _as_choice(left: _Left) -> Choice:
    errors = left.error if left.error.size else left.whole.residuals()
    return Choice(left.whole, np.abs(np.expm1(errors)), {left.whole.structure.name: _score(left)})


def _moved(
    form: FittedForm, constants: dict[str, float], left: _Left, mine: NDArray[np.bool_]
) -> FittedForm:
    """Return ``form`` for another model, with the scatter of models left out as its error."""
    if not left.error.size:
        return replace(form, constants=constants, scale_sd=ASSUMED_SD)
    names = np.array([block.model for block in left.whole.rows.blocks])[left.whole.rows.block]
    shifts, spreads = [], []
    for model in dict.fromkeys(names[mine].tolist()):
        errors = left.error[mine & (names == model)]
        shifts.append(float(np.median(errors)))
        spreads.append(float(np.median(np.abs(errors - shifts[-1]))))
    between = float(np.sqrt(np.mean(np.square(shifts))))
    within = 1.4826 * float(np.sqrt(np.mean(np.square(spreads))))
    return replace(
        form,
        constants=constants,
        scale_sd=float(f"{between:.9g}"),
        residual_sd=max(form.residual_sd, float(f"{within:.9g}")),
        # The scatter is a mean of as many squares as there are models.
        degrees_of_freedom=min(form.degrees_of_freedom, len(shifts)),
    )


def _common(members: Sequence[Curves]) -> Domain:
    """Return every clock that was measured, and the batches and lengths measured on all models."""
    domains = [c.domain for c in members]
    clocks = [d.sm_mhz for d in domains]
    return Domain(
        sm_mhz=(min(low for low, _ in clocks), max(high for _, high in clocks)),
        batch=_shared([d.batch for d in domains]),
        prompt_tokens=_shared_or_none([d.prompt_tokens for d in domains]),
        context_tokens=_shared_or_none([d.context_tokens for d in domains]),
    )


def _shared(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    low, high = max(low for low, _ in spans), min(high for _, high in spans)
    if low <= high:
        return low, high
    return min(low for low, _ in spans), max(high for _, high in spans)


def _shared_or_none(
    spans: Sequence[tuple[float, float] | None],
) -> tuple[float, float] | None:
    known = [span for span in spans if span is not None]
    return _shared(known) if known else None


def _source(calibration: Calibration, models: Sequence[str]) -> str:
    twin = "twin: " if calibration.provenance.kind is Kind.TWIN else ""
    width = (
        f"interval from predicting each of these {len(models)} models from the others"
        if len(models) > 1
        else f"interval assumed at {ASSUMED_SD:.0%} standard deviation, for want of a second model"
    )
    return (
        f"{twin}from the shape of the model, by structured curves of {', '.join(models)}; {width}; "
        f"those: {calibration.provenance.source}"
    )
