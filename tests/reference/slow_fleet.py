"""A fleet of groups that sleep, scale and break, moment by moment, everything looked up anew.

Written from what fleets promise: the next thing that happens anywhere is found by looking at all
replicas, and what a broken replica had begun is cut off where it broke.
"""

from itertools import pairwise

import numpy as np
from slow_engine import Engine, add, blocks_for
from slow_replay import Gpu, serve, switch

IDLE, SWITCHING = 0, 1
SLEEPING, OFF, STARTING, FAILED = 5, 6, 7, 8
NEVER = float("inf")
PARTS = ("prefill_j", "decode_j", "switching_j")


class Resting:
    """What both kinds of replica do alike: rest, wake, and end what they wrote where they break."""

    mood = IDLE
    called = None

    def rest_until(self, until):
        if until <= self.now:
            return
        sleep, idle_w = self.fleet.sleep, self.fleet.idle_power_w
        asleep = self.now + sleep.after_s if sleep and self.mood == IDLE else NEVER
        watts = {IDLE: idle_w, STARTING: idle_w, OFF: 0.0, FAILED: 0.0}
        if asleep < until:
            self.put(IDLE, self.now, asleep - self.now, idle_w)
            self.put(SLEEPING, asleep, until - asleep, sleep.power_w)
        else:
            self.put(self.mood, self.now, until - self.now, watts[self.mood])
        self.now = until

    def ready(self, moment):
        sleep = self.fleet.sleep
        if sleep and self.now + sleep.after_s < moment:
            return moment + sleep.wake_s
        return max(self.now, moment)

    def wake_joules(self, moment):
        sleep, idle_w = self.fleet.sleep, self.fleet.idle_power_w
        if not sleep or self.now + sleep.after_s >= moment or self.outstanding():
            return 0.0
        return (sleep.wake_s + sleep.after_s) * (idle_w - sleep.power_w)

    def wake(self, moment):
        ready = self.ready(moment)
        self.rest_until(moment)
        if ready > self.now:
            self.put(STARTING, self.now, ready - self.now, self.fleet.idle_power_w)
            self.now = ready

    def cut_diary(self, moment):
        """Cut off all that lies beyond ``moment``."""
        kept = [(e, min(e[2], moment - e[1])) for e in self.diary]
        self.diary[:] = [(*e[:2], left, *e[3:]) for e, left in kept if left > 0]


class Batching(Resting, Engine):
    """An engine that batches, and breaks."""

    elsewhere = False
    lost_tokens = 0

    def put(self, state, start, seconds, watts):
        self.diary.append((state, start, seconds, watts))

    def outstanding(self):
        return self.waiting + self.running

    def next_time(self):
        return self.due()

    def run_to(self, moment, more_to_come):
        while self.due() <= moment:
            self.act(more_to_come)

    def take(self, request, moment):
        if blocks_for(request.prompt + max(request.output, 1) - 1) > self.limits.kv_blocks:
            return False
        self.waiting.append(request)
        if self.step is None and self.starts is None:
            self.called, self.starts = moment, self.ready(moment)
        return True

    def wait(self, until):
        if self.called is not None and until == self.starts:
            self.wake(self.called)
        else:
            self.rest_until(until)

    def begin_step(self, more_to_come):
        everybody = self.outstanding()
        before = [dict(r.row) for r in everybody]
        written = len(self.diary)
        super().begin_step(more_to_come)
        self.spent = [
            {key: r.row.get(key, 0.0) - old.get(key, 0.0) for key in PARTS}
            for r, old in zip(everybody, before, strict=True)
        ]
        self.shared_by, self.written = everybody, written

    def fail(self, moment):
        if self.starts is not None:
            self.wake(self.called)
        elif self.step is None:
            self.rest_until(moment)
        else:
            _, start, seconds, _ = self.diary[-1]
            step_share = max(moment - start, 0.0) / seconds
            stall_share = 1.0
            if self.diary[self.written][0] == SWITCHING:
                _, stall_start, stall, _ = self.diary[self.written]
                stall_share = min((moment - stall_start) / stall, 1.0)
            for request, spent in zip(self.shared_by, self.spent, strict=True):
                for key, joules in spent.items():
                    share = stall_share if key == "switching_j" else step_share
                    add(request.row, key, -joules * (1 - share))
        self.cut_diary(moment)
        lost = sorted(self.outstanding(), key=lambda r: r.number)
        for request in lost:
            self.lost_tokens += request.generated - self.elsewhere
            request.gaps += [b - a for a, b in pairwise(request.tokens_at)]
            for key in PARTS:
                add(request.row, "wasted_j", request.row.pop(key, 0.0))
            request.row.pop("start", None)
            request.tokens_at = request.tokens_at[: int(self.elsewhere)]
            if not self.elsewhere:
                request.row.pop("first_token", None)
            request.generated, request.computed = int(self.elsewhere), 0
            request.is_prefilling, request.blocks, request.found = False, [], 0
            request.row.pop("admitted", None)
        self.waiting, self.running, self.step, self.starts = [], [], None, None
        self.pool = self.fresh_pool()
        self.clock, self.power = self.fleet.idle_mhz, self.fleet.idle_power_w
        self.unlocked_at, self.now = -NEVER, moment
        return lost


class Alone(Resting):
    """A GPU that serves one query at a time, and breaks."""

    def __init__(self, fleet, phases, off_clock):
        self.fleet, self.phases, self.off_clock = fleet, phases, off_clock
        self.gpu = Gpu(fleet.idle_mhz, fleet.idle_power_w)
        self.waiting, self.serving, self.done = [], None, []

    @property
    def now(self):
        return self.gpu.now

    @now.setter
    def now(self, moment):
        self.gpu.now = moment

    @property
    def diary(self):
        return self.gpu.diary

    def put(self, state, start, seconds, watts):
        self.gpu.diary.append((state, start, seconds, None, watts))

    def outstanding(self):
        return self.waiting + [self.serving] * (self.serving is not None)

    def next_time(self):
        return NEVER if self.serving is None else self.now

    def take(self, request, moment):
        if self.serving is None:
            self.wake(moment)
            self.begin(request)
        else:
            self.waiting.append(request)
        return True

    def begin(self, request):
        self.serving, self.written = request, len(self.diary)
        self.row = serve(
            *(self.gpu, request.number, self.phases[request.number], self.fleet, self.off_clock)
        )

    def run_to(self, moment, more_to_come):
        while self.serving is not None and self.now <= moment:
            self.serving.row.update(self.row)
            self.done.append(self.serving)
            self.serving = None
            if self.waiting:
                self.begin(self.waiting.pop(0))
                continue
            wanted, gpu = self.fleet.idle_mhz, self.gpu
            if wanted not in (None, gpu.clock) and self.now >= gpu.unlocked_at and more_to_come:
                switch(gpu, wanted, wanted, self.fleet.idle_power_w, self.fleet)
            gpu.power = self.fleet.idle_power_w

    def fail(self, moment):
        self.rest_until(moment if self.serving is None else self.now)
        self.cut_diary(moment)
        if self.serving is not None:
            wasted = sum(entry[2] * entry[-1] for entry in self.diary[self.written :])
            add(self.serving.row, "wasted_j", wasted)
        lost = sorted(self.outstanding(), key=lambda r: r.number)
        self.waiting, self.serving = [], None
        finishes, diary = self.gpu.finishes, self.diary
        self.gpu = Gpu(self.fleet.idle_mhz, self.fleet.idle_power_w, moment)
        self.gpu.finishes, self.gpu.diary = finishes, diary
        return lost


def serve_fleet_slowly(requests, groups, may, added):
    """Serve ``requests`` on ``groups`` of (fleet, replicas); return the end.

    ``may`` holds the groups that may serve each request, ``added(request, group, others)`` gives
    the joules that it adds to a replica that has so many others. Rows of requests and diaries of
    replicas are written on the way.
    """
    replicas = [replica for _, members in groups for replica in members]
    group_of = [g for g, (_, members) in enumerate(groups) for _ in members]
    fleets = [groups[g][0] for g in group_of]
    numbers = range(len(replicas))
    agenda, pending, done, turns = [], [], set(), {}
    rngs = [
        None if f.faults is None else np.random.default_rng([f.faults.seed, f.faults.stream, n])
        for n, f in enumerate(fleets)
    ]
    breaks, was_off, idle_since, started = (dict.fromkeys(numbers, NEVER) for _ in range(4))

    def plan_break(n, moment):
        faults = fleets[n].faults
        if faults is not None:
            breaks[n] = moment + rngs[n].exponential(faults.mtbf_s)
            repaired = breaks[n] + rngs[n].exponential(faults.mttr_s)
            agenda.append((breaks[n], lambda at: break_down(n, at, repaired)))

    def running(g):
        return [n for n in numbers if group_of[n] == g and replicas[n].mood in (IDLE, STARTING)]

    def scale(g, moment):
        scaling = groups[g][0].scaling
        while scaling is not None:
            load = sum(len(replicas[n].outstanding()) for n in numbers if group_of[n] == g)
            up = len(running(g))
            off = [n for n in numbers if group_of[n] == g and replicas[n].mood == OFF]
            if not off or (up >= scaling.least and load <= scaling.target * up):
                return
            n = off[0]
            replicas[n].rest_until(moment)
            replicas[n].mood = STARTING
            started[n] = moment + scaling.start_up_s
            agenda.append((started[n], lambda at, n=n, was=started[n]: start(n, at, was)))

    def start(n, moment, was):
        if replicas[n].mood == STARTING and started[n] == was:
            come_up(n, moment)

    def come_up(n, moment):
        replicas[n].rest_until(moment)
        replicas[n].mood = IDLE
        waiting, pending[:] = list(pending), []
        for request in waiting:
            give(request, moment)
        if not replicas[n].outstanding():
            fall_idle(n, moment)

    def fall_idle(n, moment):
        scaling = fleets[n].scaling
        if scaling is not None:
            idle_since[n] = moment
            agenda.append((moment + scaling.idle_s, lambda at: turn_off(n, at, moment)))

    def turn_off(n, moment, since):
        mine = replicas[n]
        enough = len(running(group_of[n])) > fleets[n].scaling.least
        if mine.mood == IDLE and idle_since[n] == since and not mine.outstanding() and enough:
            mine.rest_until(moment)
            mine.mood = OFF

    def break_down(n, moment, repaired):
        lost = replicas[n].fail(moment)
        breaks[n] = NEVER
        was_off[n] = replicas[n].mood == OFF
        replicas[n].mood = FAILED
        agenda.append((repaired, lambda at: repair(n, at)))
        for request in lost:
            request.losses += 1
            limit = fleets[0].faults.retries
            if limit is not None and request.losses > limit:
                request.failed = True
                done.add(request.number)
            else:
                give(request, moment)
        scale(group_of[n], moment)

    def repair(n, moment):
        replicas[n].rest_until(moment)
        plan_break(n, moment)
        if was_off[n]:
            replicas[n].mood = OFF
            scale(group_of[n], moment)
        else:
            come_up(n, moment)

    def choose(request, moment, able, up, has):
        routing = fleets[0].routing
        if routing == "round-robin":
            n = next((n for n in up if n >= turns.get(able, 0)), up[0])
            turns[able] = n + 1
            return n
        if routing == "least-tokens":
            return min(up, key=lambda n: (sum(r.prompt + r.output for r in has[n]), n))
        room = [n for n in up if len(has[n]) < fleets[n].queue_limit]
        if routing == "least-outstanding" or not room:
            return min(up, key=lambda n: (len(has[n]), n))

        def joules(n):
            return added(request, group_of[n], len(has[n])) + replicas[n].wake_joules(moment)

        return min(room, key=lambda n: (joules(n), len(has[n]), n))

    def give(request, moment):
        able = may[request.number]
        up = [n for n in numbers if group_of[n] in able and replicas[n].mood == IDLE]
        if not up:
            pending.append(request)
            return
        has = [replicas[n].outstanding() for n in numbers]
        n = choose(request, moment, tuple(sorted(able)), up, has)
        request.row["replica"] = n
        if not replicas[n].take(request, moment):
            done.add(request.number)
        scale(group_of[n], moment)

    for fleet, members in groups:
        for replica in members[fleet.scaling.least :] if fleet.scaling else []:
            replica.mood = OFF
    for n in numbers:
        plan_break(n, 0.0)
    to_arrive = sorted(requests, key=lambda r: (r.arrival, r.number))
    while len(done) < len(requests):
        moments = [entry[0] for entry in agenda] + [r.arrival for r in to_arrive[:1]]
        moment = min(moments + [replica.next_time() for replica in replicas])
        for n, replica in enumerate(replicas):
            before = len(replica.done)
            if replica.next_time() <= moment:
                replica.run_to(moment, bool(to_arrive))
            done.update(r.number for r in replica.done)
            if len(replica.done) > before and not replica.outstanding():
                fall_idle(n, moment)
        for entry in [entry for entry in agenda if entry[0] <= moment]:
            agenda.remove(entry)
            if len(done) < len(requests):
                entry[1](entry[0])
        while to_arrive and to_arrive[0].arrival <= moment:
            give(to_arrive.pop(0), moment)
    end = max(replica.now for replica in replicas)
    for n, replica in enumerate(replicas):
        if breaks[n] < replica.now:
            replica.fail(breaks[n])
            replica.mood = FAILED
        replica.rest_until(end)
    return end
