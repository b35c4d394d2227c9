import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calibrate.gpu import THROTTLE_IDLE, THROTTLE_POWER_CAP, throttle_words
from calibrate.window import (
    MIN_EDGE_SPAN_S,
    EnergySource,
    NoEnergy,
    Samples,
    edges,
    steady_from_s,
    summarise,
)

COUNTER_S = 0.1


def sampled(
    time_s,
    power_w=lambda t: np.full_like(t, 300.0),
    energy_j=None,
    sm_mhz=1500.0,
    throttle=0,
    counter=True,
    instant=True,
):
    """Samples of a GPU whose power is the function ``power_w`` of time."""
    time_s = np.asarray(time_s, dtype=float)
    if energy_j is None:
        # The counter holds, at each tick, the exact energy since time nought.
        fine_s = np.arange(0, time_s[-1] + 2 * COUNTER_S, COUNTER_S / 50)
        total_j = np.concatenate([[0], np.cumsum(power_w(fine_s[:-1]) * np.diff(fine_s))])
        ticks_s = np.floor(time_s / COUNTER_S + 1e-9) * COUNTER_S
        energy_j = np.interp(ticks_s, fine_s, total_j)
    nothing = np.full_like(time_s, np.nan)
    return Samples(
        time_s=time_s,
        energy_j=energy_j if counter else nothing,
        power_instant_w=power_w(time_s) if instant else nothing,
        power_average_w=power_w(time_s),
        sm_mhz=np.broadcast_to(np.asarray(sm_mhz, dtype=float), time_s.shape).copy(),
        memory_mhz=np.full_like(time_s, 2619.0),
        temperature_c=np.full_like(time_s, 50.0),
        throttle=np.broadcast_to(np.asarray(throttle), time_s.shape).astype(np.int64),
    )


@given(
    power_w=st.floats(20, 1000),
    period_s=st.floats(0.003, 0.04),
    start_s=st.floats(0, 5),
    length_s=st.floats(1.8, 8),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=80, deadline=None)
def test_constant_power_is_found_within_the_uncertainty_of_the_edges(
    power_w, period_s, start_s, length_s, seed
):
    jitter_s = np.random.default_rng(seed).uniform(0, 0.5 * period_s, 4000)
    time_s = start_s + period_s * np.arange(4000) + jitter_s
    time_s = time_s[time_s <= start_s + length_s + 1]
    window = summarise(
        sampled(time_s, lambda t: np.full_like(t, power_w)), start_s, start_s + length_s
    )
    assert window.energy_source is EnergySource.COUNTER
    # Each edge lies within half a gap of where it is put: the worst case is both at the far end.
    assert abs(window.power_w - power_w) <= power_w * 2.2 * 1.5 * period_s / MIN_EDGE_SPAN_S
    assert abs(window.power_w - power_w) <= np.sqrt(12) * window.power_se_w + 1e-6 * power_w
    assert start_s <= window.start_s
    assert window.end_s <= start_s + length_s
    assert window.end_s - window.start_s >= MIN_EDGE_SPAN_S
    assert window.energy_j == pytest.approx(window.power_w * (window.end_s - window.start_s))


@given(
    first_s=st.floats(0, 3),
    low_w=st.floats(50, 300),
    high_w=st.floats(300, 900),
    at=st.floats(0, 1),
)
@settings(max_examples=40, deadline=None)
def test_energy_is_that_between_the_edges_whatever_the_shape_of_power(first_s, low_w, high_w, at):
    switch_s = first_s + 0.3 + 1.6 * at

    def power_w(t):
        return np.where(t < switch_s, low_w, high_w)

    window = summarise(sampled(np.arange(0, 7, 0.01), power_w), first_s, first_s + 3)
    after_s = np.clip(window.end_s - switch_s, 0, window.end_s - window.start_s)
    true_j = low_w * (window.end_s - window.start_s - after_s) + high_w * after_s
    assert window.energy_j == pytest.approx(true_j, abs=0.02 * high_w)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 400))
@example(seed=3227935, count=2)  # two equal clocks, whose weighted mean rounds below them
@settings(max_examples=60, deadline=None)
def test_clocks_and_shares_are_bounded_and_weighted_by_time(seed, count):
    rng = np.random.default_rng(seed)
    time_s = np.cumsum(rng.uniform(0.005, 0.03, count))
    clocks = rng.choice([1200.0, 1500.0], count)
    capped = rng.choice([0, THROTTLE_POWER_CAP], count)
    samples = sampled(time_s, sm_mhz=clocks, throttle=capped, counter=False)
    window = summarise(samples, 0, 100)
    assert window.sm_mhz_min <= window.sm_mhz <= window.sm_mhz_max
    assert window.sm_mhz_median in (1200.0, 1350.0, 1500.0)
    assert 0 <= window.throttle_shares.get("power cap", 0) <= 1 + 1e-12
    assert "idle" not in window.throttle_shares
    assert window.samples == count


@given(gaps=st.lists(st.floats(0.005, 0.2), min_size=2, max_size=200))
@settings(max_examples=60, deadline=None)
def test_edges_ascend_and_lie_between_samples(gaps):
    time_s = np.cumsum(gaps)
    moved_s, energy_j, error_s = edges(sampled(time_s))
    assert np.all(np.diff(moved_s) > 0)
    assert np.all(np.diff(energy_j) > 0)
    assert np.all(error_s > 0)
    assert np.all((moved_s > time_s[0]) & (moved_s < time_s[-1])) or moved_s.size == 0


def test_a_share_of_time_counts_time_and_not_samples():
    time_s = np.array([0.0, 1.0, 1.1, 1.2, 2.2])
    capped = np.array([0, THROTTLE_POWER_CAP, THROTTLE_POWER_CAP, THROTTLE_POWER_CAP, 0])
    window = summarise(sampled(time_s, throttle=capped, counter=False), 0, 3)
    assert window.throttle_shares == {"power cap": pytest.approx((0.5 + 0.2 + 0.5) / 2.2)}


def test_a_window_too_short_for_two_edges_says_so_even_if_power_could_be_integrated():
    with pytest.raises(NoEnergy, match=r"two moves at least 1\.5 s apart"):
        summarise(sampled(np.arange(0, 5, 0.01)), 1.0, 2.5)


def test_without_a_counter_instantaneous_power_is_integrated_and_named():
    samples = sampled(np.arange(0, 3, 0.01), lambda t: 200 + 50 * t, counter=False)
    window = summarise(samples, 1.0, 2.0)
    assert window.energy_source is EnergySource.INSTANT
    assert window.power_w == pytest.approx(275.0)


def test_averaged_power_is_never_read_over_a_short_window():
    samples = sampled(np.arange(0, 9, 0.01), counter=False, instant=False)
    with pytest.raises(NoEnergy, match="at least 6 s"):
        summarise(samples, 0.0, 5.9)
    window = summarise(samples, 0.0, 6.5)
    assert window.energy_source is EnergySource.AVERAGED
    assert window.start_s == pytest.approx(1.0)


def test_nothing_to_read_energy_from_is_one_line():
    samples = sampled(np.arange(0, 3, 0.01), counter=False, instant=False)
    samples.power_average_w[:] = np.nan
    with pytest.raises(NoEnergy, match="neither"):
        summarise(samples, 0, 3)


def test_a_counter_that_falls_is_refused():
    time_s = np.arange(0, 3, 0.01)
    energy_j = np.where(time_s < 2, 100 + 30 * np.floor(time_s * 10), 0)
    with pytest.raises(NoEnergy, match="fell"):
        summarise(sampled(time_s, energy_j=energy_j), 0, 3)


def test_too_few_samples_is_one_line():
    with pytest.raises(NoEnergy, match="1 samples"):
        summarise(sampled([0.0, 1.0, 2.0]), 0.5, 1.5)


@pytest.mark.parametrize("counter", [True, False])
def test_the_steady_part_begins_after_a_transient(counter):
    def power_w(t):
        return np.where(t < 1.4, 150.0, 400.0)

    samples = sampled(np.arange(0, 6, 0.01), power_w, counter=counter)
    from_s = steady_from_s(samples, 0, 6)
    assert from_s is not None
    assert 1.4 <= from_s <= 2.0


def test_a_falling_clock_is_not_steady():
    time_s = np.arange(0, 6, 0.01)
    assert steady_from_s(sampled(time_s, sm_mhz=1900 - 100 * time_s), 0, 6) is None


def test_a_level_series_is_steady_from_its_start():
    assert steady_from_s(sampled(np.arange(0, 6, 0.01)), 0, 6) == pytest.approx(0, abs=1e-9)


def test_a_series_too_short_to_judge_is_not_steady():
    assert steady_from_s(sampled(np.arange(0, 1.9, 0.01)), 0, 1.9) is None


def test_throttle_masks_are_words():
    assert throttle_words(0) == ()
    assert throttle_words(THROTTLE_IDLE | THROTTLE_POWER_CAP) == ("idle", "power cap")
    assert throttle_words(1 << 40) == ("bit 40",)
