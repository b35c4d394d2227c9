"""Time that passes only when somebody sleeps.

In: ``sleep_s`` calls. Out: ``now_s``; whoever follows the clock is told of every span that passes.
"""

from collections.abc import Callable


class VirtualClock:
    """A :class:`calibrate.bench.Clock` on which an hour takes no time."""

    def __init__(self, now_s: float = 0.0) -> None:
        self._now_s = now_s
        self._followers: list[Callable[[float, float], None]] = []

    def now_s(self) -> float:
        """Return seconds since the clock was made."""
        return self._now_s

    def sleep_s(self, duration_s: float) -> None:
        """Let ``duration_s`` seconds pass at once; negative spans pass nothing."""
        start_s = self._now_s
        self._now_s += max(duration_s, 0.0)
        for follower in self._followers:
            follower(start_s, self._now_s)

    def set(self, now_s: float) -> None:
        """Jump to ``now_s``; nobody lives through what lies between."""
        self._now_s = now_s

    def follow(self, follower: Callable[[float, float], None]) -> None:
        """Call ``follower(start_s, end_s)`` for every span that passes from now on."""
        self._followers.append(follower)
