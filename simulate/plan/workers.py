"""Runs side by side: tasks go to processes, and what waits for them goes on when they are done.

In: tasks, and generators that ask for tasks. Out: results, the same whatever the number of
processes: what a generator does depends on nothing but what its own tasks gave.
"""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Generator, Hashable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from types import TracebackType
from typing import Any, Generic, TypeVar

from phasewatt.errors import UserError
from phasewatt.processes import starting_workers

Task = TypeVar("Task", bound=Hashable)
Result = TypeVar("Result")
Found = TypeVar("Found")

Asking = Generator[Sequence[Task], list[Result], Found]
"""Yields tasks, is sent their results, and returns what it found."""


class Workers(Generic[Task, Result]):
    """``jobs`` processes that do ``work``; each task is done once, and its result is kept."""

    def __init__(
        self,
        work: Callable[[Task], Result],
        jobs: int,
        advance: Callable[[int], None] = lambda _n: None,
    ) -> None:
        """Start nothing yet; ``advance`` is told of every task that is done."""
        self._work, self._advance = work, advance
        self._done: dict[Task, Future[Result]] = {}
        self._pool: ProcessPoolExecutor | None = None
        if jobs > 1:
            # Forked processes load nothing again; but what other threads have locked stays locked.
            method = "fork" if threading.active_count() == 1 else "forkserver"
            context = multiprocessing.get_context(method)
            self._pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin)

    def __enter__(self) -> "Workers[Task, Result]":
        """Return the workers."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the processes, and of what they had not begun."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    @property
    def count(self) -> int:
        """How many tasks there were."""
        return len(self._done)

    def results(self, tasks: Sequence[Task]) -> list[Result]:
        """Return the result of each of ``tasks``."""
        return [each.result() for each in self._futures(tasks)]

    def drive(self, searches: Sequence[Asking[Task, Result, Found]]) -> list[Found]:
        """Return what each of ``searches`` found, all of them asking side by side.

        A mistake of the user's that a task meets is raised where its search asked for it.
        """
        found: dict[int, Any] = {}
        waiting: dict[int, list[Future[Result]]] = {}

        def resume(which: int, send: Callable[[], Sequence[Task]]) -> None:
            try:
                waiting[which] = self._futures(send())
            except StopIteration as end:
                found[which] = end.value

        for which, search in enumerate(searches):
            resume(which, lambda search=search: next(search))  # type: ignore[misc]
        while waiting:
            ready = [which for which, asked in waiting.items() if all(f.done() for f in asked)]
            for which in ready:
                asked, search = waiting.pop(which), searches[which]
                error = next((e for e in (f.exception() for f in asked) if e is not None), None)
                if isinstance(error, UserError):
                    resume(which, lambda s=search, e=error: s.throw(e))  # type: ignore[misc]
                elif error is not None:
                    raise error
                else:
                    results = [f.result() for f in asked]
                    resume(which, lambda s=search, r=results: s.send(r))  # type: ignore[misc]
            if not ready:
                pending = {f for asked in waiting.values() for f in asked if not f.done()}
                wait(pending, return_when=FIRST_COMPLETED)
        return [found[which] for which in range(len(searches))]

    def _futures(self, tasks: Sequence[Task]) -> list[Future[Result]]:
        for task in tasks:
            if task not in self._done:
                self._done[task] = self._started(task)
        return [self._done[task] for task in tasks]

    def _started(self, task: Task) -> Future[Result]:
        if self._pool is not None:
            with starting_workers():
                future = self._pool.submit(self._work, task)
            future.add_done_callback(lambda _f: self._advance(1))
            return future
        future = Future()
        try:
            future.set_result(self._work(task))
        except UserError as error:
            future.set_exception(error)
        self._advance(1)
        return future


def _begin() -> None:
    """Let signals end a process without a word: who started it tells what happened."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)
