"""What no run may lose, whatever sleeps, starts, stops and breaks, in every way of serving."""

import numpy as np
import pytest
import structured
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from model.work import Phase
from simulate.batching import Alone, Continuous, Disaggregated, Static
from simulate.compare import compare
from simulate.fleet import Faults, Fleet, Routing, Scaling, Sleep
from simulate.meter import SERVING, State
from simulate.metrics import Slo
from simulate.replay import Group, replay
from simulate.replica import AloneEngine
from simulate.scenario import Scenario
from simulate.service import Lengths, PhaseCost

EXACT = 1e-9
CALIBRATION = structured.calibration()
POLICIES = (
    "max-frequency",
    "phase-aware:prefill=1700,decode=800",
    "slo-aware",
    "feedback",
    "greenllm",
    "voltana",
    "fleet-cap:900",
)
MODES = (
    Alone(),
    Static(3),
    Continuous(64, 8, 30),
    Continuous(2048, 32, 600),
    Disaggregated(2, 2, 1e-3, Continuous(64, 8, 30)),
)


@st.composite
def runs(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = int(rng.integers(1, 40))
    trace = tiny.trace(
        np.cumsum(rng.exponential(draw(st.sampled_from([0.002, 0.02, 0.2])), n)),
        rng.integers(1, 300, n),
        rng.integers(0, 40, n),
    )
    mode = draw(st.sampled_from(MODES))
    scenario = Scenario(
        (),
        draw(st.sampled_from(POLICIES)),
        replicas=draw(st.integers(1, 4)),
        routing=draw(st.sampled_from(Routing)),
        batching=mode,
        switch_latency_s=draw(st.sampled_from([0.0, 0.002, 0.05])),
        min_dwell_s=draw(st.sampled_from([0.0, 0.02])),
        sleep=draw(st.sampled_from([None, Sleep(0.01, 5.0, 0.03)])),
        scaling=draw(st.sampled_from([None, Scaling(1, 2.0, 0.02, 0.05), Scaling(2, None, 1, 1)])),
        faults=draw(
            st.sampled_from(
                [
                    None,
                    Faults(0.5, 0.1, None, 7),
                    Faults(0.2, 0.05, 1, 3),
                    Faults(0.2, 0.05, 0, 5),
                ]
            )
        ),
        slo=Slo(ttft_s=0.1, tpot_s=0.0025),
        draws=0,
    )
    (result,) = compare(trace, CALIBRATION, scenario).results
    return trace, scenario, result


@settings(max_examples=150, deadline=None)
@given(runs())
def test_nothing_is_lost(run):
    trace, scenario, result = run
    outcome, metrics = result.outcome, result.metrics
    replayed, met = outcome.replayed, outcome.replayed.intervals
    served = outcome.served
    assert len(trace) == served.sum() + replayed.rejected.sum() + replayed.failed.sum()
    assert metrics.requests == served.sum() + metrics.rejected + metrics.failed
    assert np.all(np.isnan(replayed.finish_s) == ~served)
    assert np.all(replayed.finish_s[served] >= replayed.first_token_s[served])
    assert np.all(replayed.start_s[served] >= outcome.arrival_s[served])
    limit = np.inf if scenario.faults is None else scenario.faults.retries
    if limit is not None and not isinstance(scenario.batching, Disaggregated):
        assert np.all(replayed.losses[served] <= limit)
        assert np.all(replayed.losses[replayed.failed] == limit + 1)
    if scenario.faults is None:
        assert not replayed.losses.any()
        assert not replayed.wasted_j.any()

    requests_j = replayed.prefill_j + replayed.decode_j + replayed.switching_j
    assert np.all(requests_j[replayed.failed & ~np.isfinite(replayed.first_token_s)] == 0)
    by_state = outcome.energy_by_state_j
    drawn_j = sum(by_state[state] for state in SERVING)
    to_rest_j = requests_j.sum() + replayed.wasted_j.sum() - drawn_j
    assert to_rest_j <= EXACT * outcome.energy_j
    if result.prepared.governor.idle_mhz is None:
        assert to_rest_j == pytest.approx(0.0, abs=EXACT * outcome.energy_j)
    assert float(met.energy_j.sum()) == pytest.approx(outcome.energy_j, rel=EXACT)

    assert np.all(met.duration_s > 0)
    for replica in range(outcome.replicas):
        mine = met.replica == replica
        starts_s = met.start_s[mine]
        ends_s = starts_s + met.duration_s[mine]
        assert met.duration_s[mine].sum() == pytest.approx(outcome.makespan_s, rel=EXACT)
        assert starts_s == pytest.approx([0.0, *ends_s[:-1]], rel=EXACT, abs=EXACT)

    if replayed.batches is not None:
        batches = replayed.batches
        decoded = np.maximum(trace.output_tokens - 1, 0)[served].sum()
        assert batches.kv_blocks_left == 0
        if scenario.faults is None:
            assert batches.gap_tokens.sum() == decoded
            assert batches.lost_tokens == 0
        else:
            # Of the tokens of a lost attempt all but the first followed another.
            assert decoded <= batches.gap_tokens.sum() <= decoded + batches.lost_tokens


def test_one_failure_by_hand():
    # The first of two replicas breaks at 0.5 s while it prefills for a second at 100 W, is repaired
    # at 0.75 s; the other one serves the lost query anew from 0.5 s on.
    columns = [np.full(1, value) for value in (1.0, 100.0, 1000.0, 1000.0)]
    service = dict.fromkeys(Phase, PhaseCost(*columns))
    fleet = Fleet(
        2, Routing.LEAST_OUTSTANDING, 10.0, None, 0.0, 0.0, faults=Faults(0.5, 0.25, None, 0)
    )
    ones = np.ones(1, dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        times = {0: iter([0.5, 0.25, 90.0, 90.0]), 1: iter([80.0, 90.0])}
        patch.setattr(
            np.random,
            "default_rng",
            lambda key: type("", (), {"exponential": lambda _s, _mean: next(times[key[2]])})(),
        )
        replayed = replay(
            np.zeros(1), Lengths(ones, ones), [Group(fleet, AloneEngine(service, None))]
        )
    assert replayed.replica.tolist() == [1]
    assert replayed.start_s.tolist() == [0.5]
    assert replayed.finish_s.tolist() == [2.5]
    assert replayed.wasted_j.tolist() == [50.0]
    assert replayed.prefill_j.tolist() == replayed.decode_j.tolist() == [100.0]
    assert replayed.losses.tolist() == [1]
    met = replayed.intervals
    rows = sorted(
        zip(met.replica, met.start_s, met.state, met.duration_s, met.power_w, strict=True)
    )
    assert rows == [
        (0, 0.0, State.PREFILL, 0.5, 100.0),
        (0, 0.5, State.FAILED, 0.25, 0.0),
        (0, 0.75, State.IDLE, 1.75, 10.0),
        (1, 0.0, State.IDLE, 0.5, 10.0),
        (1, 0.5, State.PREFILL, 1.0, 100.0),
        (1, 1.5, State.DECODE, 1.0, 100.0),
    ]
