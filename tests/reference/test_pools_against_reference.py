"""Two pools and a link agree with two slow engines and a link that is walked through by hand.

Both sides price steps alike: that prices are those of the curves, single engines show.
"""

import numpy as np
import pytest
import structured
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_engine import serve_slowly
from test_engine_against_reference import EXACT, GOVERNORS, runs, shared_prompts

from model.affine import AffinePrices
from model.pricing import Step
from model.work import Phase
from policies import Looking
from policies.oracle import Oracle
from simulate.batching import UNLIMITED
from simulate.engine import BatchEngine
from simulate.fleet import Fleet
from simulate.meter import State
from simulate.pools import Pools, replay_pools
from simulate.service import Lengths

CALIBRATION = structured.calibration()


@settings(max_examples=80, deadline=None)
@given(
    runs().filter(lambda run: run[3].refills),
    st.tuples(st.sampled_from(GOVERNORS), st.sampled_from(GOVERNORS)),
    st.sampled_from([1e4, 1e6, 1e12]),
    st.integers(1, 2),
    st.integers(0, 2**32),
)
def test_pools_agree_with_two_slow_engines(run, governors, link_bytes_per_s, decoding, seed):
    rng = np.random.default_rng(seed)
    arrivals, prompts, outputs, limits, fleet = run
    curves = [CALIBRATION.curves_of("tiny", phase) for phase in Phase]
    priority = rng.integers(0, 3, arrivals.size)
    prefixes, contents = None, None
    if limits.kv_blocks < UNLIMITED:
        prefixes, contents = shared_prompts(rng, prompts)
    lengths = Lengths(prompts, outputs, priority, prefixes)
    prices_of, engines_of = [], []
    for governor in governors:
        prices = AffinePrices(*curves, CALIBRATION.gpu, governor.cap_w)
        if isinstance(governor, Oracle):
            prices = governor.reprice(prices)
        prices_of.append(prices)
        engines_of.append(BatchEngine(lengths, prices, governor, limits, at_once=1))
    first = Fleet(**(vars(fleet) | {"idle_mhz": governors[0].idle_mhz}))
    idle_mhz = None if governors[1].idle_mhz is None else 800.0
    second = Fleet(**(vars(fleet) | {"idle_mhz": idle_mhz, "replicas": decoding}))
    token_bytes = 512.0
    pools = Pools(first, second, *engines_of, token_bytes, link_bytes_per_s)
    replayed = replay_pools(arrivals, lengths, [pools], tokens=True)

    def serve(which, moments, most, pool, first_tokens=None, contents=None):
        if not which:
            return [], [], 0.0
        second_pool = first_tokens is not None
        governor, prices = governors[second_pool], prices_of[second_pool]
        crew = None
        if isinstance(governor, Looking):
            crew = governor.crew(pool.replicas, pool.idle_power_w)
        return serve_slowly(
            moments,
            [int(prompts[i]) for i in which],
            [min(int(outputs[i]), most) for i in which],
            *(limits, pool),
            lambda counts, clock, cap: tuple(
                float(column[0])
                for column in (prices if cap is None else prices.capped(cap)).price(
                    Step(*counts), 1, clock
                )
            ),
            lambda counts: float(
                governor.request_mhz(Step(*counts).phase, Step(*counts).work(1))[0]
            ),
            lambda counts, clock: prices.prefill_time_share(Step(*counts), clock),
            first_tokens,
            [int(priority[i]) for i in which],
            None if contents is None else [contents[i] for i in which],
            crew=crew,
        )

    def longest(i):
        return prompts[i] + max(int(outputs[i]), 1) - 1

    fitting = [i for i in range(arrivals.size) if -(-longest(i) // 16) <= limits.kv_blocks]
    prefilled, engines, end = serve(
        fitting, arrivals[fitting].tolist(), 1, first, contents=contents
    )
    rows = dict(zip(fitting, (request.row for request in prefilled), strict=True))
    moving = sorted((i for i in fitting if outputs[i] > 1), key=lambda i: (rows[i]["finish"], i))
    free, crossed = 0.0, []
    for i in moving:
        free = max(free, rows[i]["finish"]) + float(prompts[i]) * token_bytes / link_bytes_per_s
        crossed.append(free)
    tokens = [rows[i]["finish"] for i in moving]
    decoded, more, later_end = serve(moving, crossed, 10**6, second, tokens)
    later = dict(zip(moving, (request.row for request in decoded), strict=True))

    assert replayed.rejected.tolist() == [i not in rows for i in range(arrivals.size)]
    for i, row in rows.items():
        last = later.get(i, {})
        assert replayed.start_s[i] == pytest.approx(row["start"], rel=EXACT, abs=EXACT)
        assert replayed.first_token_s[i] == pytest.approx(row["finish"], rel=EXACT)
        assert replayed.finish_s[i] == pytest.approx(last.get("finish", row["finish"]), rel=EXACT)
        for name in ("prefill_j", "decode_j", "switching_j"):
            expected = row.get(name, 0.0) + last.get(name, 0.0)
            assert getattr(replayed, name)[i] == pytest.approx(expected, rel=EXACT, abs=EXACT)
    assert replayed.end_s == pytest.approx(max(end, later_end), rel=EXACT, abs=EXACT)
    met = replayed.intervals
    diary = [entry for engine in (*engines, *more) for entry in engine.diary]
    for state in State:
        if state is State.IDLE:
            continue
        assert met.energy_j[met.state == state].sum() == pytest.approx(
            sum(e[2] * e[3] for e in diary if e[0] == state), rel=EXACT, abs=EXACT
        )
    for replica in range(first.replicas + decoding if rows else 0):
        mine = met.replica == replica
        assert met.duration_s[mine].sum() == pytest.approx(replayed.end_s, rel=EXACT)
    rows_of = {i: [row["finish"]] for i, row in rows.items()}
    rows_of |= dict(zip(moving, (request.tokens_at for request in decoded), strict=True))
    tokens = replayed.tokens
    assert tokens.request.tolist() == [i for i in sorted(rows_of) for _ in rows_of[i]]
    assert tokens.time_s.tolist() == pytest.approx(
        [s for i in sorted(rows_of) for s in rows_of[i]], rel=EXACT, abs=EXACT
    )
    gaps = [np.diff(request.tokens_at) for request in decoded]
    found = np.repeat(replayed.batches.gap_s, replayed.batches.gap_tokens)
    assert np.sort(found) == pytest.approx(
        np.sort(np.concatenate([*gaps, np.zeros(0)])), rel=EXACT, abs=EXACT
    )
    assert replayed.batches.kv_blocks_left == 0
