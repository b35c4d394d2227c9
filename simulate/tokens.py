"""When every token was made, kept only where somebody asks for it.

In: steps of engines that batch, as they end. Out: columns of all tokens, request by request.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.work import Array


@dataclass(frozen=True)
class TokenTimes:
    """Every token, request by request in the order in which they were made, shape (tokens,)."""

    request: NDArray[np.int32]
    time_s: Array

    @property
    def number(self) -> NDArray[np.int64]:
        """Which token of its request each is, from 0 on, shape (tokens,)."""
        begins = np.flatnonzero(np.diff(self.request, prepend=-1))
        sizes = np.diff(np.append(begins, self.request.size))
        return np.arange(self.request.size) - np.repeat(begins, sizes)

    def gaps_s(self, requests: NDArray[np.bool_]) -> Array:
        """Return every gap between two tokens of one of ``requests``, a mask of shape (n,)."""
        chosen = requests[self.request]
        request, time_s = self.request[chosen], self.time_s[chosen]
        return np.asarray(np.diff(time_s)[np.diff(request) == 0])

    @staticmethod
    def joined(parts: Sequence["TokenTimes"]) -> "TokenTimes":
        """Return the tokens of all ``parts``; a request's are in the order of their times."""
        request = np.concatenate([part.request for part in parts])
        time_s = np.concatenate([part.time_s for part in parts])
        order = np.lexsort((time_s, request))
        return TokenTimes(request[order], time_s[order])


class TokenLog:
    """Collects tokens: a pair of short arrays for each run of equal steps."""

    def __init__(self) -> None:
        self._requests: list[NDArray[np.int32]] = []
        self._times_s: list[Array] = []

    def add(self, requests: Sequence[int], times_s: Array) -> None:
        """Note that each of ``requests`` got a token at each of ``times_s``."""
        self._requests.append(np.array(requests, dtype=np.int32))
        self._times_s.append(np.array(times_s, dtype=np.float64))

    def tokens(self, start_s: Array) -> TokenTimes:
        """Return all tokens but those made before the request's start, in attempts that failed.

        ``start_s`` of shape (n,).
        """
        pairs = list(zip(self._requests, self._times_s, strict=True))
        if not pairs:
            return TokenTimes(np.zeros(0, dtype=np.int32), np.zeros(0))
        request = np.concatenate([np.repeat(r, t.size) for r, t in pairs])
        time_s = np.concatenate([np.tile(t, r.size) for r, t in pairs])
        kept = time_s > start_s[request]
        return TokenTimes.joined([TokenTimes(request[kept], time_s[kept])])
