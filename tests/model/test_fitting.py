"""A fit recovers what made the points, picks the right form, and knows how sure it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.fitting import Series, fit_best, leave_one_clock_out_mape
from model.forms import FORMS, POWER_FORMS, TIME_FORMS
from model.work import Phase, Work
from phasewatt.errors import BadTable

TRUTHS = {
    "b/f": (0.02,),
    "a+b/f": (0.008, 0.012),
    "a+b/f^k": (0.015, 0.004, 3.0),
    "p-norm": (0.02, 0.014, 5.0),
    "linear": (80.0, 220.0),
    "cubic": (90.0, 250.0),
    "power-law": (70.0, 240.0, 5.5),
    "voltage-knee": (60.0, 120.0, 0.6, 1.8),
    "voltage-bend": (60.0, 120.0, 0.5, 6.0),
    "linear+power": (60.0, 100.0, 130.0, 8.0),
}
MAX_MHZ = 1980.0
DENSE = np.linspace(0.35, 1.0, 14)


def series(name, noise=0.0, seed=0, clocks=DENSE, repeats=1):
    """Points on the true curve of ``name``, with relative noise."""
    sm_mhz = np.repeat(np.round(clocks * MAX_MHZ), repeats)
    work = Work.decode([1.0] * sm_mhz.size, 512.0)
    exact = truth(name, sm_mhz)
    rng = np.random.default_rng(seed)
    return Series(
        Phase.DECODE, sm_mhz, work, exact * np.exp(noise * rng.standard_normal(exact.size))
    )


def truth(name, sm_mhz):
    work = Work.decode([1.0] * np.size(sm_mhz), 512.0)
    points = Series(Phase.DECODE, np.asarray(sm_mhz), work, np.ones(np.size(sm_mhz)))
    return FORMS[name].evaluate(tuple(map(np.float64, TRUTHS[name])), points.inputs(MAX_MHZ))


def forms_beside(name):
    return TIME_FORMS if name in {form.name for form in TIME_FORMS} else POWER_FORMS


@pytest.mark.parametrize("name", TRUTHS)
def test_exact_points_give_back_their_coefficients(name):
    fitted = fit_best([FORMS[name]], series(name))
    assert fitted.reference_mhz == MAX_MHZ
    assert list(fitted.coefficients.values()) == pytest.approx(TRUTHS[name], rel=1e-3)
    assert fitted.errors.fit_mape < 1e-6
    assert fitted.errors.holdout_mape < 1e-4
    assert fitted.residual_sd < 1e-6


@pytest.mark.parametrize("name", TRUTHS)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_chosen_form_predicts_the_true_curve_between_noisy_points(name, seed):
    forms = forms_beside(name)
    fitted = fit_best(forms, series(name, noise=0.004, seed=seed, repeats=2))
    candidates = fitted.errors.candidates
    assert set(candidates) == {form.name for form in forms}
    # On clocks it has not seen the true form misses by the noise: 0.8 deviations on average.
    assert candidates[name] < 0.006
    # Of those that predict about as well as the best, the simplest is taken.
    least = min(candidates.values())
    close = [form for form in forms if candidates[form.name] <= 1.05 * least]
    assert fitted.form in {form.name for form in close}
    assert len(fitted.coefficients) == min(len(form.coefficients) for form in close)
    between = np.linspace(DENSE[0], DENSE[-1], 101) * MAX_MHZ
    work = Work.decode([1.0] * between.size, 512.0)
    points = Series(Phase.DECODE, between, work, np.ones(between.size))
    predicted = fitted.value(points.inputs(fitted.reference_mhz))
    assert predicted == pytest.approx(truth(name, between), rel=0.012)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("a+b/f", "b/f"),
        ("p-norm", "b/f"),
        ("p-norm", "a+b/f"),
        ("a+b/f^k", "a+b/f"),
        ("cubic", "linear"),
        ("linear", "cubic"),
        ("voltage-knee", "linear"),
        ("voltage-knee", "cubic"),
        ("power-law", "linear"),
    ],
)
def test_a_wrong_form_is_found_out(name, wrong):
    noisy = series(name, noise=0.004, seed=7, repeats=2)
    fitted = fit_best([FORMS[wrong], FORMS[name]], noisy)
    assert fitted.form == name
    assert fitted.errors.candidates[wrong] > 1.5 * fitted.errors.candidates[name]


def test_a_fit_is_the_same_bytes_each_time_and_in_any_order_of_points():
    noisy = series("a+b/f", noise=0.01, repeats=2)
    assert fit_best(TIME_FORMS, noisy) == fit_best(TIME_FORMS, noisy)
    order = np.random.default_rng(0).permutation(noisy.target.size)
    shuffled = Series(noisy.phase, noisy.sm_mhz[order], noisy.work.at(order), noisy.target[order])
    other = fit_best(TIME_FORMS, shuffled)
    assert list(other.coefficients.values()) == pytest.approx(
        list(fit_best(TIME_FORMS, noisy).coefficients.values()), rel=1e-5
    )


def test_hold_out_leaves_all_points_of_a_clock_out():
    # One clock is wholly wrong, in every repeat: held out, it is missed by as much as it is off.
    points = series("a+b/f", repeats=3)
    off = points.sm_mhz == points.sm_mhz[18]
    target = np.where(off, 1.5 * points.target, points.target)
    wrong = Series(points.phase, points.sm_mhz, points.work, target)
    mape = leave_one_clock_out_mape(FORMS["a+b/f"], wrong)
    assert mape >= (1 - 1 / 1.5) * off.sum() / off.size


@pytest.mark.parametrize("name", ["a+b/f", "linear"])
def test_intervals_cover_as_often_as_they_say(name):
    runs, noise = 120, 0.02
    free = len(TRUTHS[name])
    inside = np.zeros(free)
    predicted = 0
    between = np.array([0.42, 0.66, 0.97]) * MAX_MHZ
    work = Work.decode([1.0] * 3, 512.0)
    for seed in range(runs):
        clocks = np.linspace(0.35, 1.0, 5)
        fitted = fit_best([FORMS[name]], series(name, noise, seed, clocks, repeats=4))
        reach = fitted.half_widths(0.95)
        inside += np.abs(fitted.theta - TRUTHS[name]) <= reach
        at = Series(Phase.DECODE, between, work, np.ones(3)).inputs(fitted.reference_mhz)
        sd = np.sqrt(fitted.relative_sd(at) ** 2 + fitted.residual_sd**2)
        fresh = np.random.default_rng([seed, 1]).standard_normal(3)
        measured = truth(name, between) * np.exp(noise * fresh)
        predicted += np.sum(
            np.abs(np.log(measured / fitted.value(at))) <= 2.101 * sd
        )  # t of 18 degrees of freedom
    assert np.all(inside / runs > 0.90)
    assert np.all(inside / runs < 0.99)
    assert 0.92 < predicted / (3 * runs) < 0.98


@pytest.mark.parametrize(
    ("clocks", "line"),
    [
        (1, "decode: 1 distinct clock(s) in the table; expected at least 2"),
        (2, None),
    ],
)
def test_too_few_clocks(clocks, line):
    points = series("b/f", clocks=np.linspace(0.5, 1.0, clocks), repeats=4)
    if line is None:
        assert fit_best(TIME_FORMS, points).form == "b/f"
        return
    with pytest.raises(BadTable) as error:
        fit_best(TIME_FORMS, points)
    assert str(error.value) == line


def test_only_forms_that_the_clocks_can_determine_are_tried():
    points = series("linear", noise=0.01, clocks=np.array([0.5, 0.75, 1.0]), repeats=3)
    assert set(fit_best(POWER_FORMS, points).errors.candidates) == {"linear", "cubic"}


def test_residuals_are_diagnosed_where_there_are_enough():
    many = fit_best([FORMS["a+b/f"]], series("a+b/f", 0.01, repeats=2)).diagnostics
    assert 1 < many.durbin_watson < 3
    assert 0 < many.normality_p <= 1
    assert 0 < many.constant_variance_p <= 1
    few = fit_best([FORMS["b/f"]], series("b/f", 0.01, clocks=np.array([0.5, 0.7, 1.0])))
    assert few.diagnostics.durbin_watson is None
    wavy = fit_best([FORMS["b/f"]], series("p-norm", 0.001, repeats=2)).diagnostics
    assert wavy.durbin_watson < 0.7


@settings(max_examples=25)
@given(st.floats(1e-6, 10.0), st.floats(0.05, 0.95))
def test_scale_does_not_matter(fastest_s, share):
    clocks = np.linspace(0.4, 1.0, 8)
    sm_mhz = np.round(clocks * MAX_MHZ)
    target = fastest_s * (share + (1 - share) * MAX_MHZ / sm_mhz)
    points = Series(Phase.DECODE, sm_mhz, Work.decode([1.0] * 8, 512.0), target)
    fitted = fit_best([FORMS["a+b/f"]], points)
    assert list(fitted.coefficients.values()) == pytest.approx(
        [fastest_s * share, fastest_s * (1 - share)], rel=1e-3
    )
