"""Worker processes that import what their parent imports, wherever they are started.

In: nothing. Out: a context in which Python processes are started.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def starting_workers() -> Iterator[None]:
    """Keep processes that are started inside from looking for modules in the working directory.

    A fork server begins as ``python -c``, which looks there first: a folder ``model`` of the user's
    would be taken for ours.
    """
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
