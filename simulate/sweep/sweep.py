"""A sweep from words to rows: what is done is taken from the store, the rest runs.

In: words, axes, where to keep rows, where to run. Out: a :class:`Sweep`, the same whatever ran it
and however often it was cut off.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

import traces
from model.calibration import Calibration
from model.calibration import load as load_calibration
from phasewatt.errors import BadOption, UserError
from simulate.inputs import loaded_trace
from simulate.sweep.axes import Axis
from simulate.sweep.cluster import run_on_cluster
from simulate.sweep.digest import digest_of, digest_of_file, files_of, name_of_trace
from simulate.sweep.figures import SCHEMA
from simulate.sweep.front import Circumstance, circumstances_of, require_weighed
from simulate.sweep.plan import Plan, Point, plan_of
from simulate.sweep.processes import GIVEN_UP, run_here, run_in_processes
from simulate.sweep.store import Store
from simulate.sweep.task import Row, Task
from simulate.sweep.warned import warnings_of
from simulate.words import Words, command_line
from traces import Trace


@dataclass(frozen=True)
class Sweep:
    """All points of a plan with their rows.

    Attributes:
        plan: the points.
        rows: of each point, in order, by the columns of :data:`simulate.sweep.figures.SCHEMA`.
        latency: what energy is weighed against, such as ``e2e_p95``.
        circumstances: the choices that compete, with their Pareto fronts.
        sources: see :class:`Prepared`.
        warnings: what a reader must know, one sentence each.
    """

    plan: Plan
    rows: tuple[Row, ...]
    latency: str
    circumstances: tuple[Circumstance, ...]
    sources: dict[str, Any]
    warnings: tuple[str, ...]

    def table(self) -> pa.Table:
        """Return one row per point: its axes, policy, repeat, figures, front and command line."""
        on_front = {p.number for each in self.circumstances for c in each.front for p in c.points}
        points = self.plan.points
        columns: dict[str, object] = {
            axis.column: [point.at[axis.column] for point in points]
            for axis in self.plan.axes
            if axis.column in points[0].at
        }
        columns["policy"] = [point.policy for point in points]
        columns["seed"] = [point.seed for point in points]
        columns["mark"] = [point.is_mark for point in points]
        columns["pareto"] = [point.number in on_front for point in points]
        figures = pa.Table.from_pylist(list(self.rows), SCHEMA).drop_columns(["sized_replicas"])
        for name in figures.column_names:
            columns[name] = figures[name]
        columns["command"] = [self.command(point) for point in points]
        return pa.table(columns)

    def command(self, point: Point) -> str:
        """Return the command line that replays ``point``, the size of its fleet written out."""
        sized = self.rows[point.number]["sized_replicas"]
        found = {} if sized is None else {"replicas": str(sized)}
        return command_line({**point.words, **found})


@dataclass(frozen=True)
class Prepared:
    """A plan whose points have digests, so that what is done is found.

    Attributes:
        plan: the points.
        tasks: one a point.
        sources: where ``traces`` come from, one each, and ``calibrations``, by what the words call
            them, with their digests, as plain values.
    """

    plan: Plan
    tasks: tuple[Task, ...]
    sources: dict[str, Any]

    def store(self, directory: Path | None) -> Store:
        """Return a store in ``directory`` with those rows that it holds already.

        Raises:
            Unwritable: ``directory`` is a file, or cannot be written.
        """
        store = Store(directory)
        store.read([task.digest for task in self.tasks])
        return store

    def missing(self, store: Store) -> tuple[Task, ...]:
        """Return the tasks whose rows ``store`` does not hold, each once."""
        wanted = {task.digest: task for task in self.tasks if task.digest not in store}
        return tuple(wanted.values())


Engine = Callable[[Sequence[Task]], Iterator[Row]]
"""Runs tasks and yields their rows in any order."""


def sweep(
    words: Words,
    axes: Sequence[Axis] = (),
    *,
    seeds: int = 1,
    latency: str = "e2e_p95",
    directory: Path | None = None,
    jobs: int | None = None,
    dask: str | None = None,
    advance: Callable[[int], None] = lambda _n: None,
) -> Sweep:
    """Replay every point of ``axes`` at once and return their rows.

    Rows are kept in ``directory``, and taken from there where words, trace, calibration, files and
    version are the same; None keeps nothing. ``jobs`` processes run the others (None: as many as
    there are cores; 1: this one), or the workers of the Dask scheduler at ``dask``.

    Raises:
        UserError: something is wrong with the words or axes, or every point is refused.
    """
    prepared = prepare_sweep(words, axes, seeds, latency)
    with prepared.store(directory) as store:
        return run_sweep(prepared, store, engine_of(jobs, dask), latency, advance)


def prepare_sweep(
    words: Words, axes: Sequence[Axis], seeds: int = 1, latency: str = "e2e_p95"
) -> Prepared:
    """Return the points with their digests; every trace and calibration is read for it.

    Raises:
        UserError: see :func:`sweep`.
    """
    require_weighed(latency)
    plan = plan_of(words, axes, seeds)
    told_traces: list[dict[str, Any]] = []
    told_calibrations: dict[str, dict[str, Any]] = {}
    of_traces: dict[tuple[Any, ...], str] = {}
    of_calibrations: dict[str, str] = {}
    of_file = cache(digest_of_file)
    tasks = []
    for point in plan.points:
        words = point.words
        name, named = name_of_trace(words), words["calibration"]
        if name not in of_traces:
            trace = loaded_trace(words)
            of_traces[name] = traces.digest(trace)
            told_traces.append(_of_trace(trace, of_traces[name]))
        if named not in of_calibrations:
            calibration = load_calibration(named)
            of_calibrations[named] = calibration.digest
            told_calibrations[named] = _of_calibration(calibration, of_calibrations[named])
        sized_for = plan.policies if words["replicas"] == "auto" else ()
        files = {file: of_file(file) for file in files_of(words, sized_for)}
        parts = (words, sized_for, of_traces[name], of_calibrations[named], files)
        tasks.append(Task(digest_of(*parts), *parts))
    sources = {"traces": told_traces, "calibrations": told_calibrations}
    return Prepared(plan, tuple(tasks), sources)


def engine_of(jobs: int | None = None, dask: str | None = None) -> Engine:
    """Return what runs tasks: ``jobs`` processes, all cores if None, or the cluster ``dask``.

    Raises:
        BadOption: both are named, or ``jobs`` is no number of processes.
    """
    if dask is not None:
        if jobs is not None:
            raise BadOption("--jobs is for this machine: leave it out beside --dask")
        return lambda tasks: run_on_cluster(tasks, dask)
    count = len(os.sched_getaffinity(0)) if jobs is None else jobs
    if count < 1:
        raise BadOption(f"--jobs: found {count}; expected 1 or more")
    if count == 1:
        return run_here
    return lambda tasks: run_in_processes(tasks, count)


def run_sweep(
    prepared: Prepared,
    store: Store,
    engine: Engine,
    latency: str = "e2e_p95",
    advance: Callable[[int], None] = lambda _n: None,
) -> Sweep:
    """Run the points that ``store`` lacks, keep each as it is done, and return all.

    ``advance`` is told of each row that is there. A point that was given up is not kept.

    Raises:
        UserError: every point is refused, with the reason of the first; see also the engines.
    """
    missing = prepared.missing(store)
    advance(len(prepared.tasks) - len(missing))
    given_up: dict[str, Row] = {}
    if missing:
        for row in engine(missing):
            if row["error"] == GIVEN_UP:
                given_up[row["digest"]] = row
            else:
                store.keep(row)
            advance(1)
    rows = tuple(given_up.get(task.digest) or store[task.digest] for task in prepared.tasks)
    if all(row["error"] is not None for row in rows):
        raise UserError(rows[0]["error"])
    plan = prepared.plan
    return Sweep(
        plan,
        rows,
        latency,
        circumstances_of(plan, rows, latency),
        prepared.sources,
        warnings_of(plan, rows),
    )


def _of_trace(trace: Trace, found: str) -> dict[str, Any]:
    return {
        "name": trace.name,
        "requests": len(trace),
        "source": trace.source.description,
        "kind": trace.source.kind,
        "digest": found,
    }


def _of_calibration(calibration: Calibration, found: str) -> dict[str, Any]:
    return {
        "name": calibration.name,
        "gpu": calibration.gpu.name,
        "provenance": asdict(calibration.provenance),
        "digest": found,
    }
