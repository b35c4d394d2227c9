"""The ways in which a fleet serves: queries one at a time, in batches, or in two pools.

In: curves, a governor, lengths. Out: values that know how many replicas keep up; a replay of one or
several of them as the groups of a fleet.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.curves import Curves
from model.gpu import Gpu
from model.pricing import StepPrices
from model.step_prices import prices_of
from model.work import Array, Phase
from phasewatt.errors import BadOption
from policies import Governor, Looking, PhaseClocks, governor_of
from policies.fleet_cap import FleetCap
from policies.oracle import Oracle
from simulate.batching import UNLIMITED, Disaggregated, Limits, limits_of
from simulate.engine import BatchEngine
from simulate.fleet import Fleet, fewest_replicas, smallest_stable
from simulate.occupancy import busy_s
from simulate.pools import Pools, RanPools, run_pools
from simulate.replay import Group, Ran, run
from simulate.replica import AloneEngine, OffClock
from simulate.scenario import TARGET_UTILISATION
from simulate.service import Lengths, PhaseCost, Service, phase_alone, serve_alone

_COLUMNS_AT_MOST = 16
"""Clocks at which all queries are priced at once, as soon as a dwell forces one of them to run at
it; a policy that asks for more clocks than that has the others priced query by query."""

_ONE_AT_A_TIME = Limits(UNLIMITED, 1, UNLIMITED, refills=False)

PhaseCurves = Mapping[Phase, Curves]


@dataclass(frozen=True)
class Queries:
    """A trace's columns as the simulator reads them; offline, all arrivals are at 0 s.

    ``may`` says which groups of the fleet may serve each query, at least one of them, shape
    (n, groups); None: any. ``tokens`` asks for the time of every token, which engines that batch
    know.
    """

    arrival_s: Array
    lengths: Lengths
    may: NDArray[np.bool_] | None = None
    tokens: bool = False


class Serving(Protocol):
    """How queries are served under one policy, whatever the fleet."""

    def fewest_replicas(self, queries: Queries, switch_s: float) -> int:
        """Return the fewest replicas that keep up."""
        ...

    def on(self, queries: Queries, fleet: Fleet) -> Group | Pools:
        """Return ``fleet`` as the replicas that serve ``queries`` so."""
        ...


@dataclass(frozen=True)
class ServingAlone:
    """One query at a time: ``service`` is what each costs."""

    service: Service
    curves: PhaseCurves
    gpu: Gpu
    governor: Governor

    @staticmethod
    def of(lengths: Lengths, curves: PhaseCurves, gpu: Gpu, governor: Governor) -> "ServingAlone":
        """Price every query of ``lengths``.

        Raises:
            OutOfRange: a clock or batch 1 lies outside the calibrated domain.
        """
        return ServingAlone(serve_alone(lengths, curves, gpu, governor), curves, gpu, governor)

    def fewest_replicas(self, queries: Queries, switch_s: float) -> int:
        """Return the fewest replicas that keep up."""
        return smallest_stable(queries.arrival_s, self.service, switch_s, TARGET_UTILISATION)

    def on(self, queries: Queries, fleet: Fleet) -> Group:
        """Return ``fleet`` as the replicas that serve ``queries`` so."""
        return Group(fleet, AloneEngine(self.service, self._off_clock(queries)))

    def _off_clock(self, queries: Queries) -> OffClock:
        columns: dict[tuple[Phase, float], PhaseCost] = {}

        def served_at(lengths: Lengths, phase: Phase, mhz: float) -> PhaseCost:
            forced = PhaseClocks("dwell", dict.fromkeys(Phase, mhz), cap_w=self.governor.cap_w)
            return phase_alone(phase, lengths, self.curves[phase], self.gpu, forced)

        def cost(query: int, phase: Phase, mhz: float) -> tuple[float, float, float]:
            found, row = columns.get((phase, mhz)), query
            if found is None and len(columns) < _COLUMNS_AT_MOST:
                found = columns[phase, mhz] = served_at(queries.lengths, phase, mhz)
            elif found is None:
                found, row = served_at(queries.lengths.only(query), phase, mhz), 0
            return float(found.time_s[row]), float(found.power_w[row]), float(found.sm_mhz[row])

        return cost


@dataclass(frozen=True)
class ServingStepwise:
    """One query at a time, step by step, for governors that look or choose step by step.

    ``service`` is what each costs where the fleet is pressed.
    """

    service: Service
    batches: "ServingBatches"

    @staticmethod
    def of(
        lengths: Lengths, curves: PhaseCurves, gpu: Gpu, governor: Governor
    ) -> "ServingStepwise":
        """Price every query of ``lengths`` as it would be where many wait.

        Raises:
            OutOfRange: a clock or batch 1 lies outside the calibrated domain.
        """
        service = serve_alone(lengths, curves, gpu, _pressed(governor))
        return ServingStepwise(service, ServingBatches.of(curves, gpu, governor, _ONE_AT_A_TIME))

    def fewest_replicas(self, queries: Queries, switch_s: float) -> int:
        """Return the fewest replicas that keep up."""
        return smallest_stable(queries.arrival_s, self.service, switch_s, TARGET_UTILISATION)

    def on(self, queries: Queries, fleet: Fleet) -> Group:
        """Return ``fleet`` as the replicas that serve ``queries`` so."""
        return self.batches.on(queries, fleet)


@dataclass(frozen=True)
class ServingBatches:
    """Batches within ``limits``, whose steps cost ``prices``."""

    prices: StepPrices
    limits: Limits
    decode: Curves
    governor: Governor

    @staticmethod
    def of(curves: PhaseCurves, gpu: Gpu, governor: Governor, limits: Limits) -> "ServingBatches":
        """Price steps by ``curves``.

        Raises:
            BadCalibration: the curves cannot price mixed steps, and ``limits`` let steps mix.
            OutOfRange: the batches lie outside the calibrated domain.
        """
        prices = step_prices(curves, gpu, governor.cap_w, limits)
        if isinstance(governor, Oracle):
            prices = governor.reprice(prices)
        return ServingBatches(prices, limits, curves[Phase.DECODE], governor)

    def fewest_replicas(self, queries: Queries, switch_s: float) -> int:
        """Return the fewest replicas that keep up; steps that mix phases hardly ever switch."""
        del switch_s
        pressed = _pressed(self.governor)
        seconds = busy_s(queries.lengths, self.limits, self.decode, self.prices, pressed)
        return fewest_replicas(queries.arrival_s, seconds, TARGET_UTILISATION)

    def on(self, queries: Queries, fleet: Fleet) -> Group:
        """Return ``fleet`` as the replicas that serve ``queries`` so."""
        return Group(fleet, self.engine(queries))

    def engine(self, queries: Queries) -> BatchEngine:
        """Return what serves ``queries`` so."""
        at_once = max(1, int(min(self.limits.sequences, self.decode.domain.batch[1])))
        return BatchEngine(queries.lengths, self.prices, self.governor, self.limits, at_once)


@dataclass(frozen=True)
class ServingPools:
    """Two pools as ``batching`` says, of replicas that prefill and replicas that decode.

    ``token_bytes`` is the KV cache of one token, ``decode_idle_mhz`` what decoding replicas ask
    for when they fall idle.
    """

    prefilling: ServingBatches
    decoding: ServingBatches
    batching: Disaggregated
    token_bytes: float
    decode_idle_mhz: float | None

    @staticmethod
    def of(
        curves: PhaseCurves,
        gpu: Gpu,
        governor: Governor,
        batching: Disaggregated,
        token_bytes: float,
        decode_idle_mhz: float | None,
    ) -> "ServingPools":
        """Price the steps of each pool under its own governor.

        Raises:
            BadCalibration: the curves cannot price mixed steps.
            OutOfRange: batches of one were not calibrated.
        """
        sizes = {
            Phase.PREFILL: batching.prefill_replicas,
            Phase.DECODE: batching.decode_replicas,
        }
        pools = {}
        for phase in Phase:
            mine = governor_of(governor, phase)
            if isinstance(mine, FleetCap) and mine is governor:
                mine = mine.part(sizes[phase] / sum(sizes.values()))
            pools[phase] = ServingBatches.of(curves, gpu, mine, limits_of(batching))
        return ServingPools(
            *(pools[Phase.PREFILL], pools[Phase.DECODE]), batching, token_bytes, decode_idle_mhz
        )

    def fewest_replicas(self, queries: Queries, switch_s: float) -> int:
        """Return the replicas of both pools: how many is said, not found."""
        del queries, switch_s
        return self.batching.prefill_replicas + self.batching.decode_replicas

    def on(self, queries: Queries, fleet: Fleet) -> Pools:
        """Return ``fleet`` as the replicas that serve ``queries`` so; its last ones decode."""
        decoding = self.batching.decode_replicas
        return Pools(
            replace(fleet, replicas=fleet.replicas - decoding),
            replace(
                fleet,
                replicas=decoding,
                idle_mhz=self.decode_idle_mhz,
                faults=fleet.faults and replace(fleet.faults, stream=fleet.faults.stream + 1),
            ),
            self.prefilling.engine(queries),
            self.decoding.engine(queries),
            self.token_bytes,
            1e9 * self.batching.link_gb_per_s,
        )


def run_on(
    parts: Sequence[Group | Pools], queries: Queries, advance: Callable[[int], None]
) -> Ran | RanPools:
    """Run ``queries`` on the groups of a fleet: all of them pools, or none.

    Raises:
        BadOption: not one request fits the KV cache.
    """
    groups = [part for part in parts if isinstance(part, Group)]
    pools = [part for part in parts if isinstance(part, Pools)]
    engines = [*(group.engine for group in groups), *(each.decoding for each in pools)]
    if not any(engine.fits().any() for engine in engines):
        blocks = max(e.limits.kv_blocks for e in engines if isinstance(e, BatchEngine))
        raise BadOption(
            f"--kv-blocks: found {blocks}, which no request of the trace fits: expected more"
        )
    if pools:
        return run_pools(
            *(queries.arrival_s, queries.lengths, pools, advance, queries.may, queries.tokens)
        )
    return run(
        *(queries.arrival_s, queries.lengths, groups, advance, queries.may),
        tokens=queries.tokens,
    )


def step_prices(curves: PhaseCurves, gpu: Gpu, cap_w: float | None, limits: Limits) -> StepPrices:
    """Return what prices the steps of batches within ``limits``.

    Raises:
        BadCalibration: the curves cannot price mixed steps, and ``limits`` let steps mix.
        OutOfRange: batches of one, or of as many as never refill, were not calibrated.
    """
    prefill, decode = curves[Phase.PREFILL], curves[Phase.DECODE]
    prices = prices_of(prefill, decode, gpu, cap_w, mixes=limits.refills)
    for each in (prefill, decode):
        each.require_batch(1)
        if not limits.refills:
            each.require_batch(limits.sequences)
    return prices


def is_stepwise(governor: Governor) -> bool:
    """Whether ``governor`` must be served step by step, even one query at a time."""
    return isinstance(governor, Looking | Oracle)


def _pressed(governor: Governor) -> Governor:
    return governor.pressed if isinstance(governor, Looking) else governor
