"""What one replica computes next: requests that wait, run and hold blocks of its KV cache.

In: requests and limits. Out: the next step and how often it may repeat before anything but its
contexts changes. Pure state: no clock, no power. Each change costs the same for any batch.

The rules are those of vLLM V1 (``vllm/v1/core/sched/scheduler.py``): requests that run come first,
then those that wait, first come first served; what remains of a step's tokens goes to prompts, of
which the last may be cut; where blocks run out, the request admitted last gives up its own and
starts again at the head of the line, its tokens kept and its cache recomputed.
"""

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from model.pricing import Step
from simulate.batching import BLOCK_TOKENS, Limits


class Chunk(NamedTuple):
    """Tokens of one request's prompt (after preemption: of all its tokens) in one step."""

    request: int
    computed: int
    tokens: int
    target: int


class Plan(NamedTuple):
    """The next step.

    Attributes:
        step: what it computes.
        steps: how often it may repeat, each context growing by one token.
        open: whether a request that arrives meanwhile may join after the step under way.
        chunks: the prompts that it computes; ``steps`` is 1 where there are any.
        joined: requests that begin to decode, with caches that they brought along.
        preempted: requests that decoded and have just given up their blocks, latest first.
    """

    step: Step
    steps: int
    open: bool
    chunks: list[Chunk]
    joined: list[int]
    preempted: list[int]


class Progress(NamedTuple):
    """What steps have brought: requests that got the token of a prefill, and those that are done.

    A request of fewer than two tokens is in both.
    """

    prefilled: list[int]
    finished: list[int]


class Scheduler:
    """The requests of one replica; ``prompt_tokens`` and ``output_tokens`` are of all requests.

    With ``prefilled``, requests come with their prompts cached and their first token made.
    Of ``kv_blocks`` KV-cache blocks, ``free_blocks`` are those that nobody holds and
    ``least_free_blocks`` the fewest that there were in any step; ``preemptions`` says how often
    requests gave theirs up, ``recomputed_tokens`` how many tokens of cache were lost with them,
    ``line_tokens`` how many those that wait have to compute.
    """

    def __init__(
        self,
        prompt_tokens: Sequence[int],
        output_tokens: Sequence[int],
        limits: Limits,
        prefilled: bool = False,
    ) -> None:
        self.kv_blocks = self.free_blocks = self.least_free_blocks = limits.kv_blocks
        self.preemptions = 0
        self.recomputed_tokens = 0
        self.line_tokens = 0
        self._prompt_tokens, self._output_tokens = prompt_tokens, output_tokens
        self._limits = limits
        self._prefilled = prefilled
        self._many = max(len(prompt_tokens), 1)
        self._waiting: deque[int] = deque()
        self._partial: Chunk | None = None
        self._resuming: dict[int, int] = {}
        # Sequences that decode, in the order of their admission. All of them gain a token in each
        # step, so each is told by what stays: its cached tokens less the steps made so far.
        self._decoding: dict[int, int] = {}
        self._made = 0
        self._context_tokens = 0
        self._ends: dict[int, int] = {}
        self._next_ends: list[int] = []
        # How many of them fill their last block at a step, by that step's number modulo a block.
        self._filling = [0] * BLOCK_TOKENS
        self._chunks: list[Chunk] = []
        self._joined: list[int] = []

    def add(self, request: int) -> bool:
        """Let ``request`` wait; False where its tokens would not even fit an empty cache."""
        longest = self._prompt_tokens[request] + max(self._output_tokens[request], 1) - 1
        if _blocks(longest) > self._limits.kv_blocks:
            return False
        self._waiting.append(request)
        self.line_tokens += 0 if self._prefilled else self._prompt_tokens[request]
        return True

    @property
    def line(self) -> Sequence[int]:
        """The requests that wait, first come first."""
        return self._waiting

    def uncomputed_tokens(self) -> int:
        """Return the tokens of prompts to compute, those of the step just planned included."""
        begun = self._chunks if self._partial is None else [*self._chunks, self._partial]
        return self.line_tokens + sum(chunk.target - chunk.computed for chunk in begun)

    def blocks_used(self) -> int:
        """Return the blocks that requests hold in the step just planned."""
        more = sum(_blocks(c.computed + c.tokens) - _blocks(c.computed) for c in self._chunks)
        return self.kv_blocks - self.free_blocks + self._blocks_in(1) + more

    def plan(self) -> Plan | None:
        """Return the next step, or None with nothing to do; :meth:`advance` must follow."""
        decoding, preempted, before = self._decoding, [], self.preemptions
        while self._filling[self._made % BLOCK_TOKENS] > self.free_blocks:
            if self._partial is not None:
                self._preempt_partial()
            else:
                preempted.append(self._preempt_last())
        spare = self.free_blocks - self._filling[self._made % BLOCK_TOKENS]
        left = self._limits.batched_tokens - len(decoding)
        chunks: list[Chunk] = []
        if self._partial is not None and left > 0:
            request, computed, _, target = self._partial
            tokens = min(target - computed, left)
            more = _blocks(computed + tokens) - _blocks(computed)
            if more > spare:
                self._preempt_partial()
            else:
                chunks.append(Chunk(request, computed, tokens, target))
                spare, left = spare - more, left - tokens
                self._partial = None
        running = len(decoding) + len(chunks) + (self._partial is not None)
        joined: list[int] = []
        if self.preemptions == before and (self._limits.refills or not running):
            left = self._admit(chunks, joined, running, spare, left)
        if not chunks and not decoding:
            return None
        self._chunks, self._joined = chunks, joined
        step = self._step(chunks)
        if chunks:
            return Plan(step, 1, False, chunks, joined, preempted)
        if self.preemptions > before:
            # In the next step, requests may join again.
            return Plan(step, 1, True, chunks, joined, preempted)
        may_join = (
            self._limits.refills
            and not self._waiting
            and left > 0
            and running + len(joined) < self._limits.sequences
        )
        return Plan(step, self._steps_until_change(), may_join, chunks, joined, preempted)

    def advance(self, steps: int) -> Progress:
        """Make the step that was planned, ``steps`` times; return what that has brought."""
        self.free_blocks -= self._blocks_in(steps)
        for _, computed, tokens, _ in self._chunks:
            self.free_blocks -= _blocks(computed + tokens) - _blocks(computed)
        self.least_free_blocks = min(self.least_free_blocks, self.free_blocks)
        self._made += steps
        self._context_tokens += len(self._decoding) * steps
        prefilled: list[int] = []
        finished: list[int] = []
        while self._next_ends and self._next_ends[0] < (self._made + 1) * self._many:
            end, request = divmod(heappop(self._next_ends), self._many)
            if self._ends.get(request) == end:
                self._leave(request)
                finished.append(request)
        for request, computed, tokens, target in self._chunks:
            if computed + tokens < target:
                self._partial = Chunk(request, computed + tokens, 0, target)
                continue
            prefilled.append(request)
            if not self._join(request, target):
                self.free_blocks += _blocks(target)
                finished.append(request)
        for request in self._joined if prefilled else ():
            # Those whose prompts have just been computed were admitted before.
            if request in self._decoding:
                self._decoding[request] = self._decoding.pop(request)
        self._chunks, self._joined = [], []
        return Progress(prefilled, finished)

    def _admit(
        self, chunks: list[Chunk], joined: list[int], running: int, spare: int, left: int
    ) -> int:
        """Let requests that wait join while all limits allow; return what tokens remain."""
        waiting = self._waiting
        while waiting and left > 0 and running < self._limits.sequences:
            request = waiting[0]
            if self._prefilled and request not in self._resuming:
                cached = self._prompt_tokens[request]
                if _blocks(cached + 1) > spare:
                    break
                joined.append(waiting.popleft())
                self.free_blocks -= _blocks(cached)
                self._join(request, cached)
                spare -= _blocks(cached + 1)
                left -= 1
                running += 1
                continue
            target = self._resuming.get(request) or self._prompt_tokens[request]
            tokens = min(target, left)
            if _blocks(tokens) > spare:
                break
            waiting.popleft()
            self.line_tokens -= target
            chunks.append(Chunk(request, 0, tokens, target))
            spare -= _blocks(tokens)
            left -= tokens
            running += 1
        return left

    def _step(self, chunks: list[Chunk]) -> Step:
        tokens = sum(chunk.tokens for chunk in chunks)
        pairs = sum(c.tokens * c.computed + c.tokens * (c.tokens + 1) // 2 for c in chunks)
        return Step(len(chunks), tokens, pairs, len(self._decoding), self._context_tokens)

    def _steps_until_change(self) -> int:
        """Return the steps until the next sequence ends or blocks run out."""
        while True:
            end, request = divmod(self._next_ends[0], self._many)
            if self._ends.get(request) == end:
                break
            heappop(self._next_ends)
        steps = end - self._made
        if self._blocks_in(steps) <= self.free_blocks:
            return steps
        rounds, spare = divmod(self.free_blocks, len(self._decoding))
        steps = rounds * BLOCK_TOKENS
        while self._filling[(self._made + steps) % BLOCK_TOKENS] <= spare:
            spare -= self._filling[(self._made + steps) % BLOCK_TOKENS]
            steps += 1
        return steps

    def _blocks_in(self, steps: int) -> int:
        """Return the blocks that the decoding sequences fill up to begin in ``steps`` steps."""
        rounds, rest = divmod(steps, BLOCK_TOKENS)
        blocks = rounds * len(self._decoding)
        for step in range(self._made, self._made + rest):
            blocks += self._filling[step % BLOCK_TOKENS]
        return blocks

    def _join(self, request: int, cached: int) -> bool:
        """Let ``request`` decode with ``cached`` tokens; False where it has all its tokens."""
        self._resuming.pop(request, None)
        got = cached - self._prompt_tokens[request] + 1
        remaining = self._output_tokens[request] - got
        if remaining <= 0:
            return False
        base = cached - self._made
        self._decoding[request] = base
        self._filling[-base % BLOCK_TOKENS] += 1
        self._context_tokens += cached + 1
        self._ends[request] = self._made + remaining
        heappush(self._next_ends, (self._made + remaining) * self._many + request)
        return True

    def _leave(self, request: int) -> int:
        """Take ``request`` from those that decode; return how many tokens it had cached."""
        base = self._decoding.pop(request)
        cached = base + self._made
        self._filling[-base % BLOCK_TOKENS] -= 1
        self._context_tokens -= cached + 1
        self.free_blocks += _blocks(cached)
        del self._ends[request]
        return cached

    def _preempt_last(self) -> int:
        request = next(reversed(self._decoding))
        cached = self._leave(request)
        self._send_back(request, cached, cached + 1)
        return request

    def _preempt_partial(self) -> None:
        assert self._partial is not None
        request, cached, _, target = self._partial
        self.free_blocks += _blocks(cached)
        self._partial = None
        self._send_back(request, cached, target)

    def _send_back(self, request: int, cached: int, target: int) -> None:
        self._resuming[request] = target
        self._waiting.appendleft(request)
        self.line_tokens += target
        self.preemptions += 1
        self.recomputed_tokens += cached


def _blocks(tokens: int) -> int:
    return -(-tokens // BLOCK_TOKENS)
