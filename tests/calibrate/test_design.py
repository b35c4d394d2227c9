import itertools
from dataclasses import replace

import numpy as np
import pytest
from campaigns import SWEEP
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate.bench import Engine
from calibrate.design import FEWEST_PER_SERIES, LOAD_S, START_S, plan_design, repeat_s
from calibrate.gpu import ClockRange
from calibrate.measure import MeasurePlan
from calibrate.surrogate import spread, uncertainty, variance
from calibrate.sweep import (
    MOST_PREFILL_TOKENS,
    Strategy,
    corners,
    length,
    series,
    spread_clocks,
)
from model.work import Phase
from phasewatt.errors import BadOption, UnsupportedGpu

H100_BYTES = 80 * 1024**3
PLAN = MeasurePlan()

sweeps = st.builds(
    lambda models, engines, phases, batches, prompts, contexts, strategy: replace(
        SWEEP,
        models=tuple(models),
        engines=tuple(engines),
        phases=tuple(phases),
        batches=tuple(batches),
        prompts=tuple(prompts),
        contexts=tuple(contexts),
        strategy=strategy,
        sm_mhz=(690, 1140, 1560, 1980) if strategy is Strategy.LOCK else (),
    ),
    st.lists(
        st.sampled_from(["llama-3.2-1b", "llama-3.1-8b"]), min_size=1, max_size=2, unique=True
    ),
    st.lists(st.sampled_from(Engine), min_size=1, max_size=2, unique=True),
    st.lists(st.sampled_from(Phase), min_size=1, max_size=2, unique=True),
    *(
        st.lists(st.sampled_from([1, 16, 128]), min_size=1, max_size=3, unique=True)
        for _ in range(3)
    ),
    st.sampled_from([Strategy.LOCK, Strategy.STEER, Strategy.OBSERVE]),
)


def designed(sweep, budget_s=600.0, seed=0):
    cells = sweep.cells(sweep.points(H100_BYTES), sweep.strategy)
    return plan_design(cells, budget_s, PLAN, np.random.default_rng(seed))


@given(sweep=sweeps, budget_s=st.floats(30, 7200), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_the_first_block_holds_every_series_with_its_corners(sweep, budget_s, seed):
    design = designed(sweep, budget_s, seed)
    assert len(set(design.first)) == len(design.first)
    assert set(design.first) <= set(design.cells)
    for key in {series(cell.point) for cell in design.cells}:
        group = [cell for cell in design.cells if series(cell.point) == key]
        first = [cell for cell in design.first if series(cell.point) == key]
        assert len(first) >= min(FEWEST_PER_SERIES, len(group))
        assert set(corners([cell.point for cell in group])) <= {cell.point for cell in first}
        assert {(cell.sm_mhz, cell.gemm_ratio) for cell in first} == {
            (cell.sm_mhz, cell.gemm_ratio) for cell in group
        }


@given(sweep=sweeps, seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_a_model_is_loaded_once_and_a_point_prepared_once(sweep, seed):
    design = designed(sweep, seed=seed)
    for key in (lambda c: (c.point.model, c.point.engine), lambda c: c.point):
        runs = [key(cell) for cell in design.first]
        changes = sum(a != b for a, b in itertools.pairwise(runs))
        assert changes == len(set(runs)) - 1


def test_the_order_is_the_seeds_own():
    sweep = replace(SWEEP, sm_mhz=(690, 1140, 1560, 1980))
    assert designed(sweep, seed=1).first == designed(sweep, seed=1).first
    assert designed(sweep, seed=1).first != designed(sweep, seed=2).first
    assert set(designed(sweep, seed=1).first) == set(designed(sweep, seed=2).first)


def test_a_larger_budget_begins_with_more():
    sweep = replace(SWEEP, sm_mhz=(690, 1140, 1560, 1980))
    small, large = designed(sweep, 60.0), designed(sweep, 1800.0)
    assert len(small.first) == 2 * FEWEST_PER_SERIES
    assert len(large.first) > len(small.first)
    cells_s = len(small.first) * repeat_s(PLAN)
    assert small.first_time_s == pytest.approx(START_S + LOAD_S + cells_s)


def test_fewer_points_of_each_series_are_enough_when_asked_for():
    cells = replace(SWEEP, strategy=Strategy.OBSERVE).cells(
        SWEEP.points(80 * 1024**3), Strategy.OBSERVE
    )
    design = plan_design(cells, 60.0, PLAN, np.random.default_rng(0), fewest=5)
    assert len(design.first) == 2 * 5


def test_seven_clocks_fit_into_the_smallest_block():
    clocks = (690, 900, 1125, 1335, 1545, 1770, 1980)
    design = designed(replace(SWEEP, sm_mhz=clocks), 60.0)
    assert len(design.first) == 2 * FEWEST_PER_SERIES
    for phase in Phase:
        seen = {cell.sm_mhz for cell in design.first if cell.point.phase is phase}
        assert seen == {None, *clocks}


@given(
    known=st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=12),
    places=st.lists(st.tuples(*[st.floats(0, 1)] * 3), min_size=1, max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_less_is_unsure_where_more_is_known(known, places):
    known, places = np.array(known), np.array(places)
    before, after = variance(known[:-1], places), variance(known, places)
    assert np.all(after <= before + 1e-6)
    assert np.all((before >= 0) & (before <= 1.01))
    assert np.all(variance(known, known) < 0.01)


def test_a_spread_takes_each_place_once_and_ends_apart():
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 4)] * 3), axis=-1).reshape(-1, 3)
    chosen = spread(np.empty((0, 3)), grid, 8)
    assert len(set(chosen)) == 8
    assert sorted(spread(grid, grid, 5)) == sorted(set(spread(grid, grid, 5)))
    gaps = np.linalg.norm(grid[chosen][:, None] - grid[chosen][None], axis=-1)
    assert gaps[~np.eye(8, dtype=bool)].min() > 0.3


def test_where_curves_bend_more_is_unsure():
    """Values that jump in one corner make that corner's neighbourhood unsure, not the far end."""
    rng = np.random.default_rng(0)
    known = rng.uniform(0, 1, (40, 3))
    values = np.where(known[:, :1] > 0.7, np.sin(25 * known[:, 1:2]), 0.0)
    places = np.column_stack([rng.uniform(0.05, 0.95, 60), rng.uniform(0.1, 0.9, (60, 2))])
    scale = uncertainty(known, values, places) / np.sqrt(variance(known, places))
    assert scale[places[:, 0] > 0.75].mean() > 1.3 * scale[places[:, 0] < 0.4].mean()


def test_clocks_are_spread_over_the_upper_range():
    clocks = spread_clocks(ClockRange(tuple(range(210, 1981, 15)), ()))
    assert clocks[0] == 690
    assert clocks[-1] == 1980
    assert len(clocks) == 7
    with pytest.raises(UnsupportedGpu, match="--sm-mhz"):
        spread_clocks(ClockRange((), ()))


def test_points_too_long_or_too_large_are_left_out():
    sweep = replace(SWEEP, batches=(1, 64), prompts=(128, 2048), contexts=(4096,))
    for point in sweep.points(H100_BYTES):
        assert point.batch * point.prompt_tokens <= MOST_PREFILL_TOKENS
        assert length(point) in (128, 2048, 4096)
    small = sweep.points(5 * 1024**3)
    assert not any(p.phase is Phase.DECODE and p.batch == 64 for p in small)
    with pytest.raises(UnsupportedGpu, match=r"1b does not fit: its weights take 2\.3 GiB, with"):
        sweep.points(1024**3)
    with pytest.raises(BadOption, match="computes more than 32768 tokens in one step"):
        replace(SWEEP, batches=(64,), prompts=(2048,)).points(H100_BYTES)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"models": ("gpt-5",)}, "--models: 'gpt-5' is not known; expected one of llama-3.2-1b"),
        ({"batches": ()}, "--batches: expected at least one value"),
        ({"batches": (1, 1)}, "--batches: expected at least one value, and none twice"),
        ({"prompts": (0,)}, "--prompts: expected numbers of 1 or more"),
        ({"precision": 0.0}, "--precision: found 0; expected between 0 and 1"),
        ({"strategy": Strategy.STEER, "sm_mhz": (1200,)}, "--sm-mhz goes with --clocks lock"),
    ],
)
def test_options_that_cannot_be_measured_are_one_line(changes, line):
    with pytest.raises(BadOption, match=line):
        replace(SWEEP, **changes)
