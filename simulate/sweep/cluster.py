"""Points on a Dask cluster, for who outgrows one machine.

In: tasks, and the address of a scheduler. Out: their rows as they are done. The scheduler runs
again what a lost worker was at. It suspects all that a worker held of having killed it, up to its
``allowed-failures``; who is suspected so often is tried alone, and given up if that ends the same.
"""

import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from phasewatt.console import note
from phasewatt.errors import BadOption, UserError
from simulate.sweep.figures import refused
from simulate.sweep.processes import GIVEN_UP, PointFailed
from simulate.sweep.task import Row, Task, run_task

_CONNECT_S = 10


class ClusterLost(UserError):
    """The scheduler is gone, or has dropped what it was asked to do."""


def run_on_cluster(tasks: Sequence[Task], address: str) -> Iterator[Row]:
    """Yield the row of each task as it is done, by the workers of the scheduler at ``address``.

    Workers read traces and calibrations by the same paths as this process.

    Raises:
        BadOption: distributed is not installed, or no scheduler answers there.
        ClusterLost: the scheduler went away.
        Elsewhere: see :func:`simulate.sweep.task.run_task`.
        PointFailed: a point ended in a traceback.
    """
    try:
        from distributed import Client
    except ImportError:
        raise BadOption("--dask needs distributed: pip install 'phasewatt[dask]'") from None
    try:
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise BadOption(f"--dask: no scheduler answers at {address!r}: {error}") from None
    with client:
        if not client.scheduler_info()["workers"]:
            note(f"{address} has no workers yet: points wait for them")
        suspects = []
        for task, row in _each(client, tasks, address):
            if row is None:
                suspects.append(task)
            else:
                yield row
        for suspect in suspects:
            for task, row in _each(client, [suspect], address):
                yield refused(task.digest, GIVEN_UP) if row is None else row


def _each(client: Any, tasks: Sequence[Task], address: str) -> Iterator[tuple[Task, Row | None]]:
    """Yield each task as it ends, with its row; None where it is suspected of killing workers."""
    from distributed import KilledWorker, as_completed

    # Keys of their own: what another sweep has tried in vain is tried again.
    asked = {client.submit(run_task, task, pure=False): task for task in tasks}
    for future in as_completed(list(asked), loop=client.loop):
        task = asked.pop(future)
        if future.status == "cancelled":
            raise ClusterLost(f"--dask: the scheduler at {address} went away")
        failure = future.exception()
        if failure is None:
            yield task, future.result()
        elif isinstance(failure, KilledWorker):
            yield task, None
        elif isinstance(failure, UserError):
            raise failure
        else:
            raise PointFailed("".join(traceback.format_exception(failure)))
