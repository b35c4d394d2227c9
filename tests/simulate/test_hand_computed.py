"""Three requests under every built-in policy, worked out by hand from the tiny calibration.

The second request waits for the first; the third comes when the replica has long been idle. The
second generates one token, so it has no decode.
"""

import numpy as np
import pytest
import tiny

from policies.registry import BUILTIN
from simulate.compare import compare
from simulate.meter import State
from simulate.scenario import Scenario

STALL_S = 0.5
IDLE_W = 50.0
ARRIVALS = (0.0, 2.0, 100.0)
PROMPTS = (1024, 512, 2048)
OUTPUTS = (5, 1, 9)

# Power-limited prefill: 50 + 300 x = 320 W at x = 0.9. The other clocks minimise, over the
# requestable ones of 1000, 1250, 1500, 1750 and 2000 MHz that hold:
#   prefill energy   (1 + 3/x)(50 + 300 x):  1400.0  1377.5  1375.0  1383.9
#   prefill E x T                            9800    7989    6875    6129
#   decode energy    (3 + 1/x)(5 + 20 x):      75.0    80.5    86.7    93.2   100.0
#   decode E x T                               46.9    46.3    46.9    48.3    50.0
#   decode E x T x T                           29.3    26.6    25.4    25.0    25.0 (24.998, 25.000)
# and phase-aware allows 10% more than 4.333 s of prefill a 1024 tokens and 0.5 s of a decode step.
STOCK = (1800.0, 2000.0)
CASES = {
    "max-frequency": STOCK,
    "fixed:1250": (1250.0, 1250.0),
    "power-cap:230": (1200.0, 2000.0),
    "phase-aware": (1750.0, 1500.0),
    "phase-aware:prefill=1500,decode=1250": (1500.0, 1250.0),
    "phase-aware:decode=1000": (1750.0, 1000.0),
    "min-energy": (1500.0, 1000.0),
    "min-edp": (1750.0, 1250.0),
    "min-ed2p": (1750.0, 1750.0),
    "race-to-idle": STOCK,
    "composition-aware": (1750.0, 1500.0),
    # Two stalls at 312.5 W and half a second are more than two clocks save: see test_switching.
    "phase-aware-amortised": (1750.0, 1750.0),
}
LOOKING = {"slo-aware", "feedback", "fleet-cap", "greenllm", "voltana"}
"""Worked out in test_looking_governors; ``oracle`` is held against all others there."""


def test_every_built_in_policy_is_worked_out():
    assert {name.partition(":")[0] for name in CASES} | LOOKING | {"oracle"} == set(BUILTIN)


@pytest.mark.parametrize("policy", CASES)
def test_three_requests(policy):
    prefill_mhz, decode_mhz = CASES[policy]
    switches = prefill_mhz != decode_mhz and not policy.startswith(
        ("max-frequency", "power-cap", "race-to-idle")
    )
    stall_s = STALL_S if switches else 0.0
    prefill_w, decode_w = tiny.prefill_w(prefill_mhz), tiny.decode_w(decode_mhz)
    stall_w = max(prefill_w, decode_w)
    prefills_s = [tiny.prefill_s(prompt, prefill_mhz) for prompt in PROMPTS]
    decodes_s = [tiny.decode_s(output - 1, decode_mhz) for output in OUTPUTS]

    # The first request starts at once, at the prefill clock that the replica waits at.
    first = prefills_s[0]
    finish = [first + stall_s + decodes_s[0]]
    # The second starts when the first is done, and first goes back to the prefill clock.
    assert finish[0] > ARRIVALS[1]
    second = finish[0] + stall_s + prefills_s[1]
    finish.append(second)
    # The third finds an idle replica, still at the prefill clock.
    assert finish[1] < ARRIVALS[2]
    third = ARRIVALS[2] + prefills_s[2]
    finish.append(third + stall_s + decodes_s[2])

    scenario = Scenario((), policy, replicas=1, switch_latency_s=STALL_S, draws=0)
    trace = tiny.trace(ARRIVALS, PROMPTS, OUTPUTS)
    (result,) = compare(trace, tiny.calibration(), scenario).results
    outcome, metrics = result.outcome, result.metrics

    assert list(result.prepared.held_mhz.values()) == pytest.approx([prefill_mhz, decode_mhz])
    assert outcome.replayed.start_s == pytest.approx([0.0, finish[0], ARRIVALS[2]])
    assert outcome.ttft_s == pytest.approx(
        [first, second - ARRIVALS[1], third - ARRIVALS[2]], rel=1e-9
    )
    assert outcome.e2e_s == pytest.approx(np.subtract(finish, ARRIVALS), rel=1e-9)
    assert outcome.tpot_s == pytest.approx(
        [(finish[0] - first) / 4, np.nan, (finish[2] - third) / 8], rel=1e-9, nan_ok=True
    )
    replayed = outcome.replayed
    assert replayed.prefill_j == pytest.approx([s * prefill_w for s in prefills_s], rel=1e-9)
    assert replayed.decode_j == pytest.approx([s * decode_w for s in decodes_s], rel=1e-9)
    assert replayed.switching_j == pytest.approx([stall_s * stall_w] * 3, rel=1e-9)

    idle_s = ARRIVALS[2] - finish[1]
    by_state = {
        State.IDLE: (idle_s, IDLE_W * idle_s),
        State.SWITCHING: (3 * stall_s, 3 * stall_s * stall_w),
        State.PREFILL: (sum(prefills_s), sum(prefills_s) * prefill_w),
        State.DECODE: (sum(decodes_s), sum(decodes_s) * decode_w),
    }
    for state, (seconds, joules) in by_state.items():
        assert outcome.time_by_state_s[state] == pytest.approx(seconds, rel=1e-9)
        assert outcome.energy_by_state_j[state] == pytest.approx(joules, rel=1e-9)
    energy_j = sum(joules for _, joules in by_state.values())
    assert metrics.makespan_s == pytest.approx(finish[2], rel=1e-9)
    assert metrics.energy_j == pytest.approx(energy_j, rel=1e-9)
    assert metrics.energy_kwh == pytest.approx(energy_j / 3.6e6, rel=1e-9)
    assert metrics.output_token_j == pytest.approx(energy_j / 15, rel=1e-9)
    assert metrics.request_j == pytest.approx(energy_j / 3, rel=1e-9)
    assert metrics.utilisation == pytest.approx(1 - idle_s / finish[2], rel=1e-9)


def test_savings_and_latency_changes_are_against_the_baseline():
    trace = tiny.trace(ARRIVALS, PROMPTS, OUTPUTS)
    scenario = Scenario(("min-energy", "fixed:1250"), replicas=1, draws=0)
    base, *others = compare(trace, tiny.calibration(), scenario).results
    assert base.saving.value == 0
    assert set(base.latency_change) == {
        f"{latency}_{q}" for latency in ("ttft", "tpot", "e2e") for q in ("p50", "p95", "p99")
    }
    for other in others:
        assert other.saving.value == pytest.approx(
            1 - other.outcome.energy_j / base.outcome.energy_j
        )
        assert other.latency_change["ttft_p95"].value == pytest.approx(
            np.percentile(other.outcome.ttft_s, 95) / np.percentile(base.outcome.ttft_s, 95) - 1
        )
        assert (other.saving.low, other.saving.high) == (None, None)


def test_a_dwell_runs_the_decode_on_at_the_prefill_clock():
    dwell_s = 3.0
    scenario = Scenario(
        (),
        "phase-aware:prefill=1500,decode=1000",
        replicas=1,
        switch_latency_s=STALL_S,
        min_dwell_s=dwell_s,
        draws=0,
    )
    trace = tiny.trace([0.0, 2.0], [1024, 512], [5, 9])
    (result,) = compare(trace, tiny.calibration(), scenario).results
    # No clock was ever changed, so the first decode changes it at once.
    first = tiny.prefill_s(1024, 1500)
    changed = first + STALL_S
    finish = changed + tiny.decode_s(4, 1000)
    # The second prefill must keep 1000 MHz until the dwell is over, then switches.
    kept_s = changed + dwell_s - finish
    assert kept_s > 0
    share = kept_s / tiny.prefill_s(512, 1000)
    second = changed + dwell_s + STALL_S + (1 - share) * tiny.prefill_s(512, 1500)
    # Its decode again, at 1500 MHz until three seconds after that change.
    until = changed + dwell_s + STALL_S + dwell_s
    part = max(until - second, 0) / tiny.decode_s(8, 1500)
    assert 0 < part < 1
    last = until + STALL_S + (1 - part) * tiny.decode_s(8, 1000)
    replayed = result.outcome.replayed
    assert replayed.first_token_s == pytest.approx([first, second], rel=1e-9)
    assert replayed.finish_s == pytest.approx([finish, last], rel=1e-9)
    assert replayed.prefill_j == pytest.approx(
        [
            first * tiny.prefill_w(1500),
            kept_s * tiny.prefill_w(1000)
            + (1 - share) * tiny.prefill_s(512, 1500) * tiny.prefill_w(1500),
        ],
        rel=1e-9,
    )
    assert replayed.decode_j[1] == pytest.approx(
        (until - second) * tiny.decode_w(1500)
        + (1 - part) * tiny.decode_s(8, 1000) * tiny.decode_w(1000),
        rel=1e-9,
    )
