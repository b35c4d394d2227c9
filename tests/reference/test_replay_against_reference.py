"""The event loop and the slow, obvious replay agree on everything, to the last interval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_replay import replay_slowly

from model.work import Phase
from simulate.fleet import Fleet, Routing
from simulate.replica import replay_alone
from simulate.service import Lengths, PhaseCost

CLOCKS = (900.0, 1300.0, float("inf"))
PHASES = (Phase.PREFILL, Phase.DECODE)
EXACT = 1e-9


@st.composite
def dyadic_runs(draw):
    """Runs in quarters of a second: sums are exact, and ties are frequent."""

    def some(values, n):
        return draw(st.lists(st.sampled_from(values), min_size=n, max_size=n))

    n = draw(st.integers(1, 12))
    gaps = some([0.0, 0.25, 0.5, 1.0, 2.0], n)
    seconds = [some([0.25, 0.5, 1.0, 2.0], n), some([0.0, 0.5, 1.0, 2.0, 4.0], n)]
    watts = [some([100.0, 350.0, 600.0], n), some([50.0, 300.0], n)]
    wanted = [some(CLOCKS, n), some(CLOCKS, n)]
    slow = {
        (number, clock): draw(st.sampled_from([(0.5, 80.0), (1.0, 200.0), (2.0, 700.0)]))
        for number in (0, 1)
        for clock in CLOCKS
    }
    fleet = Fleet(
        replicas=draw(st.integers(1, 4)),
        routing=draw(st.sampled_from(Routing)),
        idle_power_w=draw(st.sampled_from([0.0, 70.0])),
        idle_mhz=draw(st.sampled_from([None, 900.0, 1300.0])),
        switch_latency_s=draw(st.sampled_from([0.0, 0.25, 1.0])),
        min_dwell_s=draw(st.sampled_from([0.0, 0.5, 3.0])),
        queue_limit=draw(st.integers(1, 3)),
    )
    return np.cumsum(gaps), seconds, watts, wanted, slow, fleet


@st.composite
def real_runs(draw):
    """Runs with times drawn from continuous distributions, where no two moments coincide."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = int(rng.integers(1, 13))
    seconds = [rng.exponential(1.0, n) + 0.01, rng.exponential(1.0, n) * rng.integers(0, 2, n)]
    slow = {
        (number, clock): (float(rng.uniform(0.3, 3)), float(rng.uniform(50, 700)))
        for number in (0, 1)
        for clock in CLOCKS
    }
    fleet = Fleet(
        replicas=int(rng.integers(1, 5)),
        routing=list(Routing)[rng.integers(4)],
        idle_power_w=float(rng.uniform(0, 100)),
        idle_mhz=[None, 900.0, 1300.0][rng.integers(3)],
        switch_latency_s=float(rng.exponential(0.1)),
        min_dwell_s=float(rng.exponential(1.0) * rng.integers(0, 2)),
        queue_limit=int(rng.integers(1, 4)),
    )
    return (
        np.cumsum(rng.exponential(draw(st.sampled_from([0.2, 1.0, 3.0])), n)),
        seconds,
        [rng.uniform(50, 700, n), rng.uniform(50, 700, n)],
        [rng.choice(CLOCKS, n), rng.choice(CLOCKS, n)],
        slow,
        fleet,
    )


def both(run):
    arrivals, seconds, watts, wanted, slow, fleet = run
    seconds, watts, wanted = (
        [np.array(column, dtype=np.float64) for column in pair] for pair in (seconds, watts, wanted)
    )
    held = [np.where(np.isinf(column), 1980.0, column) for column in wanted]
    service = {
        phase: PhaseCost(seconds[i], watts[i], held[i], wanted[i]) for i, phase in enumerate(PHASES)
    }

    def off_clock(query, number, clock):
        factor, power_w = slow[number, clock]
        return factor * float(seconds[number][query]), power_w, clock / 2

    def off_clock_of(query, phase, clock):
        return off_clock(query, PHASES.index(phase), clock)

    # Lengths matter to routing alone: what serving costs is given.
    lengths = Lengths(np.arange(arrivals.size) * 7 % 5 + 1, np.arange(arrivals.size) * 3 % 4)
    replayed = replay_alone(arrivals, lengths, service, fleet, off_clock_of)
    phases = [
        [
            tuple(float(column[i][query]) for column in (seconds, watts, held, wanted))
            for i in (0, 1)
        ]
        for query in range(arrivals.size)
    ]
    tokens = (lengths.prompt_tokens + lengths.output_tokens).tolist()
    return replayed, replay_slowly(arrivals.tolist(), tokens, phases, fleet, off_clock)


def assert_the_same(replayed, slow):
    rows, diaries, end = slow
    assert replayed.replica.tolist() == [row["replica"] for row in rows]
    for column, name in (
        (replayed.start_s, "start"),
        (replayed.first_token_s, "first_token"),
        (replayed.finish_s, "finish"),
        (replayed.prefill_j, "prefill_j"),
        (replayed.decode_j, "decode_j"),
        (replayed.switching_j, "switching_j"),
    ):
        assert column.tolist() == pytest.approx([row[name] for row in rows], rel=EXACT, abs=EXACT)
    assert replayed.end_s == pytest.approx(end, rel=EXACT)
    met = replayed.intervals
    for number, diary in enumerate(diaries):
        mine = met.replica == number
        assert met.state[mine].tolist() == [entry[0] for entry in diary]
        for column, place in ((met.start_s, 1), (met.duration_s, 2), (met.power_w, 4)):
            expected = [entry[place] for entry in diary]
            assert column[mine].tolist() == pytest.approx(expected, rel=EXACT, abs=EXACT)
        clocks = [float("nan") if entry[3] is None else entry[3] for entry in diary]
        np.testing.assert_array_equal(met.sm_mhz[mine], clocks)


@settings(max_examples=400, deadline=None)
@given(dyadic_runs())
def test_agreement_where_moments_coincide(run):
    assert_the_same(*both(run))


@settings(max_examples=400, deadline=None)
@given(real_runs())
def test_agreement_on_real_numbers(run):
    assert_the_same(*both(run))
