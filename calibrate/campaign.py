"""Runs a campaign: from a rig and options to a log that holds everything that was measured.

In: a :class:`calibrate.rig.Rig`, a :class:`calibrate.sweep.Sweep`, a log to begin or to go on with,
and a budget. Out: the finished :class:`calibrate.log.Log`; clocks are as they were.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from calibrate.bench import Bench, OutOfMemory
from calibrate.clocks import ClockLock, clear_leftover, locked_clocks, refuse_if_busy
from calibrate.design import FEWEST_PER_SERIES, Design, next_cell, plan_design
from calibrate.gpu import Kind
from calibrate.log import (
    SCHEMA,
    SCHEMA_VERSION,
    Appender,
    BadLog,
    Header,
    Idle,
    Log,
    Measured,
    Moments,
    Record,
    Skipped,
    Software,
    appending,
)
from calibrate.measure import Measurement, MeasurePlan, measure, measure_idle, measure_mixed
from calibrate.rig import Rig
from calibrate.steer import LONGEST_STEP_S, gemms_for
from calibrate.strategy import choose_strategy, may_lock
from calibrate.sweep import Cell, Strategy, Sweep, require_clocks, spread_clocks
from calibrate.window import NoEnergy
from phasewatt import __version__

WARM_UP_S = 20.0
"""How long the first point runs before it is measured: a board warms within tens of seconds."""

COLDER_C = 25.0
"""A die that is colder than at the end of the last record by this much has rested, and is warmed up
again. A change of load alone moves an H100 by up to 20 K within seconds (November 2026), which
:mod:`calibrate.heat` takes out of the power."""


@dataclass(frozen=True)
class Pace:
    """How long a campaign waits: to warm up, to rest before an idle window, in that window."""

    warm_up_s: float = WARM_UP_S
    rest_s: float = 3.0
    idle_s: float = 3.0


@dataclass(frozen=True)
class Campaign:
    """What to measure, how, and for how long; only the sweep may not differ when one is resumed.

    ``fewest`` is how many points of each series are measured even if they take longer than thought.
    """

    sweep: Sweep
    budget_s: float
    plan: MeasurePlan
    pace: Pace = Pace()
    fewest: int = FEWEST_PER_SERIES
    command: str = ""
    force: bool = False
    state_dir: Path | None = None


Found = TypeVar("Found")

Told = Callable[[Log, Design], None]
"""Called with the log after every record, and the design that it follows."""


def run_campaign(rig: Rig, campaign: Campaign, path: Path, told: Told | None = None) -> Log:
    """Measure until the budget is spent; return the log in ``path``, resumed if there is one.

    Raises:
        BadLog: ``path`` belongs to another campaign or GPU, or is no log.
        BadOption: a clock that the GPU does not have.
        UnsupportedGpu: GPU in use, MIG on, a model that does not fit, no permission, GPU lost.
        Unwritable: the log cannot be written.
    """
    sweep, clocks = campaign.sweep, rig.gpu.clock_range()
    require_clocks(sweep.sm_mhz, clocks, rig.identity)
    sweep.points(rig.identity.memory_bytes)
    with appending(path) as (found, appender):
        if found is not None:
            _require_same(path, found.header, rig, sweep)
            design = design_of(rig, campaign, found.header.strategy)
            if _finished(design, found):
                return found
        with _locked(rig, campaign) as lock, _looking(rig) as bench:
            log = found or _begin(rig, campaign, lock, bench)
            if found is None:
                appender.append(log.header)
            run = _Run(rig, campaign, design_of(rig, campaign, log.header.strategy), lock, bench)
            return run.to_the_end(log, appender, told or (lambda _log, _design: None))


def design_of(rig: Rig, campaign: Campaign, strategy: Strategy) -> Design:
    """Return the design of ``campaign`` if the clock is varied by ``strategy``.

    Raises:
        UnsupportedGpu: a model does not fit, or the driver lists no clocks to lock.
    """
    sweep = campaign.sweep
    if strategy is Strategy.LOCK and not sweep.sm_mhz:
        sweep = replace(sweep, sm_mhz=spread_clocks(rig.gpu.clock_range()))
    cells = sweep.cells(sweep.points(rig.identity.memory_bytes), strategy)
    rng = np.random.default_rng(sweep.seed)
    return plan_design(cells, campaign.budget_s, campaign.plan, rng, campaign.fewest)


@contextmanager
def _locked(rig: Rig, campaign: Campaign) -> Iterator[ClockLock | None]:
    """Yield the lock where clocks may be locked; refuse a GPU that others use."""
    if may_lock(rig.gpu, campaign.sweep.strategy):
        with locked_clocks(rig.gpu, campaign.state_dir, force=campaign.force) as lock:
            yield lock
        return
    refuse_if_busy(rig.gpu, force=campaign.force)
    if rig.identity.kind is Kind.MEASURED:
        clear_leftover(rig.gpu, campaign.state_dir, force=campaign.force)
    yield None


@contextmanager
def _looking(rig: Rig) -> Iterator[Bench]:
    """Yield the bench while the sampler looks."""
    bench = rig.open_bench()
    try:
        rig.sampler.start()
        yield bench
    finally:
        rig.sampler.stop()
        bench.release()


def _begin(rig: Rig, campaign: Campaign, lock: ClockLock | None, bench: Bench) -> Log:
    """Return a log that holds only its header."""
    strategy, reason = campaign.sweep.strategy, "as asked"
    if strategy is Strategy.AUTO:
        rig.renew(0, None)
        points = campaign.sweep.points(rig.identity.memory_bytes)
        bench.prepare(min(points, key=lambda p: p.batch * (p.prompt_tokens + p.context_tokens)))
        strategy, reason = choose_strategy(rig.gpu, lock, bench)
    header = Header(
        schema=SCHEMA,
        schema_version=SCHEMA_VERSION,
        phasewatt=__version__,
        date=datetime.now(UTC).date().isoformat(),
        command=campaign.command,
        sweep=campaign.sweep,
        strategy=strategy,
        strategy_reason=reason,
        gpu=rig.identity,
        clocks=rig.gpu.clock_range(),
        power_limit=rig.gpu.power_limit(),
        modes=rig.gpu.modes(),
        software={"phasewatt": __version__, **rig.software},
        host_gpus=None if rig.host is None else rig.host.gpus,
    )
    return Log(header, ())


@dataclass(frozen=True)
class _Run:
    """One sitting of a campaign."""

    rig: Rig
    campaign: Campaign
    design: Design
    lock: ClockLock | None
    bench: Bench

    def to_the_end(self, log: Log, appender: Appender, told: Told) -> Log:
        def add(record: Record) -> None:
            nonlocal log
            appender.append(record)
            log = replace(log, records=(*log.records, record))
            told(log, self.design)

        told(log, self.design)
        if not log.idle:
            self._renew(log)
            add(self._idle("before"))
        while (cell := next_cell(self.design, log)) is not None:
            last = self._renew(log)
            add(self._cell(cell, log, None if last is None else last.temperature_c))
            news = self._news(log)
            if news is not None:
                add(news)
        if not isinstance(log.records[-1], Idle):
            self._renew(log)
            add(self._idle("after"))
        return log

    def _renew(self, log: Log) -> Moments | None:
        last = log.records[-1].moments if log.records else None
        begun = None if last is None else (last.ended_s, last.temperature_c)
        self.rig.renew(len(log.records), begun)
        return last if log.measured else None

    def _idle(self, when: Literal["before", "after"]) -> Idle:
        began_s = self._now_s()
        if self.lock is not None:
            self.lock.restore()
        if when == "before":
            # Idle power is that of a GPU that holds a model; whatever fits first will do.
            with suppress(OutOfMemory):
                self.bench.prepare(self.design.first[0].point)
        self.rig.clock.sleep_s(self.campaign.pace.rest_s)
        idle_s = self.campaign.pace.idle_s
        window, host_w = self._with_host(
            lambda: measure_idle(self.rig.sampler, self.rig.clock, idle_s)
        )
        return Idle(when, window, self._moments(began_s), host_w)

    def _cell(self, cell: Cell, log: Log, was_c: float | None) -> Measured | Skipped:
        began_s = self._now_s()
        try:
            self.bench.prepare(cell.point)
            if was_c is None or self.rig.gpu.read().temperature_c < was_c - COLDER_C:
                self._warm_up()
            gemms = self._gemms(cell)
            if gemms is None:
                note = f"{cell.point}: a step longer than {LONGEST_STEP_S:g} s is not steered"
                return Skipped(cell, "length", note, self._moments(began_s))
            strategy = log.header.strategy
            found, host_w = self._with_host(lambda: self._measure(cell, gemms, strategy))
        except OutOfMemory as error:
            return Skipped(cell, "memory", str(error), self._moments(began_s))
        return Measured(cell, found, self._moments(began_s), host_w)

    def _with_host(self, attempt: Callable[[], Found]) -> tuple[Found, float | None]:
        """Return what ``attempt`` finds, and the host's mean power meanwhile, where it is told."""
        host, began_s = self.rig.host, self._now_s()
        if host is None:
            return _again(attempt), None
        before = host.look()
        found = _again(attempt)
        return found, host.mean_w(before, host.look(), self._now_s() - began_s)

    def _measure(self, cell: Cell, gemms: int, strategy: Strategy) -> Measurement:
        rig, plan = self.rig, self.campaign.plan
        if strategy is not Strategy.LOCK:
            # Also the step alone: its clock is then read by the same kernel as the mixtures'.
            return measure_mixed(
                self.bench, rig.gpu, rig.sampler, rig.clock, cell.point, gemms, plan
            )
        if self.lock is not None:
            if cell.sm_mhz is None:
                self.lock.restore()
            else:
                self.lock.lock_sm(cell.sm_mhz)
        return measure(self.bench, rig.gpu, rig.sampler, rig.clock, cell.point, cell.sm_mhz, plan)

    def _gemms(self, cell: Cell) -> int | None:
        """Return how many GEMMs go before each step; None for a step too long to steer."""
        if cell.gemm_ratio == 0:
            return 0
        step_s = float(np.median(self.bench.run(3).step_time_s))
        if step_s > LONGEST_STEP_S:
            return None
        gemm_s = float(np.median(self.bench.run_mixed(3, 1).gemm_time_s))
        return gemms_for(cell.gemm_ratio, step_s, gemm_s)

    def _warm_up(self) -> None:
        until_s = self._now_s() + self.campaign.pace.warm_up_s
        step_s = float(np.median(self.bench.run(3).step_time_s))
        while self._now_s() < until_s:
            self.bench.run(max(math.ceil(1.0 / step_s), 1))

    def _news(self, log: Log) -> Software | None:
        """Return what the bench tells of itself that the log does not know."""
        known, now_s = log.software, self._now_s()
        news = {k: v for k, v in self.bench.versions().items() if known.get(k) != v}
        return Software(news, self._moments(now_s)) if news else None

    def _moments(self, began_s: float) -> Moments:
        return Moments(began_s, self._now_s(), self.rig.gpu.read().temperature_c)

    def _now_s(self) -> float:
        return self.rig.clock.now_s()


def _again(attempt: Callable[[], Found]) -> Found:
    """Return what ``attempt`` finds, at the second go if a hiccup of the machine cut the first."""
    try:
        return attempt()
    except NoEnergy:
        return attempt()


def _finished(design: Design, log: Log) -> bool:
    ended = bool(log.records) and isinstance(log.records[-1], Idle) and len(log.idle) > 1
    return ended and next_cell(design, log) is None


def _require_same(path: Path, header: Header, rig: Rig, sweep: Sweep) -> None:
    """Refuse to mix measurements of two GPUs, drivers or sets of options in one log."""
    pairs = [
        (
            "GPU",
            f"{header.gpu.name} ({header.gpu.uuid})",
            f"{rig.identity.name} ({rig.identity.uuid})",
        ),
        ("driver", header.gpu.driver, rig.identity.driver),
        ("power limit", header.power_limit.enforced_w, rig.gpu.power_limit().enforced_w),
    ]
    pairs += [
        (_OPTIONS.get(name, f"--{name.replace('_', '-')}"), was, value)
        for (name, was), value in zip(vars(header.sweep).items(), vars(sweep).values(), strict=True)
    ]
    for what, was, now in pairs:
        if _word(was) != _word(now):
            raise BadLog(
                f"{path}: was begun with {what} {_word(was)}, not {_word(now)}: pass another --log"
            )


_OPTIONS = {"strategy": "--clocks", "shapes": "model shapes"}


def _word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
