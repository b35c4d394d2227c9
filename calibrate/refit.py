"""Solve the chosen structure of a calibration again, with some kinds of step left out.

In: a calibration whose curves are physically structured, and rows. Out: the same structure with the
coefficients that those rows alone lead to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibrate.fit import StepSeries, capped_limit_w, metered, series_of, stacked
from calibrate.measurements import Study
from model.calibration import Calibration
from model.choice import FOLDS
from model.curves import Curves
from model.fitted import FittedForm
from model.power_choice import holding_beliefs
from model.structured import Block, Rows, Sharing, Solution, Structure, fit_structure
from model.time_choice import device_rates, is_hosted
from model.work import Phase
from phasewatt.errors import BadCalibration

_Forms = dict[tuple[str, str, Phase], FittedForm]


def held_out(
    calibration: Calibration, study: Study
) -> Iterator[tuple[NDArray[np.bool_], Calibration]]:
    """Yield which rows are left out, and what the others alone lead to, in :data:`FOLDS` parts.

    A part holds a fifth of all kinds of step: of all pairs of batch and length of each phase of
    each model, in every engine and at every clock.

    Raises:
        BadCalibration: a curve depends on the clock alone.
    """
    rows = study.measurements
    kinds = np.column_stack(
        [
            np.unique(column, return_inverse=True)[1]
            for column in (
                rows.model,
                rows.phase,
                rows.batch,
                rows.prompt_tokens + rows.context_tokens,
            )
        ]
    )
    part = np.unique(kinds, axis=0, return_inverse=True)[1].ravel() % FOLDS
    for number in np.unique(part):
        held = part == number
        yield held, refitted(calibration, replace(study, measurements=rows.rows(~held)))


def refitted(calibration: Calibration, study: Study) -> Calibration:
    """Return ``calibration`` with coefficients from the rows of ``study``, its structure kept.

    Domains, points and intervals stay those of the whole fit. Curves without a row of ``study`` are
    left out.

    Raises:
        BadCalibration: a curve depends on the clock alone.
    """
    for one in calibration.curves:
        if one.time.definition.parts is None or not one.power.definition.needs_activity:
            raise BadCalibration(
                f"calibration {calibration.name}: {one.phase} of {one.model} depends on the clock "
                "alone; expected curves fitted together, which can leave a kind of step out"
            )
    known = {shape.name: shape for shape in calibration.geometries}
    curves = {(one.model, one.engine, one.phase): one for one in calibration.curves}
    series = [
        replace(one, geometry=known[one.model]) for one in series_of(study) if one.key in curves
    ]
    times: _Forms = {}
    believed: dict[str, tuple[float, float]] = {}
    for engine in sorted({one.engine for one in series}, key=is_hosted):
        members = [one for one in series if one.engine == engine]
        rows = replace(stacked(members, "time_s", "time_error"), believed=believed)
        solution = _solved([curves[one.key].time for one in members], rows)
        times |= _forms(solution, {one.key: curves[one.key].time for one in members})
        believed = believed or device_rates(solution)
    rows = metered(series, [times[one.key] for one in series], study)
    before = {one.key: curves[one.key].power for one in series}
    powers = _forms(_solved(list(before.values()), holding_beliefs(rows)), before)
    return replace(
        calibration,
        curves=tuple(
            replace(
                curves[one.key],
                time=times[one.key],
                power=powers[one.key],
                governor_limit_w=_limit_w(one, curves[one.key], calibration),
            )
            for one in series
        ),
    )


def _forms(solution: Solution, before: _Forms) -> _Forms:
    return {
        key: form.with_theta(solution.coefficients(block))
        for block, (key, form) in enumerate(before.items())
    }


def _solved(forms: Sequence[FittedForm], rows: Rows) -> Solution:
    """Solve ``rows`` by the structure of ``forms``, one for each block, from where they are."""
    structure = Structure(forms[0].definition, _sharing(forms, rows.blocks))
    starts = {tuple(form.theta): form.theta for form in forms}
    return fit_structure(structure, rows, forms[0].reference_mhz, list(starts.values()))


def _sharing(forms: Sequence[FittedForm], blocks: Sequence[Block]) -> Sharing:
    """Return the widest sharing under which blocks of one group have the same coefficients."""
    for sharing in Sharing:
        first: dict[tuple[str, ...], FittedForm] = {}
        for form, block in zip(forms, blocks, strict=True):
            first.setdefault(block.group(sharing), form)
        if all(
            form.same_coefficients(first[block.group(sharing)])
            for form, block in zip(forms, blocks, strict=True)
        ):
            return sharing
    return Sharing.MODEL


def _limit_w(one: StepSeries, whole: Curves, calibration: Calibration) -> float | None:
    """Return the power at which the governor holds the rows that are left, or held them all."""
    gpu = calibration.gpu
    found = capped_limit_w(one.rows, gpu.power_limit_w, gpu.sm_mhz_max or np.inf)
    return whole.governor_limit_w if found is None else found
