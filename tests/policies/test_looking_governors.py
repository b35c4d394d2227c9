"""Governors that look, worked out by hand on the tiny calibration.

Prefill of a prompt takes prompt (1 + 3 / x) / 1024 s, a decode step (3 + 1 / x) / 8 s, x being the
clock over 2000 MHz; clocks are 1000, 1250 ... 2000 MHz. Decode steps take 0.625, 0.575, 0.5417,
0.5179 and 0.5 s, prefills of 1024 tokens 7, 5.8, 5, 4.4286 and 4 s; at 2000 MHz the power limit
holds prefill at 1800 MHz, which takes 4.3333 s. The clocks of least energy are 1500 and 1000 MHz.
"""

from dataclasses import replace

import pytest
import tiny
from governed import setting

from model.pricing import Step
from model.work import Phase, Work
from phasewatt.errors import BadPolicy
from policies import Situation, Watch, make_governor
from policies.feedback import REVIEW_STEPS
from policies.fleet_cap import Account
from policies.situation import tail_s
from policies.slo_aware import PATIENCE

DECODE = Step(0, 0, 0, 1, 1000)
PREFILL = Step(1, 1024, 1024 * 1025 // 2, 0, 0)
NAMES = ("slo-aware", "feedback", "greenllm", "voltana")


def at(**promised):
    return replace(setting(tiny.calibration()), idle_power_w=50.0, **promised)


def pilot(name, **promised):
    (only,) = make_governor(name, at(**promised)).crew(1, 50.0)
    return only


def shown(step, **figures):
    known = {
        "now_s": 100.0,
        "steps": 1000,
        "set_mhz": 1000.0,
        "waiting": 0,
        "prompt_tokens": step.prefill_tokens,
        "first_wait_s": 0.0,
        "last_wait_s": 0.0,
        "prefill_wait_s": 0.0 if step.prefill_tokens else None,
        "kv_used": 0.1,
        "watch": Watch(),
    }
    return Situation(step=step, **known | figures)


@pytest.mark.parametrize("name", ["slo-aware", "greenllm"])
def test_each_phase_rests_at_the_lowest_clock_that_keeps_its_own_objective(name):
    governor = make_governor(name, at(ttft_s=5.2, tpot_s=0.58))
    assert governor.request_mhz(Phase.PREFILL, Work.prefill([1.0], [1024.0])) == [1500.0]
    assert governor.request_mhz(Phase.DECODE, Work.decode([1.0], [1000.0])) == [1250.0]


@pytest.mark.parametrize("name", NAMES)
def test_who_keeps_promises_must_know_them(name):
    with pytest.raises(BadPolicy, match=f"policy {name}: found no objective; expected --slo"):
        make_governor(name, at())
    with pytest.raises(BadPolicy, match="expected none"):
        make_governor(f"{name}:1", at(tpot_s=1.0))


@pytest.mark.parametrize(
    ("tpot_s", "mhz"), [(0.7, 1000), (0.6, 1250), (0.575, 1250), (0.53, 1750), (0.4, 2000)]
)
def test_slo_aware_takes_the_lowest_clock_that_keeps_tpot(tpot_s, mhz):
    assert pilot("slo-aware", tpot_s=tpot_s).decide(shown(DECODE)) == (mhz, 1000, None)


@pytest.mark.parametrize(
    ("waited_s", "mhz"),
    [(0.0, 1500), (4.5, 1500), (5.0, 1500), (5.3, 1750), (5.6, 2000), (9, 2000)],
)
def test_slo_aware_counts_the_time_that_a_prompt_has_waited(waited_s, mhz):
    governor = pilot("slo-aware", ttft_s=10.0)
    situation = shown(PREFILL, prefill_wait_s=waited_s, last_wait_s=waited_s, steps=1)
    assert governor.decide(situation) == (mhz, 1, None)


def test_slo_aware_counts_the_line_behind_the_prompt():
    # The last in line has as many tokens again before its first: two rounds within 9 s.
    governor = pilot("slo-aware", ttft_s=9.0)
    line = shown(PREFILL, waiting=1, prompt_tokens=2048, steps=1)
    assert governor.decide(line).asked_mhz == 1750
    assert governor.decide(line._replace(last_wait_s=0.2)).asked_mhz == 2000


def test_slo_aware_stays_where_a_switch_would_take_what_it_wins():
    # Within 5.2 s, 1500 MHz would do, but not after a stall of a second.
    for stall_s, mhz in ((0.0, 1500), (0.1, 1500), (1.0, 2000)):
        governor = pilot("slo-aware", ttft_s=5.2, switch_latency_s=stall_s)
        governor._patience = 0
        assert governor.decide(shown(PREFILL, set_mhz=2000.0, steps=1)).asked_mhz == mhz


def test_slo_aware_hurries_where_somebody_waits_and_none_can_join():
    assert pilot("slo-aware", tpot_s=0.7).decide(shown(DECODE, waiting=1)).asked_mhz == 2000


def test_slo_aware_comes_down_when_a_lower_clock_has_done_for_long():
    governor, watch = pilot("slo-aware", tpot_s=0.7, switch_latency_s=0.02), Watch()
    assert governor.decide(shown(DECODE, watch=watch)) == (2000, PATIENCE, None)
    watch.steps = PATIENCE - 1
    assert governor.decide(shown(DECODE, watch=watch)) == (2000, 1, None)
    watch.steps = PATIENCE
    assert governor.decide(shown(DECODE, watch=watch)) == (1000, 1000, None)


def test_feedback_rises_by_a_quarter_and_falls_by_a_sixteenth_of_its_range():
    governor, watch = pilot("feedback", tpot_s=1.0), Watch()

    def review(gap_s):
        watch.steps += REVIEW_STEPS
        watch.gap_s.append(gap_s)
        watch.gap_tokens.append(10)
        return governor.decide(shown(DECODE, watch=watch)).asked_mhz

    assert governor.decide(shown(DECODE, watch=watch)) == (2000, REVIEW_STEPS, None)
    # Four levels above that of least energy: one step up, one step down.
    assert [review(s) for s in (0.5, 0.79, 0.9, 1.0, 1.1, 1.2)] == [
        1750,
        1500,
        1500,
        1500,
        1750,
        2000,
    ]
    watch.steps += REVIEW_STEPS
    assert governor.decide(shown(DECODE, watch=watch)).asked_mhz == 2000  # Nothing was measured.


def test_feedback_follows_the_worse_of_both_tails():
    governor, watch = pilot("feedback", tpot_s=1.0, ttft_s=2.0), Watch()
    watch.steps, watch.gap_s, watch.gap_tokens, watch.ttft_s = REVIEW_STEPS, [0.1], [5], [1.9]
    assert governor.decide(shown(DECODE, watch=watch)).asked_mhz == 2000
    watch.steps, watch.ttft_s = 2 * REVIEW_STEPS, [1.9, 0.3]
    assert governor.decide(shown(DECODE, watch=watch)).asked_mhz == 1750
    watch.steps, watch.gap_s, watch.gap_tokens = 3 * REVIEW_STEPS, [0.1, 1.2], [5, 5]
    assert governor.decide(shown(DECODE, watch=watch)).asked_mhz == 2000


def test_a_tail_is_what_five_percent_exceed():
    assert tail_s([*range(1, 21)], 0) == 19
    assert tail_s([5.0, 1.0], 0, [1, 99]) == 1.0
    assert tail_s([5.0, 1.0], 0, [6, 94]) == 5.0
    assert tail_s([9.0, 1.0], 1) == 1.0


def test_voltana_takes_one_of_five_clocks_and_hurries_where_a_queue_stands():
    # 1425, 1553, 1702, 1851 and 2000 MHz lie nearest to 1500, 1500, 1750, 1750 and 2000.
    governor = pilot("voltana", tpot_s=0.53, ttft_s=10.0)
    assert governor.decide(shown(DECODE)) == (1750, 1000, None)
    assert governor.decide(shown(DECODE, waiting=1)).asked_mhz == 2000
    assert governor.decide(shown(PREFILL, steps=1)).asked_mhz == 1500
    assert governor.decide(shown(PREFILL, steps=1, prefill_wait_s=5.1)).asked_mhz == 1750


def test_greenllm_clears_the_line_at_the_clock_of_least_energy_that_does():
    # Above 50 W idle, 1 + 3 / x seconds of 300 x W: 300 (x + 3), least at the lowest clock.
    governor = pilot("greenllm", ttft_s=10.0, tpot_s=0.6)
    assert governor.decide(shown(PREFILL, steps=1)).asked_mhz == 1000
    assert governor.decide(shown(PREFILL, steps=1, prefill_wait_s=4.0)).asked_mhz == 1250
    assert governor.decide(shown(PREFILL, steps=1, prompt_tokens=2048)).asked_mhz == 1500


def test_greenllm_looks_up_its_decode_clock_and_moves_it_by_the_tail():
    governor, watch = pilot("greenllm", tpot_s=0.6), Watch()
    assert governor.decide(shown(DECODE, watch=watch)).asked_mhz == 2000
    # 32 tokens in 100 s: the table has 1250 MHz for all rates up to one sequence's.
    watch.steps, watch.tokens = 32, 32
    assert governor.decide(shown(DECODE, watch=watch)).asked_mhz == 1500
    for late_s, mhz in ((0.5, 1250), (0.4, 1000), (0.55, 1000), (0.61, 1250), (0.7, 1500)):
        watch.steps += 4
        watch.gap_s.append(late_s)
        watch.gap_tokens.append(4)
        assert governor.decide(shown(DECODE, watch=watch)).asked_mhz == mhz


def test_a_fleet_cap_is_shared_by_who_is_busy():
    account = Account(1000.0, 100.0, 600.0, 4)
    assert account.grant(0) == 600  # 1000 - 3 x 100, but no more than a GPU draws.
    assert account.grant(1) == 200  # What the first has is given back at its next step.
    assert account.grant(0) == 400
    assert account.grant(1) == 400
    assert account.grant(2) == 100
    assert [account.grant(n) for n in (0, 1, 2)] == [300, 300, 300]
    account.give_back(1)
    assert account.grant(0) == 400


def test_a_fleet_cap_below_what_replicas_need():
    governor = make_governor("fleet-cap:500", at())
    # The tiny decode draws 120 W at 1000 MHz and prefill 200 W; 2% more are set aside.
    assert len(governor.crew(2, 50.0)) == 2
    with pytest.raises(BadPolicy, match="found 500 W for 3 replicas; expected at least 612 W"):
        governor.crew(3, 50.0)


def test_pools_need_two_governors_and_two_pools():
    apart = replace(at(), apart=True)
    both = make_governor("pools:fixed:1500|min-energy", apart)
    assert both.name == "pools:fixed:1500|min-energy"
    for argument in ("", "fixed:1500", "a|", "pools:a|b|c", "fixed:1500|min-edp|min-edp"):
        with pytest.raises(BadPolicy, match=r"expected pools:PREFILL\|DECODE"):
            make_governor(f"pools:{argument}", apart)
    with pytest.raises(BadPolicy, match="found one pool; expected --batching disaggregated:P:D"):
        make_governor("pools:fixed:1500|min-energy", at())
