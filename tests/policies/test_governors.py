"""Each governor's clocks against a search over all clocks, and each wrong argument as one line."""

import json

import numpy as np
import pytest
import tiny
from governed import TYPICAL, setting
from hypothesis import given, settings
from hypothesis import strategies as st

from model.calibration import parse
from model.work import Phase, Work
from phasewatt.errors import BadPolicy, OutOfRange
from policies import UNLOCKED_MHZ, PhaseClocks, make_governor
from policies.governor import best_clock_mhz, held_mhz, settled_mhz

OBJECTIVES = {
    "min-energy": lambda seconds, watts: watts * seconds,
    "min-edp": lambda seconds, watts: watts * seconds**2,
    "min-ed2p": lambda seconds, watts: watts * seconds**3,
}


def asked(governor):
    return {phase: float(governor.request_mhz(phase, TYPICAL[phase])[0]) for phase in Phase}


def searched(at, phase, objective, slowest_s=np.inf):
    """The best clock by trying each that can be requested and that the power limit lets hold."""
    curves, step = at.curves[phase], at.gpu.sm_mhz_step
    limit_w = at.gpu.power_limit_w
    clocks = [n * step for n in range(1, 2001) if 1000 <= n * step <= 2000]
    best, least = clocks[-1], np.inf
    for mhz in clocks:
        seconds = curves.time_s(TYPICAL[phase], mhz)[0]
        watts = np.ravel(curves.power_w(TYPICAL[phase], mhz))[0]
        if watts <= limit_w and seconds <= slowest_s:
            score = objective(seconds, watts)
            if score <= least:
                best, least = mhz, score
    return best


def stock_s(at, phase):
    """The time at the highest clock that the power limit lets hold, found by a fine search."""
    curves = at.curves[phase]
    clocks = np.linspace(1000, 2000, 200_001)
    holds = np.broadcast_to(curves.power_w(TYPICAL[phase], clocks), clocks.shape)
    mhz = clocks[holds <= at.gpu.power_limit_w].max()
    return curves.time_s(TYPICAL[phase], mhz)[0]


@settings(max_examples=80)
@given(st.integers(0, 2**32))
def test_minimising_governors_find_what_a_search_finds(seed):
    at = setting(tiny.random_calibration(np.random.default_rng(seed)))
    for name, objective in OBJECTIVES.items():
        governor = make_governor(name, at)
        found = asked(governor)
        assert found == {phase: searched(at, phase, objective) for phase in Phase}
        assert governor.idle_mhz == found[Phase.PREFILL]
        assert governor.cap_w is None


@settings(max_examples=80)
@given(st.integers(0, 2**32), st.sampled_from([0.02, 0.1, 0.5, 3.0]))
def test_phase_aware_saves_what_it_may_and_never_slows_a_phase_more(seed, max_slowdown):
    at = setting(tiny.random_calibration(np.random.default_rng(seed)), max_slowdown)
    governor = make_governor("phase-aware", at)
    for phase, mhz in asked(governor).items():
        allowed_s = stock_s(at, phase) * (1 + max_slowdown)
        assert mhz == searched(at, phase, OBJECTIVES["min-energy"], allowed_s)
        held = held_mhz(governor, phase, TYPICAL[phase], at)
        assert at.curves[phase].time_s(TYPICAL[phase], held)[0] <= allowed_s * (1 + 1e-6)


def test_no_slowdown_at_all_asks_for_the_highest_clock_and_lets_the_limit_hold_it():
    at = setting(max_slowdown=0.0)
    governor = make_governor("phase-aware", at)
    assert asked(governor) == {Phase.PREFILL: 2000.0, Phase.DECODE: 2000.0}
    assert held_mhz(governor, Phase.PREFILL, TYPICAL[Phase.PREFILL], at) == pytest.approx(1800.0)


def test_of_equals_the_fastest_is_taken():
    at = setting()
    level = best_clock_mhz(Phase.DECODE, at, lambda e, t: np.ones_like(e))
    assert level == 2000.0
    within = best_clock_mhz(Phase.DECODE, at, lambda e, t: (t > 0.55).astype(float), 0.5)
    assert within == 2000.0


def test_max_frequency_asks_for_no_lock():
    governor = make_governor("max-frequency", setting())
    assert set(asked(governor).values()) == {UNLOCKED_MHZ}
    assert (governor.idle_mhz, governor.cap_w) == (None, None)


def test_fixed_and_phase_aware_take_what_they_are_told():
    at = setting()
    assert make_governor("fixed:1380", at).name == "fixed:1380"
    assert asked(make_governor("fixed:1380", at)) == dict.fromkeys(Phase, 1380.0)
    assert make_governor("fixed:1380", at).idle_mhz == 1380.0
    told = make_governor("phase-aware:decode=1250,prefill=1750", at)
    assert asked(told) == {Phase.PREFILL: 1750.0, Phase.DECODE: 1250.0}
    assert told.name == "phase-aware:decode=1250,prefill=1750"
    half = make_governor("phase-aware:prefill=1250", at)
    assert asked(half)[Phase.DECODE] == asked(make_governor("phase-aware", at))[Phase.DECODE]


@settings(max_examples=50)
@given(st.floats(200.0, 400.0))
def test_a_power_cap_holds_every_phase_to_it(cap_w):
    at = setting()
    governor = make_governor(f"power-cap:{cap_w!r}", at)
    assert governor.cap_w == cap_w
    prefill = held_mhz(governor, Phase.PREFILL, TYPICAL[Phase.PREFILL], at)
    assert prefill == pytest.approx(min(2000 * (cap_w - 50) / 300, 2000.0))
    assert held_mhz(governor, Phase.DECODE, TYPICAL[Phase.DECODE], at) == 2000.0


def test_every_step_has_its_clock():
    at = setting()
    work = Work.prefill(1.0, np.arange(1.0, 6.0))
    governor = make_governor("phase-aware:prefill=1500,decode=1250", at)
    assert governor.request_mhz(Phase.PREFILL, work).tolist() == [1500.0] * 5
    curves = at.curves[Phase.PREFILL]
    assert settled_mhz(governor, Phase.PREFILL, work, at.gpu, curves).tolist() == [1500.0] * 5
    # A request above what was calibrated is fine where the power limit holds it lower anyway.
    above = PhaseClocks("above", dict.fromkeys(Phase, 2500.0))
    assert settled_mhz(above, Phase.PREFILL, work, at.gpu, curves) == pytest.approx(1800.0)


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        ("max-frequency:1380", "policy max-frequency: found argument '1380'; expected none"),
        ("min-energy:fast", "policy min-energy: found argument 'fast'; expected none"),
        ("min-edp:1", "policy min-edp: found argument '1'; expected none"),
        ("min-ed2p:1", "policy min-ed2p: found argument '1'; expected none"),
        ("fixed", "policy fixed: found ''; expected a clock in MHz, as in fixed:1380"),
        ("fixed:high", "policy fixed: found 'high'; expected a clock in MHz, as in fixed:1380"),
        ("fixed:-1", "policy fixed: found '-1'; expected a clock in MHz, as in fixed:1380"),
        ("fixed:nan", "policy fixed: found 'nan'; expected a clock in MHz, as in fixed:1380"),
        ("fixed:inf", "policy fixed: found 'inf'; expected a clock in MHz, as in fixed:1380"),
        ("power-cap", "policy power-cap: found ''; expected a power in W, as in power-cap:250"),
        (
            "power-cap:lots",
            "policy power-cap: found 'lots'; expected a power in W, as in power-cap:250",
        ),
        (
            "phase-aware:1500",
            "policy phase-aware: found '1500'; expected prefill=MHZ and decode=MHZ, each once",
        ),
        (
            "phase-aware:prefil=1500",
            "policy phase-aware: found 'prefil=1500'; expected prefill=MHZ and decode=MHZ, each "
            "once",
        ),
        (
            "phase-aware:decode=1500,decode=1500",
            "policy phase-aware: found 'decode=1500'; expected prefill=MHZ and decode=MHZ, each "
            "once",
        ),
        ("phase-aware:decode=low", "policy phase-aware: found 'low'; expected decode=MHZ"),
        ("phase-aware:decode=", "policy phase-aware: found ''; expected decode=MHZ"),
    ],
)
def test_wrong_arguments(policy, line):
    with pytest.raises(BadPolicy) as error:
        make_governor(policy, setting())
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        (
            "fixed:900",
            "prefill clock 900 MHz is outside the calibrated range of tiny: expected 1000 to 2000 "
            "MHz",
        ),
        (
            "phase-aware:decode=2001",
            "decode clock 2001 MHz is outside the calibrated range of tiny: expected 1000 to 2000 "
            "MHz",
        ),
        (
            "power-cap:199",
            "a power limit of 199 W is below the 200.0 W that prefill of tiny draws at 1000 MHz, "
            "its lowest calibrated clock",
        ),
    ],
)
def test_clocks_and_caps_out_of_range(policy, line):
    with pytest.raises(OutOfRange) as error:
        make_governor(policy, setting())
    assert str(error.value) == line


def test_a_calibration_between_two_clocks():
    written = tiny.document()
    for each in written["curves"]:
        each["domain"]["sm_mhz"] = [1010.0, 1240.0]
    at = setting(parse(json.dumps(written), "narrow.json"))
    with pytest.raises(OutOfRange) as error:
        make_governor("min-energy", at)
    assert str(error.value) == (
        "prefill of tiny was calibrated from 1010 to 1240 MHz, and none of the clocks that can be "
        "requested, in steps of 250 MHz, lies there: name a clock, as in fixed:MHZ"
    )
    assert asked(make_governor("fixed:1100", at)) == dict.fromkeys(Phase, 1100.0)
