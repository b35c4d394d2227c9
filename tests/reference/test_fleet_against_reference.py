"""Groups that sleep, scale and break agree with the slow fleet, in batches and one at a time."""

from itertools import pairwise

import numpy as np
import pytest
import structured
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_blocks import SlowBlocks
from slow_engine import Request
from slow_fleet import Alone, Batching, serve_fleet_slowly
from test_engine_against_reference import EXACT, GOVERNORS, ByWork

from model.affine import AffinePrices
from model.mixed import mixed_curves
from model.pricing import CurvePrices, Step
from model.work import Phase
from policies import PhaseClocks
from simulate.batching import UNLIMITED, Limits
from simulate.engine import BatchEngine
from simulate.fleet import Faults, Fleet, Routing, Scaling, Sleep
from simulate.meter import State
from simulate.replay import Group, replay
from simulate.replica import AloneEngine
from simulate.service import Lengths, PhaseCost

CALIBRATIONS = structured.calibration(), structured.calibration(decode_faster=1.7)
PLAIN = [each for each in GOVERNORS if isinstance(each, PhaseClocks | ByWork)]
"""Governors that look at their replica are held to the reference without groups and faults."""

LIMITS = (
    Limits(UNLIMITED, 3, UNLIMITED, refills=False),
    Limits(64, 64, UNLIMITED, refills=True),
    Limits(50, 4, 40, refills=True),
    Limits(200, 8, 9, refills=True),
)


def kinds(draw, rng, idle_mhz, unit_s):
    """One or two groups' fleets; times are in units of ``unit_s``."""

    def one_of(*values):
        return values[rng.integers(len(values))]

    routing, faults = (
        draw(st.sampled_from(Routing)),
        one_of(
            None,
            Faults(20 * unit_s, 4 * unit_s, None, 1),
            Faults(5 * unit_s, 2 * unit_s, int(rng.integers(3)), 2),
        ),
    )
    return [
        Fleet(
            replicas=int(rng.integers(1, 4)),
            routing=routing,
            idle_power_w=float(rng.uniform(20, 100)),
            idle_mhz=idle_mhz,
            switch_latency_s=one_of(0.0, 0.1, 1.0) * unit_s,
            min_dwell_s=one_of(0.0, 0.0, 2.0) * unit_s,
            queue_limit=int(rng.integers(1, 5)),
            sleep=one_of(None, Sleep(1.3 * unit_s, 11.0, 0.7 * unit_s)),
            scaling=one_of(
                None,
                Scaling(1, 1.5, 3.3 * unit_s, 2.1 * unit_s),
                Scaling(1, 4.0, 0.9 * unit_s, 9.1 * unit_s),
            ),
            faults=faults,
        )
        for _ in range(rng.integers(1, 3))
    ]


def requests_of(arrivals, prompts, outputs, first_tokens=None):
    columns = zip(arrivals.tolist(), prompts.tolist(), outputs.tolist(), strict=True)
    requests = [Request(number, *row) for number, row in enumerate(columns)]
    for request in requests:
        request.losses, request.failed, request.gaps = 0, False, []
        if first_tokens is not None:
            request.generated, request.computed = 1, request.prompt
            request.tokens_at.append(first_tokens[request.number])
            request.row["first_token"] = first_tokens[request.number]
    return requests


def permitted(rng, n, groups):
    may = rng.integers(0, 2, (n, groups)).astype(bool)
    may[~may.any(axis=1)] = True
    return may


def assert_the_same(replayed, requests, replicas, end):
    nan = float("nan")
    finished = [r.number for replica in replicas for r in replica.done]
    assert replayed.replica.tolist() == [r.row.get("replica", 0) for r in requests]
    assert replayed.losses.tolist() == [r.losses for r in requests]
    assert replayed.failed.tolist() == [r.failed for r in requests]
    rejected = [r.number not in finished and not r.failed for r in requests]
    assert replayed.rejected.tolist() == rejected
    for column, name, absent in (
        (replayed.start_s, "start", nan),
        (replayed.finish_s, "finish", nan),
        (replayed.first_token_s, "first_token", nan),
        (replayed.prefill_j, "prefill_j", 0.0),
        (replayed.decode_j, "decode_j", 0.0),
        (replayed.switching_j, "switching_j", 0.0),
        (replayed.wasted_j, "wasted_j", 0.0),
    ):
        expected = [r.row.get(name, absent) for r in requests]
        assert column.tolist() == pytest.approx(expected, rel=EXACT, abs=EXACT, nan_ok=True), name
    assert replayed.end_s == pytest.approx(end, rel=EXACT)
    met = replayed.intervals
    for number, replica in enumerate(replicas):
        for state in State:
            diary = [entry for entry in replica.diary if entry[0] == state]
            here = (met.replica == number) & (met.state == state)
            seconds = sum(entry[2] for entry in diary)
            joules = sum(entry[2] * entry[-1] for entry in diary)
            assert met.duration_s[here].sum() == pytest.approx(seconds, rel=EXACT, abs=EXACT)
            assert met.energy_j[here].sum() == pytest.approx(joules, rel=EXACT, abs=EXACT)


@st.composite
def batched(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = int(rng.integers(1, 16))
    governor = draw(st.sampled_from(PLAIN))
    arrivals = np.cumsum(rng.exponential(draw(st.sampled_from([0.002, 0.02, 0.2])), n))
    lengths = Lengths(rng.integers(1, 120, n), rng.integers(0, 50, n))
    fleets = kinds(draw, rng, governor.idle_mhz, 0.02)
    limits = [LIMITS[rng.integers(len(LIMITS))] for _ in fleets]
    prefilled = draw(st.booleans())
    if prefilled:
        limits = [LIMITS[1 + rng.integers(len(LIMITS) - 1)] for _ in fleets]
        lengths = Lengths(lengths.prompt_tokens, lengths.output_tokens + 2)
    return rng, arrivals, lengths, governor, fleets, limits, prefilled


@settings(max_examples=40, deadline=None)
@given(batched())
def test_agreement_in_batches(run):
    rng, arrivals, lengths, governor, fleets, limits, prefilled = run
    first_token_s = arrivals - rng.exponential(0.01, arrivals.size) if prefilled else None
    requests = requests_of(
        *(arrivals, lengths.prompt_tokens, lengths.output_tokens),
        None if first_token_s is None else first_token_s.tolist(),
    )
    groups, slow_groups, costs = [], [], []
    for fleet, limit, calibration in zip(fleets, limits, CALIBRATIONS, strict=False):
        curves = [calibration.curves_of("tiny", phase) for phase in Phase]
        fast = AffinePrices(*curves, calibration.gpu, governor.cap_w)
        slow = CurvePrices(*curves, calibration.gpu, governor.cap_w, mixed_curves(*curves))

        def price(counts, clock, _cap=None, slow=slow):
            return tuple(float(column[0]) for column in slow.price(Step(*counts), 1, clock))

        def clock_for(counts):
            step = Step(*counts)
            return float(governor.request_mhz(step.phase, step.work(1))[0])

        def share(counts, clock, slow=slow):
            return slow.prefill_time_share(Step(*counts), clock)

        engine = BatchEngine(lengths, fast, governor, limit, at_once=1, prefilled=prefilled)
        groups.append(Group(fleet, engine))
        members = []
        for _ in range(fleet.replicas):
            blocks = limit.kv_blocks
            member = Batching(
                *(limit, fleet, price, clock_for, share, SlowBlocks(blocks, False), blocks),
                *(fleet.idle_mhz, fleet.idle_power_w),
            )
            member.fresh_pool = lambda blocks=blocks: SlowBlocks(blocks, False)
            member.elsewhere = prefilled
            members.append(member)
        slow_groups.append((fleet, members))
        costs.append(lambda counts, price=price: price(counts, clock_for(counts)))

    steps = lengths.decode_steps.tolist()
    contexts = [p + (s + 1) / 2 for p, s in zip(lengths.prompt_tokens.tolist(), steps, strict=True)]
    weights = [max(s, 1) for s in steps]
    context = sum(c * w for c, w in zip(contexts, weights, strict=True)) / sum(weights)

    def added(request, group, others):
        def joules(*counts, beyond_w=0.0):
            seconds, watts, _ = costs[group](counts)
            return seconds * (watts - beyond_w)

        idle_w = 0.0 if others else fleets[group].idle_power_w
        pairs = sum(range(request.prompt + 1))
        prompt_j = 0.0 if prefilled else joules(1, request.prompt, pairs, 0, 0, beyond_w=idle_w)
        size = others + 1
        step_j = joules(0, 0, 0, size, round(size * context), beyond_w=idle_w)
        if others:
            step_j -= joules(0, 0, 0, others, round(others * context))
        return prompt_j + max(request.output - 1, 0) * step_j

    may = permitted(rng, arrivals.size, len(fleets))
    longest = lengths.prompt_tokens + lengths.decode_steps
    able = []
    for row, tokens in zip(may.tolist(), longest.tolist(), strict=True):
        named = [g for g, yes in enumerate(row) if yes]
        held = [g for g in named if -(-tokens // 16) <= limits[g].kv_blocks]
        able.append(held or named)
    if len(fleets) == 1:
        able = [[0]] * arrivals.size
    end = serve_fleet_slowly(requests, slow_groups, able, added)
    replayed = replay(arrivals, lengths, groups, may=may, first_token_s=first_token_s)
    replicas = [replica for _, members in slow_groups for replica in members]
    assert_the_same(replayed, requests, replicas, end)
    batches = replayed.batches
    assert batches.lost_tokens == sum(replica.lost_tokens for replica in replicas)
    assert batches.kv_blocks_left == 0
    assert batches.preemptions == sum(replica.preemptions for replica in replicas)
    gaps = [gap for r in requests for gap in r.gaps]
    gaps += [b - a for r in requests for a, b in pairwise(r.tokens_at)]
    found = np.repeat(batches.gap_s, batches.gap_tokens)
    assert np.sort(found) == pytest.approx(sorted(gaps), rel=EXACT, abs=EXACT)


@st.composite
def alone(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = int(rng.integers(1, 16))
    idle_mhz = draw(st.sampled_from([None, 900.0, 1300.0]))
    arrivals = np.cumsum(rng.exponential(draw(st.sampled_from([0.2, 1.0, 3.0])), n))
    lengths = Lengths(rng.integers(1, 9, n), rng.integers(0, 9, n))
    return rng, arrivals, lengths, kinds(draw, rng, idle_mhz, 1.0)


@settings(max_examples=150, deadline=None)
@given(alone())
def test_agreement_one_at_a_time(run):
    rng, arrivals, lengths, fleets = run
    n = arrivals.size
    requests = requests_of(arrivals, lengths.prompt_tokens, lengths.output_tokens)
    groups, slow_groups, phases_of = [], [], []
    for fleet in fleets:
        seconds = [rng.exponential(1.0, n) + 0.01, rng.exponential(1.0, n) * rng.integers(0, 2, n)]
        watts = [rng.uniform(120, 700, n), rng.uniform(120, 700, n)]
        wanted = [rng.choice([900.0, 1300.0], n), rng.choice([900.0, 1300.0], n)]
        service = {
            phase: PhaseCost(seconds[i], watts[i], wanted[i], wanted[i])
            for i, phase in enumerate(Phase)
        }

        def off_clock(query, number, clock, seconds=seconds):
            return clock / 1000 * float(seconds[number][query]), clock / 4, clock / 2

        def off_clock_of(query, phase, clock, off_clock=off_clock):
            return off_clock(query, list(Phase).index(phase), clock)

        phases = [
            [tuple(float(c[i][q]) for c in (seconds, watts, wanted, wanted)) for i in (0, 1)]
            for q in range(n)
        ]
        groups.append(Group(fleet, AloneEngine(service, off_clock_of)))
        slow_groups.append(
            (fleet, [Alone(fleet, phases, off_clock) for _ in range(fleet.replicas)])
        )
        phases_of.append(phases)

    def added(request, group, others):
        idle_w = fleets[group].idle_power_w
        return sum(cost[0] * (cost[1] - idle_w) for cost in phases_of[group][request.number])

    may = permitted(rng, n, len(fleets))
    able = [[g for g, yes in enumerate(row) if yes] for row in may.tolist()]
    if len(fleets) == 1:
        able = [[0]] * n
    end = serve_fleet_slowly(requests, slow_groups, able, added)
    replayed = replay(arrivals, lengths, groups, may=may)
    replicas = [replica for _, members in slow_groups for replica in members]
    assert_the_same(replayed, requests, replicas, end)
