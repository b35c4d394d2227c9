"""What one replica computes next: requests that wait, run and hold blocks of its KV cache.

In: requests and limits. Out: the next step and how often it may repeat before anything but its
contexts changes. Pure state: no clock, no power. Each change costs the same for any batch.

The rules are those of vLLM V1 (``vllm/v1/core/sched/scheduler.py``): requests that run come first,
in the order of their admission, then those that wait, first come first served; what remains of a
step's tokens goes to prompts, of which the last may be cut; where blocks run out, the request
admitted last gives up its own and starts again at the head of the line, its tokens kept and its
cache recomputed.

With priorities, the lowest number waits first, and the highest gives its blocks up first; of equals
the earliest, and the latest. A request that gives up its own leaves those admitted after it without
a token in that step.
"""

from collections.abc import Sequence
from typing import NamedTuple

from model.pricing import Step
from simulate.batching import BLOCK_TOKENS, Limits
from simulate.decoding import Decoding
from simulate.kv_blocks import KvBlocks, PlainBlocks, blocks_of
from simulate.line import ByPriority, FirstCome, Line
from simulate.prefix_cache import PrefixCache, Prefixes


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
        joined: requests that begin to decode, with caches that they brought along, or go on to.
        stopped: requests that decoded and do not in this step: they have given up their blocks, or
            are passed over.
    """

    step: Step
    steps: int
    open: bool
    chunks: list[Chunk]
    joined: list[int]
    stopped: list[int]


class Progress(NamedTuple):
    """What steps have brought: requests that got the token of a prefill, and those that are done.

    A request of fewer than two tokens is in both.
    """

    prefilled: list[int]
    finished: list[int]


class Scheduler:
    """The requests of one replica; ``prompt_tokens`` and ``output_tokens`` are of all requests.

    With ``prefilled``, requests come with their prompts cached and their first token made. Without
    ``priority``, first come is first served; without ``prefixes``, nothing is found in the cache.
    ``least_free_blocks`` are the fewest of ``kv_blocks`` that nobody held in any step,
    ``preemptions`` how often requests gave theirs up and ``recomputed_tokens`` how many tokens of
    cache they lost with them for good.
    """

    def __init__(
        self,
        prompt_tokens: Sequence[int],
        output_tokens: Sequence[int],
        limits: Limits,
        prefilled: bool = False,
        priority: Sequence[int] | None = None,
        prefixes: Prefixes | None = None,
    ) -> None:
        self.kv_blocks = self.least_free_blocks = limits.kv_blocks
        self.preemptions = 0
        self.recomputed_tokens = 0
        self._prompt_tokens, self._output_tokens = prompt_tokens, output_tokens
        self._limits = limits
        self._prefilled = prefilled
        self._priority = priority
        self._blocks: KvBlocks = PlainBlocks(limits.kv_blocks)
        if prefixes is not None:
            self._blocks = PrefixCache(limits.kv_blocks, prefixes, prompt_tokens)
        self._waiting: Line = FirstCome() if priority is None else ByPriority(priority)
        self._line_tokens = 0
        self._partial: Chunk | None = None
        self._resuming: dict[int, int] = {}
        self._passed_over: list[tuple[int, int]] = []
        self._decoding = Decoding(len(prompt_tokens))
        # What the planned step has taken already: blocks of those that decode, prompts.
        self._taken = 0
        self._chunks: list[Chunk] = []
        self._joined: list[int] = []
        self._admitted: list[int] = []

    @property
    def free_blocks(self) -> int:
        """The KV-cache blocks that nobody holds."""
        return self._blocks.free

    @property
    def line(self) -> Line:
        """The requests that wait."""
        return self._waiting

    def uncomputed_tokens(self) -> int:
        """Return the tokens of prompts to compute, those of the step just planned included."""
        begun = self._chunks if self._partial is None else [*self._chunks, self._partial]
        return self._line_tokens + sum(chunk.target - chunk.computed for chunk in begun)

    @property
    def decoding(self) -> list[int]:
        """The requests that decode in the planned step."""
        return list(self._decoding)

    def add(self, request: int) -> bool:
        """Let ``request`` wait; False where its tokens would not even fit an empty cache."""
        longest = self._prompt_tokens[request] + max(self._output_tokens[request], 1) - 1
        if blocks_of(longest) > self._limits.kv_blocks:
            return False
        self._waiting.join(request)
        self._line_tokens += 0 if self._prefilled else self._prompt_tokens[request]
        return True

    def recompute(self, request: int) -> None:
        """Let ``request``, which comes with its first token, compute its cache anew."""
        self._resuming[request] = self._prompt_tokens[request] + 1

    def generated(self, request: int) -> int:
        """Return the tokens that ``request`` has got here."""
        prompt = self._prompt_tokens[request] + self._prefilled
        if request in self._decoding:
            return self._decoding.cached(request) + 1 - prompt
        for other, cached in self._passed_over:
            if other == request:
                return cached + 1 - prompt
        return max(self._resuming.get(request, prompt) - prompt, 0)

    def plan(self) -> Plan | None:
        """Return the next step, or None with nothing to do; :meth:`advance` must follow."""
        stopped: list[int] = []
        resumed = [request for request, _ in self._passed_over]
        while True:
            for request, cached in self._passed_over:
                self._join(request, cached)
            self._passed_over = []
            before = self.preemptions
            left = self._serve_running(stopped)
            running = len(self._decoding) + len(self._chunks) + (self._partial is not None)
            if self.preemptions == before and (self._limits.refills or not running):
                left = self._admit(running, left)
            if self._chunks or self._decoding:
                break
            if self.preemptions == before:
                return None
            # All that could run has given up its blocks: the engine plans again at once.
        steps, may_join = 1, False
        if not self._chunks:
            # After a preemption, requests may join again in the next step.
            may_join = self.preemptions > before
            if not may_join:
                # The first step has taken its blocks.
                steps = self._decoding.steps_until_change(self._blocks.free + self._taken)
                running = len(self._decoding) + (self._partial is not None)
                may_join = (
                    self._limits.refills
                    and (not self._waiting or self._priority is not None)
                    and left > 0
                    and running < self._limits.sequences
                )
        joined = self._joined
        if stopped or resumed:
            joined = [r for r in resumed if r in self._decoding] + joined
            went_on = {*self._decoding, *resumed}
            stopped = [r for r in dict.fromkeys(stopped) if r not in went_on]
        return Plan(self._step(), steps, may_join, self._chunks, joined, stopped)

    def advance(self, steps: int) -> Progress:
        """Make the step that was planned, ``steps`` times; return what that has brought."""
        if steps > 1:
            self._blocks.take(self._decoding.blocks_in(steps) - self._taken)
        self._taken = 0
        self.least_free_blocks = min(self.least_free_blocks, self._blocks.free)
        prefilled: list[int] = []
        finished: list[int] = []
        for request, cached in self._decoding.advance(steps):
            self._blocks.give_back(request, cached, 0, False)
            finished.append(request)
        for request, computed, tokens, target in self._chunks:
            if computed + tokens < target:
                self._partial = Chunk(request, computed + tokens, 0, target)
                continue
            prefilled.append(request)
            if not self._join(request, target):
                self._blocks.give_back(request, target, 0, False)
                finished.append(request)
        if prefilled and self._joined:
            # Those that decode at once were not the first to be admitted.
            self._decoding.reorder(self._admitted)
        self._chunks, self._joined, self._admitted = [], [], []
        return Progress(prefilled, finished)

    def _serve_running(self, stopped: list[int]) -> int:
        """Give all that run what they need for a step; return the tokens that remain of it.

        Where blocks run out, requests are preempted; those that decoded are added to ``stopped``.
        """
        blocks = self._blocks
        if self._priority is not None and self._lacks_blocks():
            self._serve_by_priority(self._priority, stopped)
            return 0
        while self._decoding.blocks_of_step() > blocks.free:
            if self._partial is not None:
                self._preempt_partial()
            else:
                stopped.append(self._preempt(self._decoding.last(), 0))
        self._taken = self._decoding.blocks_of_step()
        blocks.take(self._taken)
        left = self._limits.batched_tokens - len(self._decoding)
        if self._partial is None or left <= 0:
            return left
        tokens, needed = self._next_chunk(self._partial, left)
        if needed > blocks.free:
            self._preempt_partial()
            return left
        self._serve_partial(tokens)
        return left - tokens

    def _lacks_blocks(self) -> bool:
        needed = self._decoding.blocks_of_step()
        if self._partial is not None:
            left = self._limits.batched_tokens - len(self._decoding)
            needed += self._next_chunk(self._partial, left)[1]
        return needed > self._blocks.free

    def _serve_by_priority(self, priority: Sequence[int], stopped: list[int]) -> None:
        """Walk through those that run; where blocks run out, preempt the last of all by priority.

        That may be one that has had its token of this step already, or the very one whose turn it
        is: then nobody after it has any.
        """
        blocks, left = self._blocks, self._limits.batched_tokens
        order, begun = list(self._decoding), dict[int, int]()
        if self._partial is not None:
            order.append(self._partial.request)
        turn = 0
        while turn < len(order) and left > 0:
            request, partial, tokens = order[turn], self._partial, 1
            if partial is not None and partial.request == request:
                tokens, needed = self._next_chunk(partial, left)
            else:
                needed = self._decoding.blocks_of_next(request)
            while needed > blocks.free:
                last = max(order, key=lambda r: (priority[r], r))
                place = order.index(last)
                del order[place]
                if place < turn:
                    turn, left = turn - 1, left + 1
                if last in self._decoding:
                    stopped.append(self._preempt(last, begun.get(last, 0)))
                else:
                    self._preempt_partial()
                if last == request:
                    self._pass_over(order[turn:], stopped)
                    return
            if request in self._decoding:
                blocks.take(needed)
                begun[request] = needed
            else:
                self._serve_partial(tokens)
            turn, left = turn + 1, left - tokens

    def _pass_over(self, requests: list[int], stopped: list[int]) -> None:
        for request in requests:
            if request in self._decoding:
                self._passed_over.append((request, self._decoding.leave(request)))
                stopped.append(request)

    def _next_chunk(self, partial: Chunk, left: int) -> tuple[int, int]:
        """Return the tokens that ``left`` leaves to a cut prompt, and the blocks that they need."""
        tokens = max(min(partial.target - partial.computed, left), 0)
        return tokens, blocks_of(partial.computed + tokens) - blocks_of(partial.computed)

    def _serve_partial(self, tokens: int) -> None:
        assert self._partial is not None
        request, computed, _, target = self._partial
        self._blocks.extend(request, computed, computed + tokens)
        self._chunks.append(Chunk(request, computed, tokens, target))
        self._partial = None

    def _admit(self, running: int, left: int) -> int:
        """Let requests that wait join while all limits allow; return what tokens remain."""
        waiting, blocks = self._waiting, self._blocks
        while waiting and left > 0 and running < self._limits.sequences:
            request = waiting.first()
            if self._prefilled and request not in self._resuming:
                cached = self._prompt_tokens[request]
                if not blocks.admit(request, (), cached + 1):
                    break
                waiting.leave()
                self._admitted.append(request)
                self._joined.append(request)
                self._join(request, cached)
                self._taken += blocks_of(cached + 1) - blocks_of(cached)
                left -= 1
                running += 1
                continue
            target = self._resuming.get(request) or self._prompt_tokens[request]
            found = blocks.found(request, target)
            computed = len(found) * BLOCK_TOKENS
            tokens = min(target - computed, left)
            if not blocks.admit(request, found, computed + tokens):
                break
            waiting.leave()
            self._admitted.append(request)
            self._line_tokens -= target
            if request in self._resuming:
                self.recomputed_tokens -= computed
            self._chunks.append(Chunk(request, computed, tokens, target))
            left -= tokens
            running += 1
        return left

    def _step(self) -> Step:
        chunks = self._chunks
        tokens = sum(chunk.tokens for chunk in chunks)
        pairs = sum(c.tokens * c.computed + c.tokens * (c.tokens + 1) // 2 for c in chunks)
        return Step(len(chunks), tokens, pairs, len(self._decoding), self._decoding.context_tokens)

    def _join(self, request: int, cached: int) -> bool:
        """Let ``request`` decode with ``cached`` tokens; False where it has all its tokens."""
        self._resuming.pop(request, None)
        got = cached - self._prompt_tokens[request] + 1
        remaining = self._output_tokens[request] - got
        if remaining <= 0:
            return False
        self._decoding.join(request, cached, remaining)
        return True

    def _preempt(self, request: int, begun: int) -> int:
        """Preempt ``request``, which decodes and has taken ``begun`` blocks for this step."""
        cached = self._decoding.leave(request)
        self._blocks.give_back(request, cached, begun, True)
        self._send_back(request, cached, cached + 1)
        return request

    def _preempt_partial(self) -> None:
        assert self._partial is not None
        request, cached, _, target = self._partial
        self._blocks.give_back(request, cached, 0, True)
        self._partial = None
        self._send_back(request, cached, target)

    def _send_back(self, request: int, cached: int, target: int) -> None:
        self._resuming[request] = target
        self._waiting.rejoin(request)
        self._line_tokens += target
        self.preemptions += 1
        self.recomputed_tokens += cached
