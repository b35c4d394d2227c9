"""Points on the cores of this machine: one process each, and another where one dies.

In: tasks. Out: their rows as they are done. A task whose process dies is run again by another; one
that always dies so is given up.
"""

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any

from phasewatt.errors import BadOption, UserError
from phasewatt.processes import starting_workers
from simulate.sweep.figures import refused
from simulate.sweep.task import Row, Task, run_task

TRIES = 4
"""How often a task may take its process along before it is given up, as Dask's default has it."""

GIVEN_UP = "given up: each worker that began it died"


class PointFailed(RuntimeError):
    """A point ended in an exception that is nobody's input: its text holds the traceback."""


def run_here(tasks: Sequence[Task]) -> Iterator[Row]:
    """Yield the row of each task, run in this process."""
    return map(run_task, tasks)


def run_in_processes(tasks: Sequence[Task], jobs: int) -> Iterator[Row]:
    """Yield the row of each task as it is done, by ``jobs`` processes of this machine.

    Raises:
        BadOption: processes cannot begin: the program that called has no ``__main__`` guard.
        Elsewhere: see :func:`simulate.sweep.task.run_task`.
        PointFailed: a point ended in a traceback.
    """
    waiting = deque(tasks)
    deaths: Counter[str] = Counter()
    workers = [_Worker() for _ in range(min(jobs, len(tasks)))]
    try:
        while waiting or any(worker.task for worker in workers):
            for worker in workers:
                if worker.task is None and waiting:
                    worker.give(waiting.popleft())
            busy = {worker.connection: worker for worker in workers if worker.task}
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                task = worker.task
                assert task is not None
                answer = worker.answer()
                if answer is not None:
                    yield answer
                    continue
                deaths[task.digest] += 1
                if deaths[task.digest] < TRIES:
                    waiting.appendleft(task)
                else:
                    yield refused(task.digest, GIVEN_UP)
                workers[workers.index(worker)] = _Worker()
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    """A process, and this end of the pipe to it; ``task`` is what it is at, None while idle."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([_work.__module__])
        self.connection, theirs = context.Pipe()
        self.task: Task | None = None
        self._process: ForkServerProcess = context.Process(
            target=_work, args=(theirs,), daemon=True
        )
        with starting_workers():
            self._process.start()
        # Ours would keep the pipe open after the process has died.
        theirs.close()
        self._begun = False

    def give(self, task: Task) -> None:
        """Send ``task``; if the process is gone, its answer will say so."""
        self.task = task
        with contextlib.suppress(OSError):
            self.connection.send(task)

    def answer(self) -> Row | None:
        """Return the row of the task, and be idle; None if the process died over it."""
        try:
            if not self._begun:
                self._begun = self.connection.recv()
            kind, what = self.connection.recv()
        except (EOFError, OSError):
            if not self._begun:
                raise BadOption(
                    "--jobs: worker processes end before they begin: a program that sweeps does so "
                    'under `if __name__ == "__main__":`, or with jobs=1'
                ) from None
            self.stop()
            return None
        self.task = None
        if kind == "failed":
            raise PointFailed(what)
        if kind == "refused":
            raise what
        row: Row = what
        return row

    def stop(self) -> None:
        """End the process, whatever it is at."""
        self.connection.close()
        self._process.kill()
        self._process.join()


def _work(connection: Connection) -> None:
    """Run the tasks that come, until the other end is closed."""
    # Ctrl-C is the parent's to handle; a closed pipe ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection.send(True)
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        try:
            answer: tuple[str, Any] = ("done", run_task(task))
        except UserError as error:
            answer = ("refused", error)
        except Exception:
            answer = ("failed", traceback.format_exc())
        connection.send(answer)
