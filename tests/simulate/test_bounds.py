"""What holds of governors in whole runs: the oracle's bound, the fleet's cap, costs of switches."""

from dataclasses import replace

import numpy as np
import structured
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from model.affine import prices_of
from model.pricing import Step
from model.work import Phase, Work
from policies import Setting, make_governor
from policies.oracle import LeastPrices
from simulate.batching import Alone, Continuous, Static
from simulate.compare import compare
from simulate.fleet import Faults, Routing
from simulate.metrics import Slo
from simulate.scenario import Scenario

CALIBRATION = structured.calibration()
IDLE_W = CALIBRATION.gpu.idle_power_w
GOVERNORS = (
    "max-frequency",
    "fixed:1000",
    "fixed:1437",
    "power-cap:200",
    "phase-aware",
    "min-energy",
    "race-to-idle",
    "phase-aware-amortised",
    "composition-aware",
    "slo-aware",
    "feedback",
    "greenllm",
    "voltana",
    "fleet-cap:1000",
)
CONTINUOUS = Continuous(64, 8, kv_blocks=60)


def outcome_of(trace, policy, **changes):
    known = {"replicas": 2, "draws": 0, "slo": Slo(ttft_s=0.1, tpot_s=0.0025)}
    scenario = Scenario((), policy, **(known | changes))
    return compare(trace, CALIBRATION, scenario).results[0].outcome


@st.composite
def traces(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 12))
    arrivals = np.cumsum(rng.exponential(draw(st.sampled_from([0.01, 0.1])), n))
    return tiny.trace(arrivals, rng.integers(1, 120, n), rng.integers(1, 40, n))


def above_idle_j(outcome):
    """What a fleet draws beyond its idle power over the whole of a run."""
    return outcome.energy_j - IDLE_W * outcome.replicas * outcome.makespan_s


@settings(max_examples=40, deadline=None)
@given(
    traces(),
    st.sampled_from(GOVERNORS),
    st.sampled_from(Routing),
    st.sampled_from([0.0, 0.001]),
)
def test_no_governor_draws_less_above_idle_than_the_oracle(trace, policy, routing, latency_s):
    changes = {"batching": Alone(), "routing": routing, "switch_latency_s": latency_s}
    bound, other = (outcome_of(trace, each, **changes) for each in ("oracle", policy))
    # Both queries' contexts are summed by different rules: one by one here, by quadrature there.
    assert above_idle_j(bound) <= above_idle_j(other) * (1 + 1e-6)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(
        *(st.integers(0, 3), st.integers(1, 200), st.integers(0, 30), st.integers(1, 300)),
    ),
    st.integers(1, 40),
    st.floats(500, 2000),
    st.sampled_from([1.0, 1.4]),
)
def test_of_the_same_steps_none_draws_less_at_any_clock(counts, steps, mhz, decode_faster):
    prompts, tokens, batch, context = counts
    if not prompts + batch:
        return
    if prompts:
        steps = 1
    pairs = prompts * tokens * (tokens + 1) // 2
    step = Step(prompts, prompts * tokens, pairs, batch, batch * context)
    calibration = structured.calibration(decode_faster=decode_faster)
    curves = [calibration.curves_of("tiny", phase) for phase in Phase]
    prices = prices_of(*curves, calibration.gpu, None, mixes=True)
    least = LeastPrices(prices, IDLE_W).price(step, steps, np.inf)
    other = prices.price(step, steps, mhz)
    spent = [each.time_s * (each.power_w - IDLE_W) for each in (least, other)]
    assert np.all(spent[0] <= spent[1] * (1 + 1e-6))
    assert np.all((least.sm_mhz >= 500) & (least.sm_mhz <= 2000))


@settings(max_examples=40, deadline=None)
@given(
    traces(),
    st.integers(1, 4),
    st.sampled_from([1.0, 1.15, 1.6]),
    st.sampled_from([Alone(), Static(3), CONTINUOUS]),
    st.sampled_from([None, Faults(0.1, 0.02, None, 3)]),
)
def test_a_fleet_never_draws_more_than_its_cap(trace, replicas, plenty, batching, faults):
    reserve_w = max(make_governor("fleet-cap:1", at_batch()).reserve_w, IDLE_W)
    cap_w = float(np.ceil(replicas * reserve_w * plenty))
    met = outcome_of(
        trace, f"fleet-cap:{cap_w:g}", replicas=replicas, batching=batching, faults=faults
    ).replayed.intervals
    ends_s = met.start_s + met.duration_s
    for moment_s in np.unique(met.start_s):
        # Ends are sums that round: what ends here has ended.
        now = (met.start_s <= moment_s) & (ends_s > moment_s + 1e-9)
        assert met.power_w[now].sum() <= cap_w * (1 + 1e-9)


def setting_of(calibration, **more):
    """What a governor is made from: prompts and contexts of 1024 tokens, one at a time."""
    return Setting(
        calibration.gpu,
        {phase: calibration.curves_of("tiny", phase) for phase in Phase},
        {
            Phase.PREFILL: Work.prefill([1.0], [1024.0]),
            Phase.DECODE: Work.decode([1.0], [1024.0]),
        },
        0.1,
        **more,
    )


def at_batch():
    return setting_of(CALIBRATION, mixes=True)


def test_two_clocks_give_way_to_one_where_switches_cost_more_than_they_save():
    # On the tiny calibration phase-aware has 1750 and 1500 MHz, of 1024 tokens:
    #   prefill 1384 J at 1750, 1377.5 J at 1500 (too slow); decode 86.7 J at 1500, 93.2 J at 1750.
    # So a request of n decode steps saves 6.5 n J by its second clock, and pays two stalls at 312.5
    # W, of 0.5 s: 312.5 J, worth it from 49 steps on.
    for decode_steps, latency_s, decode_mhz in (
        (40, 0.5, 1750),
        (55, 0.5, 1500),
        (40, 0.0, 1500),
        (40, 0.3, 1500),
        (2, 0.02, 1500),
        (1, 0.02, 1750),
    ):
        at = setting_of(tiny.calibration(), decode_steps=decode_steps, switch_latency_s=latency_s)
        governor = make_governor("phase-aware-amortised", at)
        asked = [float(governor.request_mhz(p, at.typical[p])[0]) for p in Phase]
        assert asked == [1750, decode_mhz]
        assert governor.idle_mhz == 1750
    apart = replace(at, apart=True)
    governor = make_governor("phase-aware-amortised", apart)
    assert governor.request_mhz(Phase.DECODE, at.typical[Phase.DECODE]) == [1500]


def test_it_saves_where_phase_aware_loses_to_its_stalls():
    rng = np.random.default_rng(5)
    trace = tiny.trace(np.cumsum(rng.exponential(0.02, 40)), rng.integers(200, 400, 40), [3] * 40)
    lost, kept, base = (
        outcome_of(trace, policy, switch_latency_s=0.02, replicas=1).energy_j
        for policy in ("phase-aware", "phase-aware-amortised", "max-frequency")
    )
    assert kept < base < lost


def test_a_mixed_step_takes_the_clock_of_the_phase_that_takes_most_of_it():
    governor = make_governor("composition-aware:prefill=1800,decode=900", at_batch())

    def asked(prompt, batch):
        pairs = prompt * (prompt + 1) // 2
        step = Step(int(prompt > 0), prompt, pairs, batch, 100 * batch)
        return float(governor.request_mhz(step.phase, step.work(1))[0])

    curves = at_batch().curves
    for prompt, batch in ((0, 4), (60, 0), (1, 60), (2, 40), (500, 1)):
        prefill_s = float(
            curves[Phase.PREFILL].time_s(Step(1, prompt, prompt**2 // 2, 0, 0).work(1), 900.0)[0]
        )
        decode_s = float(
            curves[Phase.DECODE].time_s(Step(0, 0, 0, batch, 100 * batch).work(1), 900.0)[0]
        )
        mostly_prefill = prompt > 0 and (batch == 0 or prefill_s > decode_s)
        assert asked(prompt, batch) == (1800 if mostly_prefill else 900)
    assert asked(1, 60) == 900
    assert asked(500, 1) == 1800
