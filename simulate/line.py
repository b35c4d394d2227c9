"""The line in which requests wait for one replica: first come first served, or by priority.

In: requests as they arrive or are preempted. Out: whose turn it is. Pure state.
"""

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Protocol


class Line(Protocol):
    """Requests that wait; only the first of them may be taken."""

    def __len__(self) -> int: ...

    def join(self, request: int) -> None:
        """Let ``request`` wait."""
        ...

    def rejoin(self, request: int) -> None:
        """Let ``request``, which was taken before and preempted, wait again."""
        ...

    def first(self) -> int:
        """Return whose turn it is."""
        ...

    def last(self) -> int:
        """Return whose turn comes after all others'."""
        ...

    def leave(self) -> None:
        """Take the first from the line."""
        ...


class FirstCome:
    """First come first served; who was preempted waits at the head."""

    def __init__(self) -> None:
        self._line: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._line)

    def join(self, request: int) -> None:
        """Let ``request`` wait at the end."""
        self._line.append(request)

    def rejoin(self, request: int) -> None:
        """Let ``request`` wait at the head."""
        self._line.appendleft(request)

    def first(self) -> int:
        """Return who has waited longest."""
        return self._line[0]

    def last(self) -> int:
        """Return who came last."""
        return self._line[-1]

    def leave(self) -> None:
        """Take the first from the line."""
        self._line.popleft()


class ByPriority:
    """Those of the lowest number first, of equals the one that arrived first.

    ``priority`` is that of every request; requests are numbered as they arrive.
    """

    def __init__(self, priority: Sequence[int]) -> None:
        self._priority = priority
        self._line: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._line)

    def join(self, request: int) -> None:
        """Let ``request`` wait at its place."""
        heappush(self._line, (self._priority[request], request))

    def rejoin(self, request: int) -> None:
        """Let ``request`` wait at its place."""
        self.join(request)

    def first(self) -> int:
        """Return the first of those of the lowest number."""
        return self._line[0][1]

    def last(self) -> int:
        """Return the last of those of the highest number, in time proportional to the line."""
        return max(self._line)[1]

    def leave(self) -> None:
        """Take the first from the line."""
        heappop(self._line)
