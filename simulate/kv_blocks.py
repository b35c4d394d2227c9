"""The blocks of one replica's KV cache, counted: the seam that a scheduler takes them through.

In: requests that need room for their tokens. Out: whether they get it. Pure state. Where prompts
share blocks, :class:`simulate.prefix_cache.PrefixCache` stands in the place of the plain count.
"""

from collections.abc import Sequence
from typing import Protocol

from simulate.batching import BLOCK_TOKENS


def blocks_of(tokens: int) -> int:
    """Return the blocks that ``tokens`` fill or begin."""
    return -(-tokens // BLOCK_TOKENS)


class KvBlocks(Protocol):
    """Blocks of a KV cache; ``free`` of them belong to no request."""

    free: int

    def found(self, request: int, tokens: int) -> Sequence[int]:
        """Return the blocks, all full, that already hold what ``request`` begins with.

        ``tokens`` are those that it knows of, of which at least one is left to compute.
        """
        ...

    def admit(self, request: int, found: Sequence[int], tokens: int) -> bool:
        """Give ``request`` the blocks that were ``found`` and more, up to ``tokens``.

        False, with nothing changed, where not as many are free.
        """
        ...

    def extend(self, request: int, before: int, after: int) -> None:
        """Take the blocks that ``request`` needs for ``after`` tokens, from those for ``before``.

        As many must be free.
        """
        ...

    def take(self, blocks: int) -> None:
        """Take ``blocks`` for tokens that are generated; as many must be free."""
        ...

    def give_back(self, request: int, tokens: int, begun: int, returns: bool) -> None:
        """Free the blocks of ``request``, which hold ``tokens``, and ``begun`` empty ones.

        ``returns`` says whether it will ask for them again.
        """
        ...


class PlainBlocks:
    """Blocks that no two requests share: nothing but their number matters."""

    def __init__(self, blocks: int) -> None:
        self.free = blocks

    def found(self, request: int, tokens: int) -> Sequence[int]:
        """Return nothing: what was given back is lost."""
        del request, tokens
        return ()

    def admit(self, request: int, found: Sequence[int], tokens: int) -> bool:
        """Take the blocks of ``tokens``; see :meth:`KvBlocks.admit`."""
        del request, found
        blocks = blocks_of(tokens)
        if blocks > self.free:
            return False
        self.free -= blocks
        return True

    def extend(self, request: int, before: int, after: int) -> None:
        """Take the blocks between; see :meth:`KvBlocks.extend`."""
        del request
        self.free -= blocks_of(after) - blocks_of(before)

    def take(self, blocks: int) -> None:
        """Take ``blocks``."""
        self.free -= blocks

    def give_back(self, request: int, tokens: int, begun: int, returns: bool) -> None:
        """Free the blocks of ``tokens`` and ``begun`` more."""
        del request, returns
        self.free += blocks_of(tokens) + begun
