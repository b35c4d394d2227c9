"""An engine that is slow and obvious: one iteration after another, every request looked at anew.

Written from the rules of vLLM V1's scheduler and from what the fast engine promises, not from how
it does it: no run of steps is ever taken at once, and nothing is counted that can be looked up.
"""

import itertools
from dataclasses import dataclass, field

from slow_blocks import BLOCK, SlowBlocks, blocks_for
from slow_routing import route

from model.pricing import Step
from policies import Situation, Watch

IDLE, SWITCHING, PREFILL, DECODE, MIXED = range(5)


@dataclass
class Request:
    number: int
    arrival: float
    prompt: int
    output: int
    priority: int = 0
    contents: list = field(default_factory=list)
    generated: int = 0
    computed: int = 0
    blocks: list = field(default_factory=list)
    found: int = 0
    is_prefilling: bool = False
    row: dict = field(default_factory=dict)
    tokens_at: list = field(default_factory=list)

    @property
    def known(self):
        return self.prompt + self.generated

    @property
    def rank(self):
        return self.priority, self.number

    def content(self, place):
        """What its block at ``place`` holds, the same for all that hold the same."""
        if place < len(self.contents):
            return "shared", self.contents[place]
        return "own", self.number, place

    @property
    def is_done(self):
        return self.generated >= max(self.output, 1)


@dataclass
class Engine:
    """One replica.

    ``price(work counts, clock, cap)`` gives seconds, watts and the clock that held. A ``pilot``,
    where there is one, is shown the situation before each and every step.
    """

    limits: object
    fleet: object
    price: object
    clock_for: object
    prefill_share: object
    pool: object
    least_free: int
    clock: float | None
    power: float
    pilot: object = None
    watch: Watch = field(default_factory=Watch)
    turn: int = 0
    now: float = 0.0
    unlocked_at: float = float("-inf")
    starts: float | None = None
    by_priority: bool = False
    preemptions: int = 0
    recomputed: int = 0
    waiting: list = field(default_factory=list)
    running: list = field(default_factory=list)
    step: object = None
    diary: list = field(default_factory=list)
    done: list = field(default_factory=list)

    def outstanding(self):
        return self.waiting + self.running

    def receive(self, request):
        if blocks_for(request.prompt + max(request.output, 1) - 1) > self.limits.kv_blocks:
            return
        self.waiting.append(request)
        if self.step is None and self.starts is None:
            self.starts = max(self.now, request.arrival)
            self.turn = next(TURNS)

    def due(self):
        """When the next thing begins or ends here."""
        if self.step is not None:
            return self.step["end"]
        return float("inf") if self.starts is None else self.starts

    def act(self, more_to_come):
        """Do what is due."""
        if self.step is not None:
            self.end_step()
        else:
            self.wait(self.starts)
            self.starts = None
        self.begin_step(more_to_come)
        self.turn = next(TURNS)

    def wait(self, until):
        if until > self.now:
            self.write(IDLE, until - self.now, self.fleet.idle_power_w)
            self.now = until

    def write(self, state, seconds, watts):
        self.diary.append((state, self.now, seconds, watts))

    def begin_step(self, more_to_come):
        chosen = self.schedule()
        while not chosen and self.running + self.waiting:
            chosen = self.schedule()
        if not chosen:
            if self.pilot is not None:
                self.pilot.rest()
            wanted = self.fleet.idle_mhz
            if (
                wanted is not None
                and wanted != self.clock
                and self.now >= self.unlocked_at
                and more_to_come
            ):
                self.switch(wanted, self.fleet.idle_power_w)
            self.power = self.fleet.idle_power_w
            return
        for request, _ in chosen:
            request.row.setdefault("start", self.now)
        chunks = [(r, n) for r, n in chosen if r.is_prefilling]
        decodes = [r for r, _ in chosen if not r.is_prefilling]
        counts = (
            len(chunks),
            sum(n for _, n in chunks),
            sum(r.computed + i + 1 for r, n in chunks for i in range(n)),
            len(decodes),
            sum(r.computed + 1 for r in decodes),
        )
        cap = None
        if self.pilot is None:
            wanted = self.clock_for(counts)
        else:
            wanted, steps, cap = self.pilot.decide(self.situation(counts, chunks))
            assert steps == 1
        if wanted != self.clock and self.now < self.unlocked_at:
            wanted = self.clock
        seconds, watts, held = self.price(counts, wanted, cap)
        if wanted != self.clock:
            joules = self.switch(wanted, watts)
            for request, _ in chosen:
                add(request.row, "switching_j", joules / len(chosen))
        share = self.prefill_share(counts, held) if chunks and decodes else float(bool(chunks))
        joules = seconds * watts
        for request, n in chunks:
            add(request.row, "prefill_j", joules * share * n / counts[1])
        for request in decodes:
            add(request.row, "decode_j", joules * (1 - share) / len(decodes))
        state = DECODE if not chunks else MIXED if decodes else PREFILL
        self.write(state, seconds, watts)
        self.power = watts
        self.step = {"end": self.now + seconds, "chosen": chosen}

    def situation(self, counts, chunks):
        line = sorted(self.waiting, key=lambda r: r.rank) if self.by_priority else self.waiting
        waits = [self.now - r.arrival for r in line]
        ages = [self.now - r.arrival for r, _ in chunks]
        unread = [r for r in self.running if r.is_prefilling]
        unread += [r for r in self.waiting if r.computed == 0]
        return Situation(
            now_s=self.now,
            step=Step(*counts),
            steps=1,
            set_mhz=self.clock,
            waiting=len(line),
            prompt_tokens=sum(r.known - r.computed for r in unread),
            first_wait_s=waits[0] if waits else 0.0,
            last_wait_s=waits[-1] if waits else min(ages, default=0.0),
            prefill_wait_s=max(ages, default=None),
            kv_used=1 - self.pool.count_free() / self.limits.kv_blocks,
            watch=self.watch,
        )

    def switch(self, wanted, power_after):
        free = self.clock is None
        self.clock = wanted
        if free:
            return 0.0
        stall, watts = self.fleet.switch_latency_s, max(self.power, power_after)
        if stall > 0:
            self.write(SWITCHING, stall, watts)
        self.now += stall
        self.unlocked_at = self.now + self.fleet.min_dwell_s
        return stall * watts

    def end_step(self):
        self.now = self.step["end"]
        self.watch.steps += 1
        for request, n in self.step["chosen"]:
            request.computed += n
            if request.computed == request.known:
                request.generated += 1
                request.is_prefilling = False
                request.tokens_at.append(self.now)
                self.watch.tokens += 1
                if len(request.tokens_at) > 1:
                    self.watch.gap_s.append(self.now - request.tokens_at[-2])
                    self.watch.gap_tokens.append(1)
                else:
                    self.watch.ttft_s.append(self.now - request.arrival)
                request.row.setdefault("first_token", self.now)
                if request.is_done:
                    request.row["finish"] = self.now
                    self.pool.free(request)
                    self.running.remove(request)
                    self.done.append(request)
        self.step = None

    def schedule(self):
        budget = self.limits.batched_tokens
        chosen, preempted = [], False
        index = 0
        while index < len(self.running) and budget > 0:
            request = self.running[index]
            n = min(request.known - request.computed, budget)
            while not self.pool.allocate(request, request.computed + n):
                victim = self.running[-1]
                if self.by_priority:
                    victim = max(self.running, key=lambda r: r.rank)
                for earlier in [pair for pair in chosen if pair[0] is victim]:
                    chosen.remove(earlier)
                    budget += earlier[1]
                    index -= 1
                self.preempt(victim)
                preempted = True
                if victim is request:
                    break
            else:
                chosen.append((request, n))
                budget -= n
                index += 1
                continue
            break
        may_join = self.limits.refills or not self.running
        while not preempted and may_join and self.waiting and budget > 0:
            if len(self.running) == self.limits.sequences:
                break
            request = self.waiting[0]
            if self.by_priority:
                request = min(self.waiting, key=lambda r: r.rank)
            # A request whose cache was brought along is not looked up.
            found = [] if request.computed else self.pool.lookup(request)
            computed = request.computed + BLOCK * len(found)
            n = min(request.known - computed, budget)
            if not self.pool.allocate(request, computed + n, found):
                break
            self.waiting.remove(request)
            self.running.append(request)
            request.is_prefilling = request.computed == 0
            request.computed = computed
            if not request.row.get("admitted"):
                request.row["admitted"] = True
                request.found = BLOCK * len(found)
            else:
                self.recomputed -= BLOCK * len(found)
            chosen.append((request, n))
            budget -= n
        self.least_free = min(self.least_free, self.pool.count_free())
        return chosen

    def preempt(self, victim):
        self.running.remove(victim)
        self.pool.free(victim)
        self.recomputed += victim.computed
        victim.computed = 0
        self.waiting.insert(0, victim)
        self.preemptions += 1


TURNS = itertools.count()
"""What is due at one moment is done in the order in which it came to be due."""


def serve_slowly(
    arrivals,
    prompts,
    outputs,
    limits,
    fleet,
    price,
    clock_for,
    prefill_share,
    first_tokens=None,
    priorities=None,
    contents=None,
    crew=None,
):
    """Serve by hand; return the requests, the engines, and the end.

    ``price(counts, clock, cap)`` and ``clock_for(counts)`` take what a step computes: prompts,
    their tokens, attended pairs, decoding sequences, tokens in their caches. ``contents`` tells of
    each request what the full blocks of its prompt hold. Of a ``crew``, each pilot decides for one
    engine.
    """
    blocks = limits.kv_blocks
    engines = [
        Engine(
            *(limits, fleet, price, clock_for, prefill_share),
            *(SlowBlocks(blocks, contents is not None), blocks),
            *(fleet.idle_mhz, fleet.idle_power_w),
            by_priority=priorities is not None,
            pilot=pilot,
        )
        for pilot in crew or [None] * fleet.replicas
    ]
    columns = zip(arrivals, prompts, outputs, strict=True)
    requests = [Request(number, *row) for number, row in enumerate(columns)]
    for request in requests:
        if priorities is not None:
            request.priority = priorities[request.number]
        if contents is not None:
            request.contents = contents[request.number]
    if first_tokens is not None:
        for request, token in zip(requests, first_tokens, strict=True):
            request.generated, request.computed = 1, request.prompt
            request.tokens_at.append(token)
            request.row["first_token"] = token

    steps = [max(request.output - 1, 0) for request in requests]
    contexts = [r.prompt + (s + 1) / 2 for r, s in zip(requests, steps, strict=True)]
    weights = [max(s, 1) for s in steps]
    context = sum(c * w for c, w in zip(contexts, weights, strict=True)) / sum(weights)

    def cost(*counts):
        seconds, watts, _ = price(counts, clock_for(counts), None)
        return seconds, seconds * watts

    def added(request, others):
        prompt_s, prompt_j = cost(1, request.prompt, sum(range(request.prompt + 1)), 0, 0)
        if first_tokens is not None:
            prompt_s = prompt_j = 0.0
        step_s, step_j = cost(0, 0, 0, others + 1, round((others + 1) * context))
        if others == 0:
            prompt_j -= prompt_s * fleet.idle_power_w
            step_j -= step_s * fleet.idle_power_w
        else:
            step_j -= cost(0, 0, 0, others, round(others * context))[1]
        return prompt_j + max(request.output - 1, 0) * step_j

    for moment in sorted(set(arrivals)):
        run_to(moment, engines, more_to_come=True)
        for request in requests:
            if request.arrival == moment:
                has = [engine.outstanding() for engine in engines]
                number = route(
                    *(fleet, request.number, [len(h) for h in has]),
                    [sum(r.prompt + r.output for r in h) for h in has],
                    lambda n, request=request, has=has: added(request, len(has[n])),
                )
                request.row["replica"] = number
                engines[number].receive(request)
    run_to(float("inf"), engines, more_to_come=False)
    end = max(engine.now for engine in engines)
    for engine in engines:
        engine.wait(end)
    return requests, engines, end


def run_to(moment, engines, more_to_come):
    """Do all that begins or ends anywhere by ``moment``, in the order of time."""
    while True:
        engine = min(engines, key=lambda each: (each.due(), each.turn))
        if engine.due() > moment or engine.due() == float("inf"):
            return
        engine.act(more_to_come)


def add(row, key, value):
    row[key] = row.get(key, 0.0) + value
