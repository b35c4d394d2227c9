"""Studies of several models become structured calibrations that find what is true of a twin."""

from dataclasses import replace

import numpy as np
import pytest
from twin_studies import lock_study, points, steer_study, truth_of

from calibrate.bench import Engine
from calibrate.fit import capped_limit_w, fit_study
from calibrate.twin.cost import step_cost
from calibrate.twin.truth import twin_truth
from model.activity import ACTIVITY_FORMS
from model.calibration import dump, parse
from model.choice import fitted
from model.curves import Curves
from model.forms import FORMS
from model.geometry import GEOMETRIES
from model.power_choice import with_activity, with_time_errors
from model.provenance import Kind
from model.roofline import ROOFLINES, Roofline
from model.structured import Sharing, Structure
from model.work import Phase, Work
from phasewatt.errors import BadTable
from policies.governor import Setting, max_frequency, min_energy
from simulate.service import Lengths, serve_alone

SEEDS = 50
ENOUGH = 45
"""Runs of 50 whose 95% interval must hold the truth."""


@pytest.fixture(scope="module")
def lock():
    return fit_study(lock_study(0))


@pytest.mark.parametrize(
    ("study", "power"),
    [(lock_study, ACTIVITY_FORMS[0]), (steer_study, ACTIVITY_FORMS[2])],
    ids=["lock", "steer"],
)
def test_intervals_hold_the_truth_of_the_twin(study, power):
    """Every coefficient, in 45 of 50 runs; the voltage floor is out of the reach of steer."""
    truth = truth_of("h100", Engine.CUDA_GRAPH)
    inside = {}
    for seed in range(SEEDS):
        for form in forms_of(study(seed), power):
            for name, half in zip(form.definition.names, form.half_widths(), strict=True):
                off = abs(form.coefficients[name] - truth[name])
                inside.setdefault(name, []).append(off <= half + 1e-9 * truth[name])
    assert set(inside) == {*ROOFLINES[TERMS].names, *power.names}
    assert {name: sum(hits) for name, hits in inside.items() if sum(hits) < ENOUGH} == {}


TERMS = Roofline(overlap=False)


def forms_of(study, power):
    """The two forms of the structure that the hold-out chooses, fitted without choosing again."""
    from calibrate.fit import _series, _stacked
    from model.choice import Choice
    from model.structured import fit_structure

    top_mhz, series = study.gpu.sm_mhz_max, _series(study)

    def solved(form, rows):
        solution = fit_structure(Structure(form, Sharing.ALL), rows, top_mhz)
        return Choice(solution, np.zeros(rows.target.size), {})

    timed = solved(ROOFLINES[TERMS], _stacked(series, "time_s", "time_error"))
    times = [fitted(timed, block) for block in range(len(series))]
    rows = with_activity(_stacked(series, "power_w", "power_error"), [t.activity for t in times])
    return times[0], fitted(with_time_errors(solved(power, rows), times), 0)


@pytest.mark.parametrize(
    ("study", "power"), [(lock_study, "activity"), (steer_study, "activity (no floor)")]
)
def test_hold_out_chooses_the_twins_own_structure(study, power):
    calibration = fit_study(study(1, engines=("cuda-graph", "eager")))
    for curves in calibration.curves:
        assert curves.time.form in (ROOFLINES[TERMS].name, ROOFLINES[Roofline()].name)
        assert curves.power.form == power
        assert curves.time.errors.holdout_mape < 0.005
    by_engine = {c.engine: c.time.coefficients for c in calibration.curves}
    assert len({tuple(c.time.coefficients.values()) for c in calibration.curves}) == 2
    assert by_engine["eager"]["launch_s"] > 10 * by_engine["cuda-graph"]["launch_s"]
    assert len({tuple(c.power.coefficients.values()) for c in calibration.curves}) == 1


def test_the_energy_minimal_clock_is_within_one_step_of_the_truth(lock):
    truth = twin_truth("h100")
    for point in points(lock.models):
        curves = lock.curves_of(point.model, point.phase)
        clocks = lock.gpu.clocks_mhz(curves)
        work = work_of(point)
        step = step_cost(point)
        true_j = truth.true_time_s(step, clocks) * truth.true_power_w(step, clocks)
        found = clocks[int(np.argmin([curves.energy_j(work, mhz)[0] for mhz in clocks]))]
        assert abs(found - clocks[int(np.argmin(true_j))]) <= truth.sm_step_mhz


def work_of(point):
    if point.phase is Phase.PREFILL:
        return Work.prefill([point.batch], [point.prompt_tokens])
    return Work.decode([point.batch], [point.context_tokens])


def test_curves_hold_between_and_beyond_the_measured_sizes(lock):
    truth = twin_truth("h100")
    other = points(lock.models, decodes=((2, 700), (48, 3000)), prefills=((2, 300), (6, 3000)))
    for point in other:
        curves, step = lock.curves_of(point.model, point.phase), step_cost(point)
        mhz = truth.settle(step, 1500)
        assert curves.time_s(work_of(point), mhz)[0] == pytest.approx(
            truth.true_time_s(step, mhz), rel=0.005
        )
        assert curves.power_w(work_of(point), mhz)[0] == pytest.approx(
            truth.true_power_w(step, mhz), rel=0.005
        )


def test_a_calibration_survives_its_file_and_is_a_twin_throughout(lock):
    assert parse(dump(lock), "file") == lock
    assert {g.name for g in lock.geometries} == set(lock.models)
    assert lock.provenance.kind is Kind.TWIN
    assert all(curves.origin.kind is Kind.TWIN for curves in lock.curves)


def test_the_same_study_gives_the_same_bytes():
    study = lock_study(3, models=("llama-3.2-1b", "llama-3.1-8b"))
    assert dump(fit_study(study)) == dump(fit_study(study))


def test_outliers_leave_every_coefficient_inside_its_interval():
    study = lock_study(4)
    rows = study.measurements
    slow = np.random.default_rng(4).random(len(rows)) < 0.05
    spoilt = replace(rows, time_s=np.where(slow, 1.5 * rows.time_s, rows.time_s))
    clean, dirty = (
        fit_study(study).curves[0],
        fit_study(replace(study, measurements=spoilt)).curves[0],
    )
    assert slow.sum() > 5
    assert dirty.time.form == clean.time.form
    moved = np.abs(dirty.time.theta - clean.time.theta)
    assert np.all(moved <= clean.time.half_widths() + 1e-9)


def test_powers_that_nobody_could_tell_leave_their_times_in_the_fit():
    study = steer_study(0, models=("llama-3.2-1b", "llama-3.1-8b"))
    rows = study.measurements
    unknown = np.arange(len(rows)) % 4 == 0
    partly = replace(rows, power_w=np.where(unknown, np.nan, rows.power_w))
    calibration = fit_study(replace(study, measurements=partly))
    points_kept = sum(len(c.points.sm_mhz) for c in calibration.curves)
    assert points_kept == np.sum(~unknown)
    assert sum(c.time.errors.points for c in calibration.curves) == len(rows)


def test_one_kind_of_step_or_an_unknown_model_is_fitted_against_the_clock_alone():
    study = lock_study(0, models=("llama-3.2-1b",))
    rows = study.measurements
    single = rows.rows((rows.batch == 1) & (rows.prompt_tokens + rows.context_tokens == 128))
    calibration = fit_study(replace(study, measurements=single))
    assert calibration.geometries == ()
    assert all(c.time.definition.parts is None for c in calibration.curves)
    renamed = replace(rows, model=np.full(len(rows), "somebody's"))
    assert fit_study(replace(study, measurements=renamed)).geometries == ()
    told = replace(
        study,
        measurements=renamed,
        geometries={"somebody's": replace(GEOMETRIES["llama-3.2-1b"], name="somebody's")},
    )
    assert fit_study(told).curves[0].time.definition.parts is not None


@pytest.mark.parametrize("models", [("llama-3.2-1b",), ("llama-3.2-1b", "llama-3.1-8b")])
def test_an_untouched_gpu_gives_curves_at_its_own_clocks(models):
    study = lock_study(0, models=models)
    rows = study.measurements
    calibration = fit_study(replace(study, measurements=rows.rows(rows.stock)))
    assert parse(dump(calibration), "file") == calibration
    for curves in calibration.curves:
        clocks = np.array(curves.points.sm_mhz)
        times = curves.time_s(curves.points.work(curves.phase), clocks)
        assert times == pytest.approx(np.array(curves.points.time_s), rel=0.02)
        assert curves.domain.sm_mhz == (clocks.min(), clocks.max())


def test_too_few_points_are_one_line():
    study = lock_study(0, models=("llama-3.2-1b",))
    rows = study.measurements
    few = rows.rows((rows.phase == "decode") & (np.arange(len(rows)) % 16 == 0))
    with pytest.raises(BadTable, match=r"^twin: .*too few or too alike"):
        fit_study(replace(study, measurements=few))


def test_the_limit_of_capped_loads_is_what_they_were_seen_to_draw():
    rows = lock_study(0).measurements
    assert capped_limit_w(rows, 700.0, 1980.0) == pytest.approx(700.0, rel=0.005)
    assert capped_limit_w(
        replace(rows, power_w=0.98 * rows.power_w), 700.0, 1980.0
    ) == pytest.approx(686.0, rel=0.005)
    assert capped_limit_w(rows.rows(rows.sm_mhz > 1970), 700.0, 1980.0) is None


def test_the_simulator_serves_queries_by_structured_curves(lock):
    curves = {phase: lock.curves_of("llama-3.1-8b", phase) for phase in Phase}
    rng = np.random.default_rng(0)
    lengths = Lengths(rng.integers(128, 4000, 300), rng.integers(1, 400, 300))
    setting = Setting(lock.gpu, curves, lengths.typical(), 0.1)
    stock = serve_alone(lengths, curves, lock.gpu, max_frequency("", setting))
    frugal = serve_alone(lengths, curves, lock.gpu, min_energy("", setting))
    for phase in Phase:
        energy_j = [np.sum(s[phase].time_s * s[phase].power_w) for s in (stock, frugal)]
        assert energy_j[1] < energy_j[0]
    # Four nodes over the contexts of a decode are as good as every step one by one.
    longest = int(np.argmax(lengths.output_tokens))
    contexts = lengths.prompt_tokens[longest] + np.arange(1, lengths.output_tokens[longest])
    work = Work.decode(np.ones(contexts.size), contexts)
    clock = lock.gpu.settle(
        np.full(contexts.size, curves[Phase.DECODE].domain.sm_mhz[1]), curves[Phase.DECODE], work
    )
    each_s = curves[Phase.DECODE].time_s(work, clock)
    assert stock[Phase.DECODE].time_s[longest] == pytest.approx(np.sum(each_s), rel=1e-4)


def test_power_by_activity_without_parts_of_time_is_refused(lock):
    curves = lock.curves[0]
    plain = replace(
        curves.time,
        form="a+b/f",
        coefficients={"a_s": 1.0, "b_s": 1.0},
        covariance=((0, 0), (0, 0)),
    )
    assert FORMS["a+b/f"].parts is None
    with pytest.raises(ValueError, match="needs a roofline of time"):
        Curves(**{**vars_of(curves), "time": plain})


def vars_of(curves):
    return {name: getattr(curves, name) for name in curves.__dataclass_fields__}
