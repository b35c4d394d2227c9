"""Mixtures on a GPU that is played: spans and clocks come back as they were."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from calibrate.torchbench import mixture, spin
from calibrate.torchbench.mixture import SPIN_SHARE, run_mixture

GPU = SimpleNamespace(type="cuda")
STEP_S = 3e-3
GEMM_S = 1.5e-3
OVERHEAD_S = 3.9e-6
TICK_S = 32e-9


class Played:
    """Virtual device time; a spin takes its cycles at a clock that falls from 1980 MHz."""

    def __init__(self, falls_mhz_per_s):
        self.now_s = 0.0
        self.spun_s = 0.0
        self.falls_mhz_per_s = falls_mhz_per_s
        self.product = self

    def mhz(self, at_s):
        return 1980 - self.falls_mhz_per_s * at_s

    def sleep(self, cycles):
        span_s = OVERHEAD_S + cycles / (1e6 * self.mhz(self.now_s))
        self.now_s += span_s
        self.spun_s += span_s

    def step(self):
        self.now_s += STEP_S

    def launch(self, count):
        self.now_s += count * GEMM_S

    def stopwatch(self, device, lead):
        marks_s = []
        return SimpleNamespace(
            mark=lambda: marks_s.append(np.round(self.now_s / TICK_S) * TICK_S),
            spans_s=lambda: np.diff(marks_s),
        )


def played_on(monkeypatch, played):
    monkeypatch.setattr(torch.cuda, "_sleep", played.sleep)
    monkeypatch.setattr(mixture, "stopwatch", played.stopwatch)
    monkeypatch.setattr(spin, "stopwatch", played.stopwatch)
    return played


@pytest.fixture
def play(monkeypatch):
    return lambda falls_mhz_per_s=0.0: played_on(monkeypatch, Played(falls_mhz_per_s))


def test_the_overhead_of_a_spin_is_found(play):
    play()
    assert spin.spin_overhead_s(GPU) == pytest.approx(OVERHEAD_S, abs=TICK_S)


@pytest.mark.parametrize("gemms", [0, 2, 20])
@pytest.mark.parametrize("steps", [1, 4, 200])
def test_steps_and_gemms_take_what_they_take_without_the_spins(play, gemms, steps):
    played = play()
    mixed = run_mixture(played.step, played, steps, gemms, GPU)
    np.testing.assert_allclose(mixed.step_time_s, STEP_S, atol=2 * TICK_S)
    np.testing.assert_allclose(mixed.gemm_time_s, gemms * GEMM_S, atol=2 * TICK_S)
    for mhz in (mixed.sm_mhz_before, mixed.sm_mhz_after):
        np.testing.assert_allclose(mhz, 1980, rtol=1e-3)


@pytest.mark.parametrize("gemms", [0, 2])
def test_a_falling_clock_is_followed_between_the_steps_that_read_it(play, gemms):
    played = play(falls_mhz_per_s=100.0)
    mixed = run_mixture(played.step, played, 300, gemms, GPU)
    ends_s = played.now_s - np.cumsum((mixed.step_time_s + mixed.gemm_time_s)[::-1])[::-1]
    np.testing.assert_allclose(mixed.sm_mhz_after, played.mhz(ends_s), rtol=3e-3)
    assert np.all(np.diff(mixed.sm_mhz_before) < 0)


@pytest.mark.parametrize("gemms", [0, 6])
def test_reading_the_clock_takes_little_of_the_time(play, gemms):
    played = play()
    run_mixture(played.step, played, 1000, gemms, GPU)
    calibrating_s = (spin._PAIRS + 1) * (2 * OVERHEAD_S + 5 * spin.SPIN_CYCLES / 1980e6)
    assert 0 < played.spun_s - calibrating_s < 1.05 * SPIN_SHARE * played.now_s


LAUNCHES_S = 20e-3
LAUNCH_S = 20e-6


class Launching(Played):
    """A host that takes :data:`LAUNCHES_S` to launch a step kernel by kernel, and runs ahead.

    A spin, one kernel, takes it :data:`LAUNCH_S`.
    """

    def __init__(self):
        super().__init__(0.0)
        self.host_s = 0.0

    def step(self):
        self.host_s += LAUNCHES_S
        self.now_s = max(self.now_s + STEP_S, self.host_s)

    def sleep(self, cycles):
        self.host_s += LAUNCH_S
        self.now_s = max(self.now_s, self.host_s)
        super().sleep(cycles)

    def stopwatch(self, device, lead):
        watch = super().stopwatch(device, lead)

        def mark():
            self.now_s = max(self.now_s, self.host_s)
            seen()

        def wait():
            self.host_s = max(self.host_s, self.now_s)

        seen = watch.mark
        return SimpleNamespace(mark=mark, wait=wait, spans_s=watch.spans_s)


@pytest.fixture
def launching(monkeypatch):
    return played_on(monkeypatch, Launching())


@pytest.mark.parametrize("gemms", [0, 50])
def test_a_step_that_waits_for_its_launches_does_so_behind_gemms_too(launching, gemms):
    mixed = run_mixture(launching.step, launching, 20, gemms, GPU, launched=True)
    np.testing.assert_allclose(mixed.step_time_s, LAUNCHES_S, rtol=0.02)
    if gemms:
        ahead = run_mixture(launching.step, launching, 20, gemms, GPU, launched=False)
        assert np.all(ahead.step_time_s[2:] < LAUNCHES_S / 2)


@pytest.mark.parametrize("gemms", [0, 50])
def test_the_launch_of_a_spin_is_not_taken_for_a_slow_clock(launching, gemms):
    """A GPU that waits for its host waits for a spin's launch too, unless another goes first."""
    mixed = run_mixture(launching.step, launching, 20, gemms, GPU, launched=True)
    for mhz in (mixed.sm_mhz_before, mixed.sm_mhz_after):
        np.testing.assert_allclose(mhz, 1980, rtol=1e-3)


def test_slow_rounds_read_the_clock_around_every_step(play):
    played = play(falls_mhz_per_s=10.0)
    mixed = run_mixture(played.step, played, 8, 100, GPU)
    rounds = np.diff(mixed.sm_mhz_before)
    assert np.all(rounds < 0)
    np.testing.assert_allclose(rounds, -10 * (STEP_S + 100 * GEMM_S), rtol=0.5)


def test_the_clock_before_a_step_is_not_the_clock_after_it(play):
    played = play(falls_mhz_per_s=1000.0)
    mixed = run_mixture(played.step, played, 8, 100, GPU)
    fell_mhz = mixed.sm_mhz_before - mixed.sm_mhz_after
    np.testing.assert_allclose(fell_mhz, 1000 * STEP_S, rtol=0.4)
