"""KV-cache blocks, every one looked at: who holds it, what it holds, since when it is free.

Written from vLLM V1's rules (``vllm/v1/core/block_pool.py``); blocks are only counted where nothing
is to be found in them.
"""

from dataclasses import dataclass, field

BLOCK = 16


def blocks_for(tokens):
    return -(-tokens // BLOCK)


@dataclass(eq=False)
class Block:
    holders: int = 0
    content: object = None


@dataclass
class SlowBlocks:
    blocks: int
    finds: bool
    queue: list = field(default_factory=list)
    computed: list = field(default_factory=list)
    held: int = 0

    def __post_init__(self):
        if self.finds:
            self.queue = [Block() for _ in range(self.blocks)]

    def count_free(self):
        return len(self.queue) if self.finds else self.blocks - self.held

    def lookup(self, request):
        """The blocks that hold what the request begins with; its last token is computed anyway."""
        found = []
        for place in range((request.known - 1) // BLOCK):
            wanted = request.content(place)
            there = [block for block in self.computed if block.content == wanted]
            if not there:
                break
            found.append(there[0])
        return found if self.finds else []

    def allocate(self, request, tokens, found=()):
        more = blocks_for(tokens) - len(request.blocks) - len(found)
        if more + sum(block.holders == 0 for block in found) > self.count_free():
            return False
        for block in found:
            if not block.holders:
                self.queue.remove(block)
            block.holders += 1
        request.blocks += found
        for _ in range(more):
            block = Block()
            if self.finds:
                block = self.queue.pop(0)
                if block in self.computed:
                    self.computed.remove(block)
            block.holders, block.content = 1, None
            self.held += 1
            request.blocks.append(block)
        for place in range(min(tokens // BLOCK, len(request.contents))):
            self.remember(request, place)
        return True

    def free(self, request):
        for place in range(request.computed // BLOCK if self.finds else 0):
            self.remember(request, place)
        for block in reversed(request.blocks):
            block.holders -= 1
            if not block.holders:
                self.held -= 1
                if self.finds:
                    self.queue.append(block)
        request.blocks = []

    def remember(self, request, place):
        block = request.blocks[place]
        if block.content is None:
            block.content = request.content(place)
            self.computed.append(block)
