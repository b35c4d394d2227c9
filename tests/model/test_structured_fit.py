"""The joint fit finds the numbers that made its rows, says how sure it is, and picks structures."""

from dataclasses import replace

import numpy as np
import pytest
from structured_rows import (
    CLOCKS,
    REFERENCE_MHZ,
    TRUTH,
    blocks,
    coefficients,
    generated,
    steps,
)

from model.activity import ACTIVITY_FORMS
from model.choice import FOLDS, Field, fitted, holdout
from model.power_choice import choose_power, with_activity, with_time_errors
from model.roofline import ROOFLINES, Extra, Launch, Roofline
from model.structured import Sharing, Structure, fit_structure
from model.time_choice import choose_time, device_rates
from model.work import Phase, Work
from phasewatt.errors import BadTable

SERIAL = ROOFLINES[Roofline()]
NOISE = 0.003


def half_widths(solution, block=0):
    return 2 * np.sqrt(np.diag(solution.covariance(block)))


@pytest.mark.parametrize(
    "terms",
    [
        Roofline(),
        Roofline(Launch.OVERLAPPED),
        Roofline(Launch.CLOCKED),
        Roofline(Launch.NONE, one_bandwidth=True),
        Roofline(extras=frozenset({Extra.ATTENTION, Extra.ACTIVATIONS})),
        Roofline(extras=frozenset({Extra.WALK, Extra.TILES})),
    ],
    ids=lambda terms: terms.name,
)
def test_exact_rows_give_back_their_coefficients(terms):
    form = ROOFLINES[terms]
    changes = {"launch_s": 40e-6} if terms.launch is Launch.OVERLAPPED else {}
    rows = generated(steps(blocks()), form, 0, np.random.default_rng(0), lambda b: changes)
    solution = fit_structure(Structure(form, Sharing.ALL), rows, REFERENCE_MHZ)
    assert solution.estimate.determined
    assert solution.coefficients(3) == pytest.approx(coefficients(form, **changes), rel=2e-3)


def test_groups_keep_their_own_coefficients():
    def of_block(block):
        return {"flops_per_s": 500e12 if block.phase is Phase.PREFILL else 250e12}

    rows = generated(steps(blocks()), SERIAL, 0, np.random.default_rng(0), of_block)
    solution = fit_structure(Structure(SERIAL, Sharing.PHASE), rows, REFERENCE_MHZ)
    where = SERIAL.names.index("flops_per_s")
    for number, block in enumerate(rows.blocks):
        found = solution.coefficients(number)[where]
        assert found == pytest.approx(of_block(block)["flops_per_s"], rel=2e-3)


def test_what_a_form_misses_of_a_step_does_not_pass_for_the_clocks_doing():
    """Heavy steps run at low clocks, and a form that misses them by 4% must not read a slope."""
    rng = np.random.default_rng(2)
    every = steps(blocks(("llama-3.1-8b", "qwen2.5-14b")), np.linspace(1500, 2000, 6))
    exact = generated(every, SERIAL, NOISE, rng)
    kinds = np.unique(exact.configuration)
    missed = dict(zip(kinds.tolist(), rng.normal(0, 0.04, kinds.size).tolist(), strict=True))
    off = np.exp([missed[kind] for kind in exact.configuration.tolist()])
    # Most kinds of step are seen at one clock; a few at three.
    seen = {kind: {1500.0, 1800.0, 2000.0} if kind % 2 == 0 else {2000.0} for kind in missed}
    kept = np.array(
        [mhz in seen[kind] for kind, mhz in zip(exact.configuration, exact.sm_mhz, strict=True)]
    )
    rows = replace(exact, target=exact.target * off).rows(kept)
    solution = fit_structure(Structure(SERIAL, Sharing.ALL), rows, REFERENCE_MHZ)
    at = every.inputs(REFERENCE_MHZ)
    fitted = SERIAL.evaluate(tuple(solution.coefficients(0)), at)
    true = SERIAL.evaluate(tuple(coefficients(SERIAL)), at)
    for kind in kinds[kinds % 2 == 0]:
        mine = every.configuration == kind
        slower = (fitted[mine].max() / fitted[mine].min()) / (true[mine].max() / true[mine].min())
        assert slower == pytest.approx(1, abs=0.008)


def test_outliers_move_no_coefficient_beyond_its_interval():
    rng = np.random.default_rng(3)
    clean = generated(steps(blocks()), SERIAL, NOISE, rng)
    slow = rng.random(clean.target.size) < 0.05
    spoilt = replace(clean, target=np.where(slow, 1.5 * clean.target, clean.target))
    structure = Structure(SERIAL, Sharing.ALL)
    before = fit_structure(structure, clean, REFERENCE_MHZ)
    after = fit_structure(structure, spoilt, REFERENCE_MHZ)
    assert slow.sum() >= 8
    assert np.all(after.estimate.weight[slow] == 0)
    moved = np.abs(after.coefficients(0) - before.coefficients(0))
    assert np.all(moved <= half_widths(before) + 1e-3 * np.abs(before.coefficients(0)))
    assert np.all(half_widths(after) <= 1.5 * half_widths(before) + 1e-9 * after.coefficients(0))


def test_a_series_that_the_form_describes_badly_is_not_taken_for_outliers():
    def of_block(block):
        return {"flops_per_s": 500e12} if block.model == "qwen2.5-14b" else {}

    rows = generated(steps(blocks()), SERIAL, 0.001, np.random.default_rng(1), of_block)
    solution = fit_structure(Structure(SERIAL, Sharing.ALL), rows, REFERENCE_MHZ)
    odd = np.array([b.model == "qwen2.5-14b" for b in rows.blocks])[rows.block]
    assert np.mean(solution.estimate.weight[odd]) > 0.5


def test_rows_measured_worse_count_less():
    rng = np.random.default_rng(5)
    rows = generated(steps(blocks()), SERIAL, 0.001, rng)
    bad = rng.random(rows.target.size) < 0.5
    target = rows.target * np.exp(np.where(bad, 0.1, 0.0) * rng.standard_normal(bad.size))
    told = replace(rows, target=target, error=np.where(bad, 0.1, 0.001))
    structure = Structure(SERIAL, Sharing.ALL)
    alone = fit_structure(structure, told.rows(~bad), REFERENCE_MHZ)
    both = fit_structure(structure, told, REFERENCE_MHZ)
    moved = np.abs(both.coefficients(0) - alone.coefficients(0))
    assert np.all(moved <= half_widths(alone) + 1e-6 * np.abs(alone.coefficients(0)))


@pytest.mark.parametrize("seed", range(3))
def test_one_model_cannot_tell_launches_from_weights_and_claims_no_such_thing(seed):
    rng = np.random.default_rng(seed)
    one = steps(blocks(["llama-3.1-8b"]))
    rows = generated(one, SERIAL, NOISE, rng, lambda block: {"overlap": 1.0})
    solution = fit_structure(Structure(SERIAL, Sharing.ALL), rows, REFERENCE_MHZ)
    launches = half_widths(solution)[SERIAL.names.index("launch_s")]
    on_bound = solution.coefficients(0)[SERIAL.names.index("launch_s")] == 0
    assert not solution.estimate.determined or on_bound or launches > 10 * TRUTH["launch_s"]
    choice = choose_time(rows, REFERENCE_MHZ)
    assert choice.solution.structure.form is not SERIAL
    assert np.mean(choice.held_error) < 2 * NOISE


def test_a_single_clock_leaves_clock_shares_as_unknown_as_they_are():
    rows = steps(blocks(), clocks=np.array([1995.0, 2000.0]))
    rows = generated(rows, SERIAL, NOISE, np.random.default_rng(0))
    choice = choose_time(rows, REFERENCE_MHZ)
    form = fitted(choice, 0)
    for name, half in zip(form.definition.names, form.half_widths(), strict=True):
        if name.endswith("_clock_share"):
            assert half > 0.4
    assert np.mean(np.abs(choice.solution.residuals())) < 2 * NOISE


@pytest.mark.parametrize(
    ("terms", "sharing", "changes"),
    [
        (Roofline(), Sharing.ALL, {}),
        (Roofline(Launch.OVERLAPPED), Sharing.ALL, {"launch_s": 40e-6}),
        (
            Roofline(extras=frozenset({Extra.ATTENTION})),
            Sharing.ALL,
            {"attention_flops_per_s": 4e13},
        ),
        (Roofline(), Sharing.PHASE, {}),
    ],
    ids=["plain", "overlapped", "attention", "per phase"],
)
def test_hold_out_picks_the_structure_that_made_the_rows(terms, sharing, changes):
    def of_block(block):
        prefill = block.phase is Phase.PREFILL
        kernels = {"weight_bytes_per_s": 1.2e12 if prefill else 2e12, "overlap": 1.0 + 2 * prefill}
        kernels["flops_per_s"] = 600e12 if prefill else 150e12
        return {**changes, **(kernels if sharing is Sharing.PHASE else {})}

    form = ROOFLINES[terms]
    rows = generated(steps(blocks()), form, NOISE, np.random.default_rng(7), of_block)
    choice = choose_time(rows, REFERENCE_MHZ)
    assert choice.solution.structure == Structure(form, sharing)
    assert choice.candidates[choice.solution.structure.name] < 2 * NOISE


def power_rows(clocks=CLOCKS, form=ACTIVITY_FORMS[0], noise=NOISE, seed=0, of_block=lambda b: {}):
    rng = np.random.default_rng(seed)
    timed = generated(steps(blocks(), clocks), SERIAL, noise, rng)
    time = fit_structure(Structure(SERIAL, Sharing.ALL), timed, REFERENCE_MHZ)
    true = SERIAL.activity(
        tuple(coefficients(SERIAL)), timed.inputs(REFERENCE_MHZ).constants, timed.work
    )
    metered = generated(replace(timed, activity=true), form, noise, rng, of_block)
    seen = [lambda work, i=i: time.activity(i, work) for i in range(len(timed.blocks))]
    return with_activity(metered, seen), time


def test_power_gives_back_its_coefficients_within_their_intervals():
    rows, _ = power_rows()
    choice = choose_power(rows, REFERENCE_MHZ)
    solution = choice.solution
    assert solution.structure == Structure(ACTIVITY_FORMS[0], Sharing.ALL)
    off = np.abs(solution.coefficients(0) - coefficients(ACTIVITY_FORMS[0]))
    assert np.all(off <= 2 * half_widths(solution))


def test_a_voltage_floor_below_the_measured_clocks_is_not_invented():
    rows, _ = power_rows(clocks=np.linspace(1500, 2000, 7))
    choice = choose_power(rows, REFERENCE_MHZ)
    assert "knee" not in choice.solution.structure.form.names
    found = dict(
        zip(choice.solution.structure.form.names, choice.solution.coefficients(0), strict=True)
    )
    assert found["voltage_slope"] == pytest.approx(TRUTH["voltage_slope"], rel=0.1)


def test_the_voltage_curve_is_one_for_all_groups():
    def of_block(block):
        return {"static_w": 80.0 if block.phase is Phase.PREFILL else 120.0}

    rows, _ = power_rows(of_block=of_block)
    solution = fit_structure(Structure(ACTIVITY_FORMS[0], Sharing.PHASE), rows, REFERENCE_MHZ)
    first, second = solution.coefficients(0), solution.coefficients(1)
    names = list(ACTIVITY_FORMS[0].names)
    shared = [names.index("voltage_slope"), names.index("knee")]
    assert np.array_equal(first[shared], second[shared])
    assert abs(first[names.index("static_w")] - second[names.index("static_w")]) > 20
    assert solution.size == 2 * len(names) - 2


def test_what_is_not_known_of_time_widens_the_powers():
    rows, time = power_rows(noise=0.01)
    choice = choose_power(rows, REFERENCE_MHZ)
    times = [
        fitted(replace(choice, solution=time, candidates={}), i) for i in range(len(rows.blocks))
    ]
    wider = with_time_errors(choice, times)
    before, after = (np.diag(c.solution.covariance(0)) for c in (choice, wider))
    assert np.all(after >= before)
    assert np.any(after > 1.01 * before)


@pytest.mark.parametrize("static_w", [60.0, 310.0])
def test_memory_that_was_seen_at_one_clock_only_draws_by_the_clock(static_w):
    """Such rows fit a power that no clock changes as well; seen at two, they tell which it is."""
    truth = {"memory_static_w": static_w, "memory_dynamic_w": 310.0 - static_w}
    clocks = np.linspace(1500, 2000, 7)
    rows, _ = power_rows(clocks, noise=0.005, of_block=lambda block: truth)
    prefill = (rows.work.prefill_tokens >= 1024) & (rows.work.decode_batch == 0)
    stock = (rows.work.decode_batch > 0) & (rows.sm_mhz == clocks[-1])
    unseen = choose_power(rows.rows(prefill | stock), REFERENCE_MHZ).solution
    assert "memory_static_w" not in unseen.structure.form.names
    seen = choose_power(rows, REFERENCE_MHZ).solution
    found = dict(zip(seen.structure.form.names, seen.coefficients(0), strict=True))
    assert found["memory_static_w"] == pytest.approx(static_w, abs=30)


def test_hosts_hide_what_another_engine_shows_of_the_gpu():
    rows = generated(steps(blocks()), SERIAL, NOISE, np.random.default_rng(0))
    told = device_rates(fit_structure(Structure(SERIAL, Sharing.ALL), rows, REFERENCE_MHZ))
    for name in ("weight_bytes_per_s", "flops_per_s", "weight_clock_share", "compute_clock_share"):
        mean, sd = told[name]
        assert mean == pytest.approx(TRUTH[name], rel=0.05)
        assert sd > 0.04 * mean


def test_a_cache_that_is_copied_has_a_bandwidth_of_its_own():
    """Even where rows cannot tell it from that of weights, as in captured graphs they need not."""
    shared = ROOFLINES[Roofline(one_bandwidth=True)]
    for engine in ("eager", "cuda-graph"):
        rows = generated(steps(blocks(engine=engine)), shared, NOISE, np.random.default_rng(0))
        names = choose_time(rows, REFERENCE_MHZ).solution.structure.form.names
        assert ("kv_bytes_per_s" in names) == (engine == "eager")


def test_clocks_are_held_out_of_kinds_of_step_that_ran_at_several():
    """Where each kind ran at one, to hold low clocks out is to hold heavy steps out."""
    every = generated(steps(blocks()), SERIAL, NOISE, np.random.default_rng(0))
    clock_of = CLOCKS[every.configuration % len(CLOCKS)]
    alone = every.rows(every.sm_mhz == clock_of)
    assert not alone.kind_moved.any()
    for rows in (alone, every):
        assert np.array_equal(rows.kind_moved, np.full(rows.target.size, rows is every))
        solution = fit_structure(Structure(SERIAL, Sharing.ALL), rows, REFERENCE_MHZ)
        expected = np.zeros(rows.target.size)
        for part in range(FOLDS):
            held = rows.configuration % FOLDS == part
            expected[held] = np.abs(np.expm1(solution.without(held)))
        assert np.allclose(holdout(solution), expected) == (rows is alone)


def test_a_term_must_lower_the_error_beyond_doubt():
    """It does so by 7% in few noisy rows, which is less than the difference is sure to."""
    terms = Roofline(extras=frozenset({Extra.ATTENTION}))
    form = ROOFLINES[terms]
    rows = generated(steps(blocks()), form, 0.002, np.random.default_rng(0))
    noisy = generated(steps(blocks()), form, 0.1, np.random.default_rng(6))
    few = noisy.rows(noisy.sm_mhz == CLOCKS[-1])
    chosen = []
    for given in (rows, few):
        field = Field(given, REFERENCE_MHZ)
        for candidate in (SERIAL, form):
            field.attempt(Structure(candidate, Sharing.ALL))
        chosen.append(field.choice("time").solution.structure.form)
    assert chosen == [form, SERIAL]


def test_too_few_kinds_of_step_are_one_line():
    rows = generated(steps(blocks()), SERIAL, NOISE, np.random.default_rng(0))
    few = rows.rows((rows.block == 0) & (np.arange(rows.target.size) < 3))
    with pytest.raises(BadTable, match=r"time of cuda-graph: the points are too few or too alike"):
        choose_time(few, REFERENCE_MHZ)


def test_stacked_steps_keep_their_order():
    one, two = Work.decode([1.0, 2.0], [3.0, 4.0]), Work.prefill([5.0], [6.0])
    both = Work.stacked([one, two])
    assert both.decode_batch.tolist() == [1.0, 2.0, 0.0]
    assert both.prefill_tokens.tolist() == [0.0, 0.0, 30.0]
