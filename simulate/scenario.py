"""Everything that decides a comparison, apart from the trace and the calibration themselves.

In: what the command line says. Out: one frozen value that results embed.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from model.tensor_parallel import Links
from simulate.batching import Alone, Batching
from simulate.breakdown import By
from simulate.costs.costs import Costs
from simulate.fleet import Faults, Routing, Scaling, Sleep
from simulate.metrics import Slo
from simulate.order import Order
from simulate.prefix_cache import HASH_TOKENS
from simulate.warmup import WarmUp

SWITCH_LATENCY_S = 0.02
"""Assumed. It differs between GPUs and between pairs of clocks; Velicka et al., arXiv 2502.20075,
describe how to measure it."""

TARGET_UTILISATION = 0.9
"""What ``--replicas auto`` sizes for: stable, with a tenth of headroom."""


class Arrivals(StrEnum):
    """When queries arrive."""

    TRACE = "trace"
    OFFLINE = "offline"


@dataclass(frozen=True)
class Scenario:
    """How to replay.

    Attributes:
        policies: as written after ``--policy``.
        baseline: the policy that savings are counted against.
        model: model of the calibration; None takes its first.
        engine: engine of the calibration; None takes the model's first.
        groups: as written after ``--group``; none: one, of ``model`` in ``engine``.
        replicas: fleet size; None finds the smallest stable one for the slowest policy.
        routing: how queries reach replicas.
        tensor_parallel: GPUs of each replica.
        links: what joins them.
        queue_limit: queries that power-aware routing lets a replica have; None: as many as it
            serves together.
        sleep: when idle replicas fall asleep; None: never.
        scaling: how replicas are started and stopped, ``replicas`` at most; None: all are on.
        faults: how replicas break; None: never.
        arrivals: when queries arrive: as in the trace, or all at once.
        batching: which requests a replica serves together.
        order: who of those that wait is served first.
        prefix_cache: whether prompts find what others have cached; None: where the trace tells.
        hash_tokens: tokens that each block hash of the trace tells of.
        switch_latency_s: stall for each change of a requested clock.
        min_dwell_s: how long a clock is kept at least.
        idle_power_w: overrides the calibration's idle power; then labelled assumed.
        max_slowdown: what phase-aware may cost each phase, as a fraction of its time.
        beyond_measured: whether policies may use clocks below the measured ones, where curves are
            transferred from public GPUs.
        slo: objectives to report attainment of.
        warm_up: what of the begin of the run is left out of all figures.
        by: what the run is broken down by.
        token_times: whether the time of every token is kept.
        quality_from: a table of outcomes to join with the trace; None: those of the trace.
        quality_of: as written after ``--quality-of``: whose outcomes stand for a model's.
        predictor: a file or a shipped name: what predicts quality from text.
        costs: what energy and hardware are worth; None: nobody said.
        draws: how often the curves' coefficients are drawn from their covariance.
        seed: seed of those draws.
    """

    policies: tuple[str, ...]
    baseline: str = "max-frequency"
    model: str | None = None
    engine: str | None = None
    groups: tuple[str, ...] = ()
    replicas: int | None = None
    routing: Routing = Routing.LEAST_OUTSTANDING
    tensor_parallel: int = 1
    links: Links = field(default_factory=Links)
    queue_limit: int | None = None
    sleep: Sleep | None = None
    scaling: Scaling | None = None
    faults: Faults | None = None
    arrivals: Arrivals = Arrivals.TRACE
    batching: Batching = field(default_factory=Alone)
    order: Order = Order.FCFS
    prefix_cache: bool | None = None
    hash_tokens: int = HASH_TOKENS
    switch_latency_s: float = SWITCH_LATENCY_S
    min_dwell_s: float = 0.0
    idle_power_w: float | None = None
    max_slowdown: float = 0.1
    beyond_measured: bool = False
    slo: Slo | None = None
    warm_up: WarmUp = field(default_factory=WarmUp)
    by: tuple[By, ...] = ()
    token_times: bool = False
    quality_from: str | None = None
    quality_of: tuple[str, ...] = ()
    predictor: str | None = None
    costs: Costs | None = None
    draws: int = 20
    seed: int = 0
