"""What no schedule can beat: lower bounds of latency, of replicas, of energy, from the curves.

In: a policy made ready for some queries. Out: :class:`Floor`. True bounds, for pruning, as far as
the curves have the shapes that their forms give them: a step takes longer the more it does and the
lower its clock; its time is convex in what it does, and so is least where the work is spread evenly
over the fewest steps that the limits allow.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from model.curves import Curves
from model.mixed import MixedCurves, mixed_curves
from model.shape import Activity
from model.work import Array, Phase, Work
from policies import parse_policy
from policies.governor import UNLOCKED_MHZ, PhaseClocks, requested_mhz
from simulate.batching import (
    BLOCK_TOKENS,
    UNLIMITED,
    Alone,
    Continuous,
    Disaggregated,
    Limits,
    limits_of,
)
from simulate.plan.goals import Figure, LatencyGoal, exempt
from simulate.prepare import Prepared, idle_power_w
from simulate.scenario import Scenario
from simulate.service import Lengths, serve_alone
from simulate.serving import Queries

_STEPS = np.geomspace(1, 1e3, 25)
"""How many times the fewest steps are tried, where fewer larger steps would not be the cheapest."""

_WHATEVER_THE_FLEET = ("max-frequency", "race-to-idle", "fixed", "power-cap")
"""Governors whose clocks do not depend on how many replicas share the load."""

_NO_CAP_W = 1e9

_HALVINGS = 40
_GOLDEN = (np.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Floor:
    """What queries come to at least, however they are scheduled.

    Attributes:
        ttft_s: of each query that meets nobody: its prefill, shape (n,).
        tpot_s: its mean decode step alone, shape (n,); NaN where it has none.
        e2e_s: its whole service, shape (n,).
        busy_s: seconds of replicas that all of them take.
        joules: what they draw beyond ``standing_w``, which every replica draws at all times.
        standing_w: that power.
    """

    ttft_s: Array
    tpot_s: Array
    e2e_s: Array
    busy_s: float
    joules: float
    standing_w: float

    def percentile_s(self, figure: Figure) -> float:
        """Return what ``figure`` is at least."""
        values_s = getattr(self, f"{figure.latency}_s")
        known = values_s[~np.isnan(values_s)]
        return float(np.percentile(known, figure.percentile)) if known.size else 0.0

    def energy_j(self, replicas: int, seconds: float) -> float:
        """Return what ``replicas`` draw at least in ``seconds`` or more."""
        return self.joules + self.standing_w * replicas * seconds


def floor_of(ready: Prepared, scenario: Scenario, queries: Queries) -> Floor:
    """Return what ``queries`` come to at least under ``ready``.

    Raises:
        OutOfRange: a step draws more than the power limit at the lowest calibrated clock.
        BadOption: nobody knows the GPU's idle power.
    """
    clocks = _clocks(ready, scenario)
    lengths = _computed(queries.lengths)
    exact = isinstance(ready.batching, Alone) and clocks.exact
    # Where steps are shared, a larger one may draw less, and so hold a higher clock than one alone.
    cap_w = ready.governor.cap_w if exact else _NO_CAP_W
    fastest = PhaseClocks("fastest", clocks.highest_mhz, cap_w=cap_w)
    service = serve_alone(lengths, ready.curves, ready.gpu, fastest)
    prefill_s, decode_s = (service[phase].time_s for phase in Phase)
    steps = lengths.decode_steps
    if not isinstance(ready.batching, Alone) and _walks(ready.curves[Phase.DECODE]):
        step = Work.decode([1.0], [0.0])
        mhz = min(clocks.highest_mhz[Phase.DECODE], ready.curves[Phase.DECODE].domain.sm_mhz[1])
        decode_s = steps * ready.curves[Phase.DECODE].time_s(step, mhz)
    rests = scenario.sleep is None and scenario.scaling is None and scenario.faults is None
    idle_w = idle_power_w(ready.gpu, scenario) if rests else 0.0
    if exact:
        each_s = prefill_s + decode_s
        power_w = np.concatenate([service[phase].power_w[each_s > 0] for phase in Phase])
        standing_w = min(idle_w, float(power_w[power_w > 0].min(initial=np.inf)))
        joules = sum(
            float((service[p].time_s * (service[p].power_w - standing_w)).sum()) for p in Phase
        )
        busy_s = float(each_s.sum())
    else:
        work = Line.of(ready, clocks)
        busy_s = work.busy_s(lengths, 0)
        joules, standing_w = work.joules(lengths, idle_w, busy_s)
    return Floor(
        prefill_s,
        np.where(steps > 0, decode_s / np.maximum(steps, 1), np.nan),
        prefill_s + decode_s,
        busy_s,
        joules,
        standing_w,
    )


def fewest_replicas(
    ready: Prepared, scenario: Scenario, queries: Queries, goals: tuple[LatencyGoal, ...]
) -> int:
    """Return how many replicas are needed at least for all but the exempt to be served in time.

    Whoever is not exempt has its first token, or all of them, before the last arrival and its
    limit, and until then replicas have no more than their number times that span.
    """
    limits = {goal.figure.latency: goal for goal in goals}
    lengths, size = _computed(queries.lengths), queries.arrival_s.size
    dropped = sum(exempt(size, goal.figure.percentile) for goal in goals)
    if dropped >= size:
        return 1
    most_steps = float(np.sort(lengths.decode_steps)[size - dropped - 1])
    if "e2e" in limits:
        late_s, whole = limits["e2e"].limit_s, True
    elif "ttft" in limits and "tpot" in limits:
        late_s = limits["ttft"].limit_s + most_steps * limits["tpot"].limit_s
        whole = True
    elif "ttft" in limits:
        late_s, whole = limits["ttft"].limit_s, False
    else:
        return 1
    if not whole:
        lengths = Lengths(lengths.prompt_tokens, np.minimum(lengths.output_tokens, 1))
    clocks = _clocks(ready, scenario)
    busy_s = Line.of(ready, clocks).busy_s(lengths, dropped)
    span_s = float(queries.arrival_s[-1] - queries.arrival_s[0]) + late_s
    return max(1, int(np.ceil(busy_s / span_s - 1e-9)))


@dataclass(frozen=True)
class _Clocks:
    """The clocks that hold at most and at least; ``exact``: those that are asked for, no others."""

    highest_mhz: dict[Phase, float]
    lowest_mhz: dict[Phase, float]
    exact: bool


def _clocks(ready: Prepared, scenario: Scenario) -> _Clocks:
    curves, governor = ready.curves, ready.governor
    bottom = {phase: curves[phase].domain.sm_mhz[0] for phase in Phase}
    # In batches, the clocks that others choose depend on how many replicas there are.
    name = parse_policy(ready.policy).governor.partition(":")[0]
    settled = isinstance(ready.batching, Alone) or name in _WHATEVER_THE_FLEET
    # Only these ask for the same clocks whatever comes, and only without a dwell do they get them.
    if not (isinstance(governor, PhaseClocks) and settled) or scenario.min_dwell_s > 0:
        return _Clocks(dict.fromkeys(Phase, UNLOCKED_MHZ), bottom, False)
    asked = {p: float(requested_mhz(governor, p, ready.setting.typical[p])[0]) for p in Phase}
    lowest = {
        # A step that reaches the power limit holds a lower clock than asked for.
        phase: min(asked[phase], curves[phase].domain.sm_mhz[1])
        if _never_capped(ready, phase, asked[phase])
        else bottom[phase]
        for phase in Phase
    }
    if isinstance(ready.batching, Continuous | Disaggregated):
        # Decodes have prefill's clock in steps of both.
        both = max(*asked.values(), *(bottom.values() if len(set(bottom.values())) > 1 else ()))
        highest = {phase: min(both, curves[phase].domain.sm_mhz[1]) for phase in Phase}
        return _Clocks(highest, dict.fromkeys(Phase, min(lowest.values())), True)
    return _Clocks(asked, lowest, True)


def _never_capped(ready: Prepared, phase: Phase, asked_mhz: float) -> bool:
    """Whether no step of a wide grid draws as much as the power limit at ``asked_mhz``."""
    curves = ready.curves[phase]
    mhz = min(asked_mhz, curves.domain.sm_mhz[1])
    sizes = np.unique(np.geomspace(1, 1 << 14, 15).round())
    work = (
        Work.prefill(1.0, sizes)
        if phase is Phase.PREFILL
        else Work.decode(sizes[sizes <= 1 << 11][:, None], sizes[None, :])
    )
    limit_w = ready.gpu.limit_w(curves, ready.governor.cap_w)
    return bool(np.all(curves.power_w(work, mhz) <= limit_w))


@dataclass(frozen=True)
class Line:
    """Steps of the largest sizes that the limits allow, which do all the work of some queries."""

    curves: dict[Phase, Curves]
    together: Curves | MixedCurves
    limits: Limits
    mixes: bool
    clocks: _Clocks

    @staticmethod
    def of(ready: Prepared, clocks: _Clocks) -> "Line":
        """Return the steps of ``ready``; one query at a time has steps of one."""
        batching = ready.batching
        limits = (
            Limits(UNLIMITED, 1, UNLIMITED, refills=False)
            if isinstance(batching, Alone)
            else limits_of(batching)
        )
        together: Curves | MixedCurves = ready.curves[Phase.PREFILL]
        if limits.refills:
            together = mixed_curves(ready.curves[Phase.PREFILL], ready.curves[Phase.DECODE])
        return Line(dict(ready.curves), together, limits, limits.refills, clocks)

    def busy_s(self, lengths: Lengths, dropped: int) -> float:
        """Return the seconds of replicas that all but ``dropped`` queries take at least.

        Of each kind of work, the most demanding are dropped. Some of the decode shares steps with
        prompts and the rest has steps of its own: how much, is chosen as the cheapest.
        """
        prompts, decodes = self._totals(lengths, dropped)
        mhz = self.clocks.highest_mhz

        def prefill_s(part: Work) -> float:
            return _least(lambda w: self._time_s(self.together, w, mhz[Phase.PREFILL]), part, self)

        def decode_s(part: Work) -> float:
            curves = self.curves[Phase.DECODE]
            return _least(lambda w: self._time_s(curves, w, mhz[Phase.DECODE]), part, self)

        if not self.mixes:
            return prefill_s(prompts) + decode_s(decodes)
        return _lowest(
            lambda share: (
                prefill_s(_sum(prompts, _times(decodes, 1 - share)))
                + decode_s(_times(decodes, share))
            )
        )

    def joules(self, lengths: Lengths, idle_w: float, busy_s: float) -> tuple[float, float]:
        """Return the least joules of all queries beyond a standing power, and that power in W.

        Power is a static part and parts for busy memory and compute, whose seconds at the highest
        clock are in proportion to the work, and more at lower clocks; a step's power falls with
        the clock, so that of the lowest one counts. Of curves whose power does not know the step,
        all of it is static.
        """
        powers = {p: self._powers(p) for p in Phase}
        static_w = min(each[0] for each in powers.values())
        memory_w = min(each[1] for each in powers.values())
        compute_w = min(each[2] for each in powers.values())
        joules = 0.0
        for phase, whole in zip(Phase, self._totals(lengths, 0), strict=True):
            mine = (memory_w, compute_w) if self.mixes else powers[phase][1:]
            memory_s, compute_s = self._busy_parts(phase, whole)
            joules += mine[0] * memory_s + mine[1] * compute_s
        return joules + max(static_w - idle_w, 0.0) * busy_s, min(static_w, idle_w)

    def _totals(self, lengths: Lengths, dropped: int) -> tuple[Work, Work]:
        prompts, decodes = _totals(lengths, dropped)
        if self.limits.sequences > 1 and _walks(self.curves[Phase.DECODE]):
            decodes = replace(decodes, context_tokens=np.zeros(()))
        return prompts, decodes

    def _powers(self, phase: Phase) -> tuple[float, float, float]:
        """Return W of a step that keeps nothing busy, and what busy memory and compute add."""
        curves, mhz = self.curves[phase], self.clocks.lowest_mhz[phase]
        step = Work.prefill([1.0], [1.0]) if phase is Phase.PREFILL else Work.decode([1.0], [1.0])
        if not curves.power.definition.needs_activity:
            if curves.power.definition.varies_with_work:
                return 0.0, 0.0, 0.0
            return float(np.ravel(curves.power_w(step, mhz))[0]), 0.0, 0.0
        none, one = np.zeros(1), np.ones(1)
        at_rest, memory, compute = (
            float(np.ravel(curves.power_by(step, Activity(*busy))(mhz))[0])
            for busy in ((none, none), (one, none), (none, one))
        )
        return at_rest, memory - at_rest, compute - at_rest

    def _busy_parts(self, phase: Phase, whole: Work) -> tuple[float, float]:
        """Return the seconds at the highest clock that ``whole`` keeps memory and compute busy."""
        curves = self.curves[phase]
        reference_mhz = np.full(1, curves.power.reference_mhz)
        whole, nothing = (
            Work(*(np.reshape(getattr(w, f.name), 1) for f in fields(Work)))
            for w in (whole, _times(whole, 0.0))
        )
        spent, idle = (curves.parts(work, reference_mhz) for work in (whole, nothing))
        if spent is None or idle is None or not curves.power.definition.needs_activity:
            return 0.0, 0.0
        memory_s = spent.memory_s + spent.stream_s - idle.memory_s - idle.stream_s
        return float(memory_s[0]), float((spent.compute_s - idle.compute_s)[0])

    def _time_s(self, curves: Curves | MixedCurves, work: Work, mhz: float) -> Array:
        low, high = curves.domain.sm_mhz
        return curves.time_s(work, min(max(mhz, low), high))


def _computed(lengths: Lengths) -> Lengths:
    """Return ``lengths`` as they are computed at least: one token of prompts that may be cached."""
    if lengths.prefixes is None:
        return Lengths(lengths.prompt_tokens, lengths.output_tokens)
    return Lengths(np.ones_like(lengths.prompt_tokens), lengths.output_tokens)


def _walks(curves: Curves) -> bool:
    """Whether a step waits for the mean context of its sequences, which a larger one may shorten.

    What contexts take then does not count.
    """
    return any(each.name == "walked_tokens_per_s" for each in curves.time.definition.coefficients)


def _totals(lengths: Lengths, dropped: int) -> tuple[Work, Work]:
    """Return all prefill work and all decode work, without the ``dropped`` largest of each count.

    Both of shape ().
    """
    prompts = lengths.prompt_tokens.astype(np.float64)
    steps = lengths.decode_steps.astype(np.float64)
    kept = prompts.size - dropped

    def total(each: Array) -> Array:
        return np.asarray(np.sort(each)[:kept].sum())

    none = np.zeros(())
    return (
        Work(
            np.asarray(float(kept)), total(prompts), total(prompts * (prompts + 1) / 2), none, none
        ),
        Work(none, none, none, total(steps), total(steps * prompts + steps * (steps + 1) / 2)),
    )


def _least(cost: Callable[[Work], Array], whole: Work, line: Line) -> float:
    """Return the least of ``cost`` over steps within the limits that do ``whole`` together."""
    limits = line.limits
    tokens = float(whole.prefill_tokens + whole.decode_batch)
    if tokens == 0:
        return 0.0
    sequences = whole.decode_batch if line.mixes else whole.decode_batch + whole.prefill_batch
    fewest = max(
        tokens / limits.batched_tokens,
        float(sequences) / limits.sequences,
        float(whole.context_tokens) / (limits.kv_blocks * BLOCK_TOKENS),
        1e-9,
    )
    steps = fewest * _STEPS
    return float((steps * cost(_times(whole, 1 / steps))).min())


def _lowest(cost: Callable[[float], float]) -> float:
    """Return the least of a convex function of a share, by golden sections."""
    low, high = 0.0, 1.0
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    values = [cost(each) for each in inner]
    best = min(cost(0.0), cost(1.0), *values)
    for _ in range(_HALVINGS):
        if values[0] < values[1]:
            high, inner[1], values[1] = inner[1], inner[0], values[0]
            inner[0] = high - _GOLDEN * (high - low)
            values[0] = cost(inner[0])
        else:
            low, inner[0], values[0] = inner[0], inner[1], values[1]
            inner[1] = low + _GOLDEN * (high - low)
            values[1] = cost(inner[1])
        best = min(best, *values)
    return best


def _times(work: Work, factor: float | Array) -> Work:
    return Work(*(np.asarray(getattr(work, field.name) * factor) for field in fields(Work)))


def _sum(one: Work, other: Work) -> Work:
    return Work(*(np.asarray(getattr(one, f.name) + getattr(other, f.name)) for f in fields(Work)))
