"""A replay that is slow and obvious: plain lists, one query after another, no event loop.

A query's fate depends only on the queries before it, so each is walked through to its end before
the next one is looked at. Written from what the replay promises, not from how it does it.
"""

from dataclasses import dataclass, field

from slow_routing import route

IDLE, SWITCHING, PREFILL, DECODE = 0, 1, 2, 3


@dataclass
class Gpu:
    """One replica: its diary as (state, start, duration, clock, watts) and what it has promised."""

    clock: float | None
    power: float
    now: float = 0.0
    unlocked_at: float = float("-inf")
    diary: list = field(default_factory=list)
    finishes: list = field(default_factory=list)


def replay_slowly(arrivals, tokens, phases, fleet, off_clock):
    """Replay by hand.

    ``tokens`` are prompt and output of each query together.
    ``phases[query]`` holds (seconds, watts, held MHz, requested MHz) of prefill, then of decode.
    ``off_clock(query, phase_number, mhz)`` gives seconds, watts and held MHz. Returns one dict a
    query, the diary of each replica, and the end.
    """
    gpus = [Gpu(fleet.idle_mhz, fleet.idle_power_w) for _ in range(fleet.replicas)]
    rows = []
    for query, arrival in enumerate(arrivals):
        has = [
            [q for q, row in enumerate(rows) if row["replica"] == n and row["finish"] > arrival]
            for n in range(len(gpus))
        ]
        alone_j = sum(
            seconds * (watts - fleet.idle_power_w) for seconds, watts, *_ in phases[query]
        )
        number = route(
            *(fleet, query, [len(h) for h in has], [sum(tokens[q] for q in h) for h in has]),
            lambda _number, alone_j=alone_j: alone_j,
        )
        gpu = gpus[number]
        if arrival >= gpu.now:
            fall_idle(gpu, fleet, first=not gpu.finishes)
            wait(gpu, arrival, fleet)
        rows.append(serve(gpu, query, phases[query], fleet, off_clock) | {"replica": number})
    for gpu in gpus:
        if gpu.finishes and gpu.now <= arrivals[-1]:
            fall_idle(gpu, fleet, first=False)
    end = max(gpu.now for gpu in gpus)
    for gpu in gpus:
        wait(gpu, end, fleet)
    return rows, [gpu.diary for gpu in gpus], end


def fall_idle(gpu, fleet, first):
    wanted = fleet.idle_mhz
    if not first and wanted is not None and gpu.clock != wanted and gpu.now >= gpu.unlocked_at:
        switch(gpu, wanted, wanted, fleet.idle_power_w, fleet)
    gpu.power = fleet.idle_power_w


def wait(gpu, until, fleet):
    if until > gpu.now:
        gpu.diary.append((IDLE, gpu.now, until - gpu.now, None, fleet.idle_power_w))
        gpu.now = until


def switch(gpu, wanted, held, power_after, fleet):
    """Joules that the change of clock takes."""
    free = gpu.clock is None
    gpu.clock = wanted
    if free:
        return 0.0
    stall, watts = fleet.switch_latency_s, max(gpu.power, power_after)
    if stall > 0:
        gpu.diary.append((SWITCHING, gpu.now, stall, held, watts))
    gpu.now += stall
    gpu.unlocked_at = gpu.now + fleet.min_dwell_s
    return stall * watts


def serve(gpu, query, phases, fleet, off_clock):
    row = {"start": gpu.now, "switching_j": 0.0}
    for number, (seconds, watts, held, wanted) in enumerate(phases):
        state = PREFILL + number
        joules = 0.0
        done = 0.0
        must_keep = gpu.clock not in (None, wanted) and gpu.now < gpu.unlocked_at
        if seconds > 0 and must_keep:
            slow_seconds, slow_watts, slow_held = off_clock(query, number, gpu.clock)
            ran = min(slow_seconds, gpu.unlocked_at - gpu.now)
            gpu.diary.append((state, gpu.now, ran, slow_held, slow_watts))
            joules += ran * slow_watts
            gpu.now += ran
            gpu.power = slow_watts
            done = ran / slow_seconds
        rest = (1 - done) * seconds
        if rest > 0:
            if gpu.clock != wanted:
                row["switching_j"] += switch(gpu, wanted, held, watts, fleet)
            gpu.diary.append((state, gpu.now, rest, held, watts))
            joules += rest * watts
            gpu.now += rest
            gpu.power = watts
        row["first_token" if number == 0 else "finish"] = gpu.now
        row["prefill_j" if number == 0 else "decode_j"] = joules
    gpu.finishes.append(gpu.now)
    return row
