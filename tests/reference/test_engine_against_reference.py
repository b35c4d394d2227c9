"""Batching and the slow, obvious engine agree on everything, step by step."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
import structured
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from slow_engine import serve_slowly

from model.affine import AffinePrices
from model.mixed import mixed_curves
from model.pricing import CurvePrices, Step
from model.work import Phase, Work
from policies import Decision, Looking, PhaseClocks, Setting, make_governor
from policies.oracle import Oracle
from policies.situation import tail_s
from simulate.batching import UNLIMITED, Limits
from simulate.engine import replay_batched
from simulate.fleet import Fleet, Routing
from simulate.meter import State
from simulate.prefix_cache import Prefixes
from simulate.service import Lengths

EXACT = 1e-9
SHARED = structured.calibration()
APART = structured.calibration(decode_faster=1.4)
INF = float("inf")
HASH_TOKENS = 32


class ByWork:
    """A governor whose clock depends on the step: on its batch and on its contexts."""

    name, cap_w, idle_mhz = "by-work", None, 900.0

    def request_mhz(self, phase, work):
        if phase is Phase.PREFILL:
            return np.full(work.shape, 1500.0)
        return np.where(work.context_tokens > 150 + 100 * (work.decode_batch > 2), 1100.0, 900.0)


class Curious:
    """Looks: its clocks and how long they stand are anyhow, but rest on the situation alone.

    ``crews`` are all the pilots that it was asked for; each keeps what it was shown.
    """

    name, cap_w, idle_mhz, coupled = "curious", None, 1300.0, False

    def __init__(self):
        self.pressed = self
        self.crews = []

    def request_mhz(self, phase, work):
        return np.full(work.shape, 1000.0)

    def crew(self, replicas, idle_power_w):
        self.crews.append([CuriousPilot() for _ in range(replicas)])
        return self.crews[-1]


class CuriousPilot:
    """Decides by what it is shown, and keeps that by the number of steps made."""

    def __init__(self):
        self.shown = {}

    def decide(self, situation):
        watch = situation.watch
        late = tail_s(watch.gap_s, 0, watch.gap_tokens), tail_s(watch.ttft_s, 0)
        self.shown[watch.steps] = (*situation[2:-1], situation.now_s, watch.tokens, *late)
        crowd = situation.waiting + situation.step.decode_batch + watch.steps // 5
        return Decision(700.0 + 100 * (crowd % 9), min(situation.steps, 5 - watch.steps % 5))

    def rest(self):
        pass


def made(name, **changes):
    """A built-in governor, for users who were promised something that clocks decide."""
    setting = Setting(
        SHARED.gpu,
        {phase: SHARED.curves_of("tiny", phase) for phase in Phase},
        {Phase.PREFILL: Work.prefill([1.0], [60.0]), Phase.DECODE: Work.decode([3.0], [80.0])},
        0.1,
        **{
            "ttft_s": 0.03,
            "tpot_s": 0.0035,
            "switch_latency_s": 0.001,
            "decode_steps": 25.0,
            "mixes": True,
            "idle_power_w": 50.0,
        }
        | changes,
    )
    return make_governor(name, setting)


GOVERNORS = (
    Curious(),
    made("slo-aware"),
    made("slo-aware", switch_latency_s=0.0),
    made("slo-aware", tpot_s=None),
    made("feedback"),
    made("greenllm"),
    made("voltana"),
    made("fleet-cap:460"),
    made("fleet-cap:650"),
    made("oracle"),
    made("race-to-idle"),
    made("phase-aware-amortised"),
    made("composition-aware"),
    PhaseClocks("max-frequency", dict.fromkeys(Phase, INF)),
    PhaseClocks("fixed", dict.fromkeys(Phase, 1200.0), idle_mhz=1200.0),
    PhaseClocks("cap", dict.fromkeys(Phase, INF), cap_w=200.0),
    PhaseClocks("phases", {Phase.PREFILL: 1700.0, Phase.DECODE: 800.0}, idle_mhz=1700.0),
    PhaseClocks("lazy", {Phase.PREFILL: 1700.0, Phase.DECODE: 800.0}),
    ByWork(),
)


@st.composite
def runs(draw):
    """Random small traces, with few blocks and small budgets as often as not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = int(rng.integers(1, 14))
    mean_gap_s = draw(st.sampled_from([0.002, 0.02, 0.2]))
    arrivals = np.cumsum(rng.exponential(mean_gap_s, n) * rng.integers(0, 2, n))
    prompts, outputs = rng.integers(1, 120, n), rng.integers(0, 50, n)
    limits = draw(
        st.sampled_from(
            [
                Limits(UNLIMITED, 3, UNLIMITED, refills=False),
                Limits(UNLIMITED, 1, UNLIMITED, refills=False),
                Limits(8192, 1024, UNLIMITED, refills=True),
                Limits(64, 64, UNLIMITED, refills=True),
                Limits(50, 4, 40, refills=True),
                Limits(200, 8, 9, refills=True),
                Limits(16, 8, 11, refills=True),
                Limits(4, 4, 14, refills=True),
            ]
        )
    )
    fleet = Fleet(
        replicas=draw(st.integers(1, 3)),
        routing=draw(st.sampled_from(Routing)),
        idle_power_w=float(rng.uniform(0, 100)),
        idle_mhz=None,
        switch_latency_s=draw(st.sampled_from([0.0, 0.001, 0.02])),
        min_dwell_s=draw(st.sampled_from([0.0, 0.0, 0.01, 0.1])),
        queue_limit=draw(st.integers(1, 4)),
    )
    return arrivals, prompts, outputs, limits, fleet


def both(
    run, calibration, governor, first_tokens=None, priority=None, sharing=None, priced_apart=True
):
    arrivals, prompts, outputs, limits, fleet = run
    fleet = Fleet(**(vars(fleet) | {"idle_mhz": governor.idle_mhz}))
    prefill, decode = (calibration.curves_of("tiny", phase) for phase in Phase)
    fast = AffinePrices(prefill, decode, calibration.gpu, governor.cap_w)
    slow = CurvePrices(
        prefill, decode, calibration.gpu, governor.cap_w, mixed_curves(prefill, decode)
    )

    crew = None
    if isinstance(governor, Oracle):
        # A thousand prices for each step: by the curves as they are, that takes long.
        fast = slow = governor.reprice(fast)
    if isinstance(governor, Looking):
        crew = governor.crew(fleet.replicas, fleet.idle_power_w)
    by = slow if priced_apart else fast

    def price(counts, clock, cap):
        prices = by if cap is None else by.capped(cap)
        return tuple(float(column[0]) for column in prices.price(Step(*counts), 1, clock))

    def clock_for(counts):
        step = Step(*counts)
        return float(governor.request_mhz(step.phase, step.work(1))[0])

    prefixes, contents = (None, None) if sharing is None else shared_prompts(sharing, prompts)
    replayed = replay_batched(
        *(arrivals, Lengths(prompts, outputs, priority, prefixes), fast, governor, limits, fleet),
        first_token_s=first_tokens,
        tokens=True,
    )
    return replayed, serve_slowly(
        *(arrivals.tolist(), prompts.tolist(), outputs.tolist(), limits, fleet),
        *(price, clock_for, lambda counts, clock: slow.prefill_time_share(Step(*counts), clock)),
        None if first_tokens is None else first_tokens.tolist(),
        None if priority is None else priority.tolist(),
        contents,
        crew,
    )


def tied(engines, arrivals):
    """Whether two replicas do something at one moment, other than to take what arrives."""
    moments = [np.setdiff1d([entry[1] for entry in each.diary], arrivals) for each in engines]
    return bool(np.any(np.diff(np.sort(np.concatenate(moments))) < EXACT))


def assert_agreement(run, calibration, governor):
    replayed, slow = both(run, calibration, governor)
    # Where replicas share a limit, nobody promises which of two asks first at one moment.
    assume(not (getattr(governor, "coupled", False) and tied(slow[1], run[0])))
    assert_the_same(replayed, slow, run[3])


def assert_the_same(replayed, slow, limits, prefilled=False):
    requests, engines, end = slow
    nan = float("nan")
    assert replayed.replica.tolist() == [r.row["replica"] for r in requests]
    assert replayed.rejected.tolist() == ["finish" not in r.row for r in requests]
    for column, name, absent in (
        (replayed.start_s, "start", nan),
        (replayed.first_token_s, "first_token", nan),
        (replayed.finish_s, "finish", nan),
        (replayed.prefill_j, "prefill_j", 0.0),
        (replayed.decode_j, "decode_j", 0.0),
        (replayed.switching_j, "switching_j", 0.0),
    ):
        expected = [r.row.get(name, absent) for r in requests]
        assert column.tolist() == pytest.approx(expected, rel=EXACT, abs=EXACT, nan_ok=True), name
    assert replayed.end_s == pytest.approx(end, rel=EXACT)
    batches = replayed.batches
    assert batches.steps == sum(e[0] >= State.PREFILL for g in engines for e in g.diary)
    assert batches.preemptions == sum(engine.preemptions for engine in engines)
    assert limits.kv_blocks - batches.kv_blocks_peak == min(e.least_free for e in engines)
    assert batches.kv_blocks_left == 0
    assert batches.recomputed_tokens == sum(engine.recomputed for engine in engines)
    assert replayed.found_tokens.tolist() == [r.found for r in requests]
    made = [(r.number, token, s) for r in requests for token, s in enumerate(r.tokens_at)]
    if prefilled:
        # First tokens were made elsewhere.
        made = [(number, token - 1, s) for number, token, s in made if token]
    tokens = replayed.tokens
    assert tokens.request.tolist() == [number for number, _, _ in made]
    assert tokens.number.tolist() == [token for _, token, _ in made]
    assert tokens.time_s.tolist() == pytest.approx([s for *_, s in made], rel=EXACT, abs=EXACT)
    gaps = [b - a for r in requests for a, b in itertools.pairwise(r.tokens_at)]
    assert np.sort(np.repeat(batches.gap_s, batches.gap_tokens)) == pytest.approx(
        sorted(gaps), rel=EXACT, abs=EXACT
    )
    met = replayed.intervals
    for number, engine in enumerate(engines):
        mine = met.replica == number
        for state in State:
            diary = [entry for entry in engine.diary if entry[0] == state]
            here = mine & (met.state == state)
            assert met.duration_s[here].sum() == pytest.approx(sum(e[2] for e in diary), abs=EXACT)
            assert met.energy_j[here].sum() == pytest.approx(
                sum(e[2] * e[3] for e in diary), rel=EXACT, abs=EXACT
            )
        # A run of equal steps is one interval, which begins where the first of them does.
        begins = np.array([entry[1] for entry in engine.diary])
        for start in met.start_s[mine]:
            assert np.min(np.abs(begins - start)) < EXACT


@settings(max_examples=60, deadline=None)
@given(runs(), st.sampled_from(GOVERNORS))
def test_agreement_where_phases_share_coefficients(run, governor):
    assert_agreement(run, SHARED, governor)


@settings(max_examples=40, deadline=None)
@given(runs(), st.sampled_from(GOVERNORS))
def test_agreement_where_each_phase_has_its_own(run, governor):
    assert_agreement(run, APART, governor)


@settings(max_examples=40, deadline=None)
@given(runs(), st.sampled_from(GOVERNORS), st.integers(0, 2**32))
def test_agreement_where_prompts_arrive_cached(run, governor, seed):
    arrivals, prompts, outputs, limits, fleet = run
    earlier_s = np.random.default_rng(seed).exponential(0.01, arrivals.size)
    run = arrivals, prompts, outputs + 2, limits, fleet
    done = both(run, SHARED, governor, arrivals - earlier_s, priced_apart=False)
    assert_the_same(*done, limits, prefilled=True)


@settings(max_examples=30, deadline=None)
@given(runs(), st.integers(0, 2**32), st.booleans(), st.booleans())
def test_governors_are_shown_what_is_the_case(run, seed, cached, prioritised):
    arrivals, prompts, outputs, limits, fleet = run
    rng = np.random.default_rng(seed)
    first_tokens = arrivals - rng.exponential(0.01, arrivals.size) if cached else None
    priority = rng.integers(-2, 3, arrivals.size) if prioritised else None
    run = arrivals, prompts, outputs + 2, limits, fleet
    governor = Curious()
    replayed, _ = both(run, SHARED, governor, first_tokens, priority, priced_apart=False)
    slow, fast = governor.crews
    assert any(pilot.shown for pilot in fast) == (not replayed.rejected.all())
    for looked, saw in zip(fast, slow, strict=True):
        for made_steps, shown in looked.shown.items():
            steps, *figures = shown
            once, *expected = saw.shown[made_steps]
            assert (once, steps >= 1) == (1, True)
            assert numbers(figures) == pytest.approx(
                numbers(expected), rel=EXACT, abs=EXACT, nan_ok=True
            )


def numbers(figures):
    return [np.nan if figure is None else float(figure) for figure in figures]


SCARCE = runs().filter(lambda run: run[3].kv_blocks < UNLIMITED)
LAZY = GOVERNORS[-2]


@settings(max_examples=40, deadline=None)
@given(SCARCE, st.integers(0, 2**32), st.booleans())
def test_agreement_with_priorities(run, seed, cached):
    arrivals, prompts, outputs, limits, fleet = run
    rng = np.random.default_rng(seed)
    earlier_s = rng.exponential(0.01, arrivals.size)
    run = arrivals, prompts, outputs + 2, limits, fleet
    first_tokens = arrivals - earlier_s if cached else None
    priority = rng.integers(-2, 3, arrivals.size)
    done = both(run, SHARED, LAZY, first_tokens, priority, priced_apart=False)
    assert_the_same(*done, limits, prefilled=cached)


def shared_prompts(rng, prompts):
    """Prompts that begin like one of a few, each as far as it goes, or for which nothing is told.

    As hashes, and as what each of their full blocks holds.
    """
    stems = [list(range(10 * stem, 10 * stem + 10)) for stem in range(3)]
    rows = []
    for number, prompt in enumerate(prompts.tolist()):
        size = -(-prompt // HASH_TOKENS)
        common = stems[rng.integers(3)][: int(rng.integers(0, size + 1))]
        unique = [1000 + 10 * number + place for place in range(size - len(common))]
        rows.append(None if rng.random() < 0.1 else common + unique)
    contents = [
        [(h, part) for h in row or [] for part in range(HASH_TOKENS // 16)][: prompt // 16]
        for row, prompt in zip(rows, prompts.tolist(), strict=True)
    ]
    return Prefixes.of(pa.array(rows, pa.list_(pa.int64())), HASH_TOKENS), contents


@settings(max_examples=40, deadline=None)
@given(SCARCE, st.integers(0, 2**32), st.booleans())
def test_agreement_where_prompts_share_what_they_begin_with(run, seed, prioritised):
    rng = np.random.default_rng(seed)
    priority = rng.integers(0, 3, run[1].size) if prioritised else None
    done = both(run, SHARED, LAZY, priority=priority, sharing=rng, priced_apart=False)
    assert_the_same(*done, run[3])
