"""An engine that is slow and obvious: one iteration after another, every request looked at anew.

Written from the rules of vLLM V1's scheduler and from what the fast engine promises, not from how
it does it: no run of steps is ever taken at once, and nothing is counted that can be looked up.
"""

import itertools
from dataclasses import dataclass, field

from model.pricing import Step
from policies import Situation, Watch

IDLE, SWITCHING, PREFILL, DECODE, MIXED = range(5)
BLOCK = 16


@dataclass
class Request:
    number: int
    arrival: float
    prompt: int
    output: int
    generated: int = 0
    computed: int = 0
    blocks: int = 0
    is_prefilling: bool = False
    row: dict = field(default_factory=dict)
    tokens_at: list = field(default_factory=list)

    @property
    def prompts(self):
        """Whether anything of it is to be computed but the token of a decode step."""
        return self.computed == 0

    @property
    def known(self):
        return self.prompt + self.generated

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
    free: int
    least_free: int
    clock: float | None
    power: float
    pilot: object = None
    watch: Watch = field(default_factory=Watch)
    turn: int = 0
    now: float = 0.0
    unlocked_at: float = float("-inf")
    starts: float | None = None
    preemptions: int = 0
    waiting: list = field(default_factory=list)
    running: list = field(default_factory=list)
    step: object = None
    diary: list = field(default_factory=list)
    done: list = field(default_factory=list)

    def outstanding(self):
        return len(self.waiting) + len(self.running)

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
        unread = [r for r in self.running if r.is_prefilling] + [
            r for r in self.waiting if r.prompts
        ]
        waits = [self.now - r.arrival for r in self.waiting]
        ages = [self.now - r.arrival for r, _ in chunks]
        return Situation(
            now_s=self.now,
            step=Step(*counts),
            steps=1,
            set_mhz=self.clock,
            waiting=len(self.waiting),
            prompt_tokens=sum(r.known - r.computed for r in unread),
            first_wait_s=waits[0] if waits else 0.0,
            last_wait_s=waits[-1] if waits else min(ages, default=0.0),
            prefill_wait_s=max(ages, default=None),
            kv_used=1 - self.free / self.limits.kv_blocks,
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
                    self.free += request.blocks
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
            while not self.allocate(request, n):
                victim = self.running.pop()
                self.free += victim.blocks
                victim.blocks = victim.computed = 0
                self.waiting.insert(0, victim)
                self.preemptions += 1
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
            n = min(request.known - request.computed, budget)
            if not self.allocate(request, n):
                break
            self.waiting.pop(0)
            self.running.append(request)
            request.is_prefilling = request.computed == 0
            chosen.append((request, n))
            budget -= n
        self.least_free = min(self.least_free, self.free)
        return chosen

    def allocate(self, request, n):
        more = blocks_for(request.computed + n) - request.blocks
        if more > self.free:
            return False
        self.free -= more
        request.blocks += more
        return True


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
    crew=None,
):
    """Serve by hand; return the requests, the engines, and the end.

    ``price(counts, clock, cap)`` and ``clock_for(counts)`` take what a step computes: prompts,
    their tokens, attended pairs, decoding sequences, tokens in their caches. Of a ``crew``, each
    pilot decides for one engine.
    """
    blocks = limits.kv_blocks
    engines = [
        Engine(
            *(limits, fleet, price, clock_for, prefill_share, blocks, blocks),
            *(fleet.idle_mhz, fleet.idle_power_w),
            pilot,
        )
        for pilot in crew or [None] * fleet.replicas
    ]
    columns = zip(arrivals, prompts, outputs, strict=True)
    requests = [Request(number, *row) for number, row in enumerate(columns)]
    if first_tokens is not None:
        for request, token in zip(requests, first_tokens, strict=True):
            request.generated, request.computed = 1, request.prompt
            request.tokens_at.append(token)
            request.row["first_token"] = token
    for moment in sorted(set(arrivals)):
        run_to(moment, engines, more_to_come=True)
        for request in requests:
            if request.arrival == moment:
                loads = [engine.outstanding() for engine in engines]
                number = request.number % len(engines)
                if fleet.routing != "round-robin":
                    number = loads.index(min(loads))
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


def blocks_for(tokens):
    return -(-tokens // BLOCK)
