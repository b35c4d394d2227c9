"""A replica that batches: its scheduler plans one step after another, each at one clock.

In: requests that are routed to it, prices of steps, clocks asked for. Out: what became of its
requests, in shared columns, and on the meter all that it did. One SimPy event per change of its
batch.
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model.pricing import Priced, StepPrices
from model.work import Array
from policies import Watch
from simulate.accounts import Accounts
from simulate.asking import Asks
from simulate.batching import Limits
from simulate.clock import Clock
from simulate.columns import Views
from simulate.course import Course
from simulate.fleet import Fleet
from simulate.meter import State
from simulate.replay import Batches
from simulate.rest import Rest
from simulate.scheduler import Plan, Progress, Scheduler


@dataclass
class _Run:
    """A planned step under way, perhaps many times over: prices, ends of the steps, its state."""

    plan: Plan
    state: int
    priced: Priced
    since_start_s: Array
    start_s: float
    stall_s: float
    steps: int


class BatchReplica:
    """A GPU whose scheduler plans one step after another."""

    def __init__(
        self,
        number: int,
        course: Course,
        fleet: Fleet,
        columns: Views,
        new_scheduler: Callable[[], Scheduler],
        limits: Limits,
        prices: StepPrices,
        asks: Asks,
        prefilled: bool,
    ) -> None:
        self.free_s = 0.0
        self.scheduler = new_scheduler()
        self.peers: Sequence[BatchReplica] = ()
        self._new_scheduler = new_scheduler
        self._broken: list[Scheduler] = []
        self._lost_tokens = 0
        self.gap_s, self.gap_tokens, self._ttft_s = array("d"), array("q"), array("d")
        self.watch = Watch(self.gap_s, self.gap_tokens, self._ttft_s)
        self._number = number
        self._course = course
        self._columns = columns
        self._prices = prices
        self._asks = asks
        self._tokens = course.tokens
        self._ledger = course.ledgers[number]
        self._record = self._ledger.add
        self.rest = Rest(number, fleet, self._ledger)
        self._limits = limits
        self._fleet = fleet
        self._prefilled = prefilled
        self._clock = Clock(number, fleet, self._ledger)
        self._held: dict[int, None] = {}
        self._called_s = 0.0
        self._stall_j = 0.0
        self._run: _Run | None = None
        self._starts_s: float | None = None
        self._accounts = Accounts(prices, columns)
        self._last_token_s: dict[int, float] = {}

    def take(self, query: int, at_s: float) -> None:
        """Let ``query``, given at ``at_s``, wait; or count it as done where it can never run."""
        if not self.scheduler.add(query):
            self._course.finish(query, self._number, None)
            return
        self._held[query] = None
        if self._prefilled and self._course.losses[query]:
            # Its cache was lost with the replica that had it before.
            self.scheduler.recompute(query)
            self._last_token_s[query] = self._columns.first_token_s[query]
        if self._run is not None:
            self._cut(self._run, at_s)
        elif self._starts_s is None:
            self._called_s = at_s
            self._starts_s = self.rest.ready_s(self.free_s, at_s)
            self._at(self._starts_s, self._start, self._starts_s)

    def idle_until(self, end_s: float) -> None:
        """Record that the replica rests until ``end_s``."""
        self.free_s = self.rest.until(self.free_s, end_s)

    def fail(self, at_s: float) -> list[int]:
        """Break at ``at_s``; return the requests that are lost with it, in ascending order."""
        while self._run is not None and self.free_s <= at_s:
            run, self._run = self._run, None
            since_s = run.start_s + run.since_start_s
            made = int(np.searchsorted(since_s, at_s, "right"))
            if made == run.steps:
                self._complete(run, made)
                self._next()
                continue
            self._break_off(run, made, at_s)
            break
        if self._starts_s is not None:
            self.rest.wake(self.free_s, self._called_s)
        elif self.free_s < at_s:
            self.idle_until(at_s)
        return self._give_up(at_s)

    def batches(self) -> Batches:
        """Return its steps, every gap between two tokens, and what became of its KV cache."""
        gap_s, tokens = np.frombuffer(self.gap_s), np.frombuffer(self.gap_tokens, dtype=np.int64)
        schedulers, blocks = [*self._broken, self.scheduler], self._limits.kv_blocks
        return Batches(
            gap_s=gap_s[tokens > 0],
            gap_tokens=tokens[tokens > 0],
            steps=self.watch.steps,
            preemptions=sum(scheduler.preemptions for scheduler in schedulers),
            recomputed_tokens=sum(scheduler.recomputed_tokens for scheduler in schedulers),
            kv_blocks_peak=blocks - min(s.least_free_blocks for s in schedulers),
            kv_blocks_left=blocks - self.scheduler.free_blocks,
            lost_tokens=self._lost_tokens,
        )

    def reconsider(self, at_s: float) -> None:
        """Ask for a clock anew as soon as the step that is under way at ``at_s`` is done."""
        if self._run is not None:
            self._cut(self._run, at_s)

    def _start(self, starts_s: float) -> None:
        if self._starts_s != starts_s:
            return  # It has broken since.
        self.free_s = self.rest.wake(self.free_s, self._called_s)
        self._starts_s = None
        self._next()

    def _next(self) -> None:
        plan = self.scheduler.plan()
        if plan is None:
            self._run = None
            if self._asks.rest():
                self._disturb()
            self.free_s = self._clock.rest(self.free_s, self._course.to_arrive > 0)
            return
        for request in plan.stopped:
            self._accounts.close(request)
            self._last_token_s.setdefault(request, self.free_s)
        start_s, found_tokens = self._columns.start_s, self._columns.found_tokens
        for chunk in plan.chunks:
            if start_s[chunk.request] != start_s[chunk.request]:
                start_s[chunk.request] = self.free_s
                found_tokens[chunk.request] = chunk.computed
        for request in plan.joined:
            if start_s[request] != start_s[request]:
                start_s[request] = self.free_s
            self._accounts.open(request)
        self._run = self._begun(plan)
        self._await(self._run)

    def _begun(self, plan: Plan) -> _Run:
        """Set the clock for the planned step, as far as it may be set, and price the step."""
        step, clock, at_s = plan.step, self._clock, self.free_s
        asked_mhz, steps, prices, disturbs = self._asks.of(
            *(plan, at_s, clock.set_mhz, self.scheduler, self.watch)
        )
        if disturbs:
            self._disturb()
        stall_s, forced = 0.0, False
        if asked_mhz != clock.set_mhz and at_s < clock.may_change_s:
            assert clock.set_mhz is not None
            asked_mhz, forced = clock.set_mhz, True
        priced = prices.price(step, steps, asked_mhz)
        if asked_mhz != clock.set_mhz:
            switching_j, start_s = clock.switch(
                asked_mhz, float(priced.sm_mhz[0]), float(priced.power_w[0]), at_s
            )
            stall_s = start_s - at_s
            self._stall_j = switching_j
            self._accounts.charge(plan, switching_j)
            at_s = start_s
        since_s = priced.time_s.cumsum()
        if forced:
            # Steps that begin before the dwell is over.
            steps = 1 + int(np.searchsorted(at_s + since_s[:-1], clock.may_change_s))
        state = State.DECODE
        if step.prefill_tokens:
            state = State.MIXED if step.decode_batch else State.PREFILL
        return _Run(plan, int(state), priced, since_s[:steps], at_s, stall_s, steps)

    def _cut(self, run: _Run, arrival_s: float) -> None:
        """End ``run`` with the step that is under way, if that may change what comes next."""
        if run.steps == 1 or not (run.plan.open or self._asks.looks):
            return
        made = int((run.start_s + run.since_start_s).searchsorted(arrival_s, "right")) + 1
        if made < run.steps:
            run.steps = made
            run.since_start_s = run.since_start_s[:made]
            self._await(run)

    def _disturb(self) -> None:
        for peer in self.peers:
            peer.reconsider(self.free_s)

    def _await(self, run: _Run) -> None:
        self._at(run.start_s + float(run.since_start_s[-1]), self._finish, run, run.steps)

    def _finish(self, run: _Run, steps: int) -> None:
        if run is not self._run or steps != run.steps:
            return  # It has been cut since, or the replica has broken.
        self._complete(run, steps)
        self._next()

    def _complete(self, run: _Run, steps: int) -> None:
        """Make the first ``steps`` steps of ``run``."""
        step = run.plan.step
        time_s, power_w, sm_mhz = run.priced
        last_w = float(power_w[steps - 1])
        duration_s = float(run.since_start_s[steps - 1])
        if steps == 1:
            energy_j, held_mhz = duration_s * last_w, float(sm_mhz[0])
        else:
            time_s = time_s[:steps]
            energy_j = float(time_s @ power_w[:steps])
            held_mhz = float(time_s @ sm_mhz[:steps]) / duration_s
        self._record(
            self._number, run.state, run.start_s, duration_s, held_mhz, energy_j / duration_s
        )
        self._clock.power_before_w = last_w
        self.free_s = run.start_s + duration_s
        self._accounts.share(run.plan, energy_j, held_mhz)
        self.watch.steps += steps
        self.watch.tokens += steps * step.decode_batch
        if step.decode_batch:
            self._count_gaps(run, time_s[:steps])
            if self._tokens is not None:
                times_s = run.start_s + run.since_start_s[:steps]
                self._tokens.add(self.scheduler.decoding, times_s)
        self._conclude(self.scheduler.advance(steps))

    def _break_off(self, run: _Run, made: int, at_s: float) -> None:
        """End ``run`` at ``at_s``, when it has made ``made`` of its steps and not the next."""
        if at_s < run.start_s and run.stall_s > 0:
            left_s = min(run.start_s - at_s, run.stall_s)
            self._accounts.charge(run.plan, -self._stall_j * left_s / run.stall_s)
        if made:
            self._complete(run, made)
        from_s = max(self.free_s, run.start_s)
        if at_s > from_s:
            watts, mhz = float(run.priced.power_w[made]), float(run.priced.sm_mhz[made])
            self._record(self._number, run.state, from_s, at_s - from_s, mhz, watts)
            self._accounts.share(run.plan, (at_s - from_s) * watts, mhz)
        self.free_s = at_s

    def _give_up(self, at_s: float) -> list[int]:
        """Lose all requests and their caches; what they have drawn was in vain."""
        scheduler = self.scheduler
        for request in scheduler.decoding:
            self._accounts.close(request)
        lost = sorted(self._held)
        for request in lost:
            self._lost_tokens += scheduler.generated(request)
            self._accounts.waste(request, self._prefilled)
        self._held.clear()
        self._last_token_s.clear()
        self._broken.append(scheduler)
        self.scheduler = self._new_scheduler()
        self._clock = Clock(self._number, self._fleet, self._ledger)
        self._run = self._starts_s = None
        self.free_s = at_s
        if self._asks.rest():
            self._disturb()
        return lost

    def _count_gaps(self, run: _Run, time_s: Array) -> None:
        first, joined, batch = len(self.gap_s), run.plan.joined, run.plan.step.decode_batch
        self.gap_s.frombytes(time_s.tobytes())
        self.gap_s[first] += run.stall_s
        self.gap_tokens.extend([batch] * time_s.size)
        self.gap_tokens[first] -= len(joined)
        for request in joined:
            # Its last token was made before it was passed over, or was its first, made elsewhere.
            token_s = run.start_s + float(run.since_start_s[0])
            before_s = self._last_token_s.pop(request, self._columns.first_token_s[request])
            self.gap_s.append(token_s - before_s)
            self.gap_tokens.append(1)

    def _conclude(self, progress: Progress) -> None:
        columns, now_s = self._columns, self.free_s
        self.watch.tokens += len(progress.prefilled)
        first_token_s, last_token_s = columns.first_token_s, self._last_token_s
        for request in progress.prefilled:
            if first_token_s[request] != first_token_s[request]:
                first_token_s[request] = now_s
                self._ttft_s.append(now_s - self._course.arrival_s[request])
            elif request in last_token_s:
                self.gap_s.append(now_s - last_token_s.pop(request))
                self.gap_tokens.append(1)
            self._accounts.open(request)
        if self._tokens is not None and progress.prefilled:
            self._tokens.add(progress.prefilled, np.array([now_s]))
        for request in progress.finished:
            columns.finish_s[request] = now_s
            self._accounts.close(request)
            del self._held[request]
            self._course.finish(request, self._number, now_s)

    def _at(self, moment_s: float, act: Callable[..., None], *what: object) -> None:
        environment = self._course.environment
        event = environment.timeout(max(moment_s - environment.now, 0.0))
        event.callbacks.append(lambda _event: act(*what))
