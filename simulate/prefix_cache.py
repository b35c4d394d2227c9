"""A KV cache that finds what prompts begin with: blocks shared, counted, and lost oldest first.

In: requests and what the blocks of their prompts hold. Out: which blocks need not be computed.
Pure state.

The rules are those of vLLM V1 (``vllm/v1/core/kv_cache_manager.py`` and ``block_pool.py``). Only
full blocks are found, and only as far as each from the first on is. What all requests of a block
have given back stays findable until the block is taken for something else: blocks are taken in the
order in which they became free, those of one request from its last to its first. A block counts
as found from the step in which it is computed on. A block that has been computed twice is there
twice.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from phasewatt.errors import BadTrace
from simulate.batching import BLOCK_TOKENS
from simulate.kv_blocks import blocks_of
from traces import Trace

Content = int | tuple[int, int]
"""What a block of prompts that share holds, or the request and the place of one that is its own."""


HASH_TOKENS = 512
"""Tokens of one hash of a trace: those of Mooncake's ``hash_ids`` (FAST 2025, appendix)."""


@dataclass(frozen=True)
class Prefixes:
    """What prompts begin with, as hashes of ``hash_tokens`` tokens each.

    Request i has ``hashes[first[i]:last[i]]``. Equal hashes say: the same tokens, after the same
    tokens. ``first`` and ``last`` of shape (n,); ``hash_tokens`` is a multiple of a block.
    """

    hashes: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    hash_tokens: int

    @staticmethod
    def of(block_hashes: pa.ListArray, hash_tokens: int) -> "Prefixes":
        """Return the hashes of a trace; a null is a prompt without any.

        Raises:
            BadTrace: a hash stands after two others, so that it cannot tell of all before it.
        """
        lengths = block_hashes.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        hashes = block_hashes.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
        last = np.cumsum(lengths, dtype=np.int64)
        first = last - lengths
        _require_chains(hashes, first[lengths > 0], last)
        return Prefixes(hashes, first, last, hash_tokens)

    @staticmethod
    def of_trace(trace: Trace, hash_tokens: int) -> "Prefixes | None":
        """Return those of ``trace``, None where it has none.

        Raises:
            BadTrace: a prompt has more hashes than it has tokens for; see :meth:`of`.
        """
        if trace.block_hashes is None:
            return None
        found = Prefixes.of(trace.block_hashes, hash_tokens)
        hashes, most = found.last - found.first, -(-trace.prompt_tokens // hash_tokens)
        if np.any(hashes > most):
            query = int(np.argmax(hashes > most))
            raise BadTrace(
                f"trace '{trace.name}': query {query}: found {hashes[query]} block hashes for "
                f"{trace.prompt_tokens[query]} prompt tokens, expected at most {most[query]} of "
                f"{hash_tokens} tokens each (--hash-tokens)"
            )
        return found

    def take(self, requests: NDArray[np.intp]) -> "Prefixes":
        """Return those of ``requests``, in that order."""
        return replace(self, first=self.first[requests], last=self.last[requests])

    def contents(self, request: int, prompt_tokens: int) -> list[int]:
        """Return a number for each full block of the prompt that hashes tell of; equal is equal."""
        each = self.hash_tokens // BLOCK_TOKENS
        hashes = self.hashes[self.first[request] : self.last[request]].tolist()
        found = [hash_ * each + part for hash_ in hashes for part in range(each)]
        return found[: prompt_tokens // BLOCK_TOKENS]


class PrefixCache:
    """Blocks that requests share; :class:`simulate.kv_blocks.KvBlocks` says what each method does.

    A copy is a block that holds known content, told by a number of its own. What is held by one
    request alone and cannot be found by others has no number and is only counted.
    """

    def __init__(self, blocks: int, prefixes: Prefixes, prompt_tokens: Sequence[int]) -> None:
        self.free = blocks
        self._prefixes, self._prompt_tokens = prefixes, prompt_tokens
        # Free blocks in the order in which they are taken: copies, and runs of others.
        self._queue: OrderedDict[int, int] = OrderedDict({0: blocks})
        self._last_number = 0
        self._copies: dict[Content, list[int]] = {}
        self._content: dict[int, Content] = {}
        self._users: dict[int, int] = {}
        self._held: dict[int, list[int]] = {}
        self._contents: dict[int, list[int]] = {}

    def found(self, request: int, tokens: int) -> list[int]:
        """Return the copies that hold what ``request`` begins with, one token left out at least."""
        contents = self._contents_of(request)
        most, copies = (tokens - 1) // BLOCK_TOKENS, self._copies
        hits: list[int] = []
        for content in contents[:most]:
            there = copies.get(content)
            if there is None:
                return hits
            hits.append(there[0])
        for place in range(len(hits), most):
            there = copies.get((request, place))
            if there is None:
                break
            hits.append(there[0])
        return hits

    def admit(self, request: int, found: Sequence[int], tokens: int) -> bool:
        """Give ``request`` the copies ``found`` and free blocks up to ``tokens``."""
        users = self._users
        unused = sum(not users[copy] for copy in found)
        if blocks_of(tokens) - len(found) + unused > self.free:
            return False
        for copy in found:
            if not users[copy]:
                del self._queue[copy]
            users[copy] += 1
        self.free -= unused
        self._held[request] = list(found)
        self.extend(request, len(found) * BLOCK_TOKENS, tokens)
        return True

    def extend(self, request: int, before: int, after: int) -> None:
        """Take the blocks between, and let those of the prompt that are full be found."""
        self.take(blocks_of(after) - blocks_of(before))
        held, contents = self._held[request], self._contents_of(request)
        for content in contents[len(held) : after // BLOCK_TOKENS]:
            held.append(self._copy_of(content, 1))

    def take(self, blocks: int) -> None:
        """Take those that have been free for longest; what they held is lost."""
        queue = self._queue
        self.free -= blocks
        while blocks:
            number = next(iter(queue))
            run = queue[number]
            if run > blocks:
                queue[number] = run - blocks
                return
            blocks -= run
            del queue[number]
            content = self._content.pop(number, None)
            if content is not None:
                copies = self._copies[content]
                copies.remove(number)
                if not copies:
                    del self._copies[content]
                del self._users[number]

    def give_back(self, request: int, tokens: int, begun: int, returns: bool) -> None:
        """Free the blocks of ``request``; where it ``returns``, it can find its own full ones."""
        held = self._held.pop(request, [])
        full = tokens // BLOCK_TOKENS if returns else len(held)
        rest = blocks_of(tokens) + begun - full
        if rest:
            self._queue[self._number()] = rest
        for place in range(full - 1, len(held) - 1, -1):
            self._queue[self._copy_of((request, place), 0)] = 1
        self.free += rest + full - len(held)
        for copy in reversed(held):
            self._users[copy] -= 1
            if not self._users[copy]:
                self._queue[copy] = 1
                self.free += 1
        if not returns:
            self._contents.pop(request, None)

    def _copy_of(self, content: Content, users: int) -> int:
        copy = self._number()
        self._copies.setdefault(content, []).append(copy)
        self._content[copy], self._users[copy] = content, users
        return copy

    def _contents_of(self, request: int) -> list[int]:
        found = self._contents.get(request)
        if found is None:
            found = self._prefixes.contents(request, self._prompt_tokens[request])
            self._contents[request] = found
        return found

    def _number(self) -> int:
        self._last_number += 1
        return self._last_number


def _require_chains(
    hashes: NDArray[np.int64], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> None:
    places = np.arange(hashes.size)
    begun = np.isin(places, begins)
    _, earliest, same = np.unique(hashes, return_index=True, return_inverse=True)
    other = earliest[same]
    before, other_before = hashes[places - 1], hashes[other - 1]
    wrong = (begun != begun[other]) | (~begun & (before != other_before))
    if wrong.any():
        place = int(np.argmax(wrong))
        here = "nothing" if begun[place] else str(before[place])
        there = "nothing" if begun[other[place]] else str(other_before[place])
        raise BadTrace(
            f"block hash {hashes[place]} stands after {here} in query "
            f"{np.searchsorted(ends, place, 'right')} and after {there} in another: expected "
            "hashes that tell of all tokens up to the end of their block"
        )
