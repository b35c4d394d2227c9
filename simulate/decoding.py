"""The sequences that one replica decodes: their contexts, their ends, the blocks that they fill.

In: sequences that join with cached tokens and leave, and steps, in each of which all gain a token.
Out: which end when, and how many blocks that takes. Each change costs the same for any batch.
"""

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from simulate.batching import BLOCK_TOKENS


class Decoding:
    """Sequences in the order of their admission, each named by one of ``requests`` requests.

    ``context_tokens`` are those that the next step attends to, over all of them.
    """

    def __init__(self, requests: int) -> None:
        self.context_tokens = 0
        self._many = max(requests, 1)
        # All of them gain a token in each step, so each is told by what stays: its cached tokens
        # less the steps made so far.
        self._bases: dict[int, int] = {}
        self._made = 0
        self._ends: dict[int, int] = {}
        self._next_ends: list[int] = []
        # How many of them fill their last block at a step, by that step's number modulo a block.
        self._filling = [0] * BLOCK_TOKENS

    def __len__(self) -> int:
        return len(self._bases)

    def __contains__(self, request: int) -> bool:
        return request in self._bases

    def __iter__(self) -> Iterator[int]:
        return iter(self._bases)

    def last(self) -> int:
        """Return the request admitted last."""
        return next(reversed(self._bases))

    def cached(self, request: int) -> int:
        """Return the tokens of ``request`` in the KV cache."""
        return self._bases[request] + self._made

    def blocks_of_next(self, request: int) -> int:
        """Return the blocks, 0 or 1, that the next token of ``request`` takes."""
        return int((self._bases[request] + self._made) % BLOCK_TOKENS == 0)

    def blocks_of_step(self) -> int:
        """Return the blocks that the next step takes."""
        return self._filling[self._made % BLOCK_TOKENS]

    def blocks_in(self, steps: int) -> int:
        """Return the blocks that the next ``steps`` steps take."""
        rounds, rest = divmod(steps, BLOCK_TOKENS)
        blocks = rounds * len(self._bases)
        for step in range(self._made, self._made + rest):
            blocks += self._filling[step % BLOCK_TOKENS]
        return blocks

    def join(self, request: int, cached: int, remaining: int) -> None:
        """Let ``request`` decode ``remaining`` tokens, 1 or more, with ``cached`` ones cached."""
        base = cached - self._made
        self._bases[request] = base
        self._filling[-base % BLOCK_TOKENS] += 1
        self.context_tokens += cached + 1
        self._ends[request] = self._made + remaining
        heappush(self._next_ends, (self._made + remaining) * self._many + request)

    def leave(self, request: int) -> int:
        """Take ``request`` out; return how many tokens it had cached."""
        base = self._bases.pop(request)
        cached = base + self._made
        self._filling[-base % BLOCK_TOKENS] -= 1
        self.context_tokens -= cached + 1
        del self._ends[request]
        return cached

    def reorder(self, admitted: Iterable[int]) -> None:
        """Put those of ``admitted`` that decode last, in that order."""
        for request in admitted:
            if request in self._bases:
                self._bases[request] = self._bases.pop(request)

    def advance(self, steps: int) -> list[tuple[int, int]]:
        """Make ``steps`` steps; take out those that are done, each with its cached tokens."""
        self._made += steps
        self.context_tokens += len(self._bases) * steps
        done: list[tuple[int, int]] = []
        while self._next_ends and self._next_ends[0] < (self._made + 1) * self._many:
            end, request = divmod(heappop(self._next_ends), self._many)
            if self._ends.get(request) == end:
                done.append((request, self.leave(request)))
        return done

    def steps_until_change(self, free_blocks: int) -> int:
        """Return the steps until the next sequence ends or ``free_blocks`` run out."""
        while True:
            end, request = divmod(self._next_ends[0], self._many)
            if self._ends.get(request) == end:
                break
            heappop(self._next_ends)
        steps = end - self._made
        if self.blocks_in(steps) <= free_blocks:
            return steps
        rounds, spare = divmod(free_blocks, len(self._bases))
        steps = rounds * BLOCK_TOKENS
        while self._filling[(self._made + steps) % BLOCK_TOKENS] <= spare:
            spare -= self._filling[(self._made + steps) % BLOCK_TOKENS]
            steps += 1
        return steps
