"""Blocks that prompts share, worked out by hand: what is found, taken first, and lost."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.pricing import Step
from phasewatt.errors import BadTrace
from simulate.batching import Limits
from simulate.prefix_cache import PrefixCache, Prefixes
from simulate.scheduler import Chunk, Scheduler


def cache(blocks, rows, prompts, hash_tokens=16):
    prefixes = Prefixes.of(pa.array(rows, pa.list_(pa.int64())), hash_tokens)
    return PrefixCache(blocks, prefixes, prompts)


def test_hashes_tell_of_full_blocks_only():
    prefixes = Prefixes.of(pa.array([[7, 8], None, [7]], pa.list_(pa.int64())), 32)
    assert prefixes.contents(0, 64) == [14, 15, 16, 17]
    assert prefixes.contents(0, 50) == [14, 15, 16]
    assert prefixes.contents(1, 50) == []
    assert prefixes.contents(2, 64) == [14, 15]
    taken = prefixes.take(np.array([2, 0]))
    assert [taken.contents(i, 64) for i in range(2)] == [[14, 15], [14, 15, 16, 17]]


def test_what_a_request_has_computed_is_found_by_the_next_and_held_by_both():
    blocks = cache(6, [[1, 2], [1, 2, 3], [1, 9]], [32, 48, 32])
    assert blocks.found(0, 32) == []
    assert blocks.admit(0, [], 32)
    found = blocks.found(1, 48)
    assert len(found) == 2
    assert blocks.admit(1, found, 48)
    assert blocks.free == 3
    blocks.give_back(0, 32, 0, returns=False)
    assert blocks.free == 3
    assert len(blocks.found(2, 32)) == 1
    blocks.give_back(1, 48, 0, returns=False)
    assert blocks.free == 6


def test_a_prompt_that_is_cached_whole_computes_its_last_block_again():
    blocks = cache(6, [[1, 2], [1, 2], [1, 2]], [32, 32, 33])
    blocks.admit(0, [], 32)
    assert len(blocks.found(1, 32)) == 1
    assert blocks.admit(1, blocks.found(1, 32), 32)
    assert blocks.free == 3
    assert len(blocks.found(2, 33)) == 2


def test_the_longest_free_is_taken_first_and_of_one_request_its_last_block():
    blocks = cache(4, [[1, 2], [5, 6], [1, 2, 3], [5, 6, 7]], [32, 32, 48, 48])
    for request in (0, 1):
        blocks.admit(request, [], 32)
    for request in (0, 1):
        blocks.give_back(request, 32, 0, returns=False)
    blocks.take(1)
    assert [len(blocks.found(request, 48)) for request in (2, 3)] == [1, 2]
    blocks.take(1)
    assert [len(blocks.found(request, 48)) for request in (2, 3)] == [0, 2]
    # What is found is free as well, so that no more than those two are there.
    assert not blocks.admit(3, blocks.found(3, 48), 48)
    assert blocks.free == 2


def test_a_preempted_request_finds_what_nobody_has_taken_of_its_own():
    blocks = cache(5, [[1]], [20])
    blocks.admit(0, [], 20)
    blocks.take(2)  # It has generated 40 tokens, and begun a fourth block.
    blocks.give_back(0, 60, 0, returns=True)
    assert blocks.free == 5
    assert len(blocks.found(0, 61)) == 3
    blocks.take(3)  # One that was never used, the fourth, and the third.
    assert len(blocks.found(0, 61)) == 2


def test_a_step_computes_what_is_not_found():
    prefixes = Prefixes.of(pa.array([[1, 2], [1, 2, 3]], pa.list_(pa.int64())), 32)
    made = Scheduler([64, 90], [3, 3], Limits(200, 8, 40, True), prefixes=prefixes)
    made.add(0)
    made.add(1)
    plan = made.plan()
    # In one step: the second finds what the first computes in it.
    assert plan.chunks == [Chunk(0, 0, 64, 64), Chunk(1, 64, 26, 90)]
    assert plan.step == Step(2, 90, 64 * 65 // 2 + 26 * 64 + 26 * 27 // 2, 0, 0)
    assert made.free_blocks == 40 - 4 - 2
    while plan is not None:
        made.advance(plan.steps)
        plan = made.plan()
    assert made.free_blocks == 40


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_no_block_is_lost_or_counted_twice(seed):
    rng = np.random.default_rng(seed)
    prompts = rng.integers(1, 90, 8).tolist()
    rows = [[*range(int(rng.integers(4))), *(100 * (i + 1) + np.arange(6))] for i in range(8)]
    blocks = cache(int(rng.integers(6, 30)), rows, prompts)
    all_blocks, held = blocks.free, {}
    for _ in range(60):
        request = int(rng.integers(8))
        if request in held:
            blocks.give_back(request, held.pop(request), 0, bool(rng.integers(2)))
        elif blocks.admit(request, blocks.found(request, prompts[request]), prompts[request]):
            held[request] = prompts[request]
        assert 0 <= blocks.free <= all_blocks
        assert blocks.free == sum(blocks._queue.values())
    for request, tokens in held.items():
        blocks.give_back(request, tokens, 0, returns=False)
    assert blocks.free == all_blocks


@pytest.mark.parametrize(
    ("priority", "order"), [([0, 0, 0], [0, 1, 2]), ([2, 1, 1], [1, 2, 0]), ([0, -1, 1], [1, 0, 2])]
)
def test_the_lowest_number_is_served_first(priority, order):
    made = Scheduler([10] * 3, [1] * 3, Limits(10, 8, 40, True), priority=priority)
    for request in range(3):
        made.add(request)
    for request in order:
        assert [chunk.request for chunk in made.plan().chunks] == [request]
        made.advance(1)


def test_the_least_urgent_gives_its_blocks_up_even_if_it_had_its_token():
    # Both fill two blocks and begin a third; there are five. The first is the less urgent.
    made = Scheduler([32, 32], [9, 9], Limits(99, 8, 5, True), priority=[1, 0])
    made.add(0)
    made.add(1)
    assert [chunk.request for chunk in made.plan().chunks] == [1, 0]
    made.advance(1)
    plan = made.plan()
    assert (plan.stopped, plan.step) == ([0], Step(0, 0, 0, 1, 33))
    assert (made.preemptions, made.recomputed_tokens) == (1, 32)


def test_who_comes_after_one_that_gives_up_its_own_goes_without_a_token():
    made = Scheduler([1, 16, 10], [60, 40, 40], Limits(99, 8, 6, True), priority=[0, 2, 1])
    made.add(0)
    made.add(1)
    made.plan()
    made.add(2)
    made.advance(1)
    made.plan()
    made.advance(1)
    # Six blocks: after 15 steps more the first has two, the second has filled its two, the third
    # two, with 25 tokens; after 16 the second wants a third, and there is none.
    plan = made.plan()
    made.advance(plan.steps)
    plan = made.plan()
    assert (plan.stopped, plan.step) == ([1, 2], Step(0, 0, 0, 1, 18))
    made.advance(1)
    plan = made.plan()
    assert (plan.stopped, plan.joined, plan.step) == ([], [2], Step(0, 0, 0, 2, 19 + 26))


def test_hashes_must_tell_of_all_that_comes_before():
    with pytest.raises(BadTrace) as error:
        Prefixes.of(pa.array([[1, 2], [3, 2]], pa.list_(pa.int64())), 16)
    assert str(error.value) == (
        "block hash 2 stands after 3 in query 1 and after 1 in another: expected hashes that tell "
        "of all tokens up to the end of their block"
    )
