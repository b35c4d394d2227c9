"""The scheduler's rules, worked out by hand: chunks, blocks, preemption, runs of equal steps."""

from model.pricing import Step
from simulate.batching import UNLIMITED, Limits
from simulate.scheduler import Chunk, Progress, Scheduler


def scheduler(requests, tokens=UNLIMITED, sequences=UNLIMITED, blocks=UNLIMITED, refills=True):
    prompts, outputs = zip(*requests, strict=True)
    made = Scheduler(prompts, outputs, Limits(tokens, sequences, blocks, refills))
    accepted = [made.add(request) for request in range(len(requests))]
    return made, accepted


def test_prompts_fill_a_step_and_the_last_is_cut_into_chunks():
    made, _ = scheduler([(60, 3), (100, 2), (30, 1)], tokens=100)
    plan = made.plan()
    assert plan.chunks == [Chunk(0, 0, 60, 60), Chunk(1, 0, 40, 100)]
    # 60 x 61 / 2 pairs of the first, 40 x 41 / 2 of the chunk.
    assert plan.step == Step(2, 100, 1830 + 820, 0, 0)
    assert (plan.steps, plan.open) == (1, False)
    assert made.advance(1) == Progress([0], [])

    # The first decodes with 61 tokens; the second goes on, and the third takes what is left.
    plan = made.plan()
    assert plan.chunks == [Chunk(1, 40, 60, 100), Chunk(2, 0, 30, 30)]
    # 60 tokens that each attend to 40 and to those before them in the chunk.
    assert plan.step == Step(2, 90, 60 * 40 + 1830 + 465, 1, 61)
    # The third has no more to decode: it is done with its prefill.
    assert made.advance(1) == Progress([1, 2], [2])

    plan = made.plan()
    assert plan.step == Step(0, 0, 0, 2, 62 + 101)
    assert made.advance(1) == Progress([], [0, 1])
    assert made.plan() is None
    assert made.free_blocks == UNLIMITED


def test_equal_steps_are_planned_at_once_until_one_ends_and_are_open_to_others():
    made, _ = scheduler([(10, 8), (20, 5)], sequences=3)
    made.plan()
    made.advance(1)
    plan = made.plan()
    assert (plan.step, plan.steps, plan.open) == (Step(0, 0, 0, 2, 11 + 21), 4, True)
    # Somebody arrives meanwhile, so that only three are made.
    assert made.advance(3) == Progress([], [])
    plan = made.plan()
    assert (plan.step, plan.steps) == (Step(0, 0, 0, 2, 14 + 24), 1)
    assert made.advance(1) == Progress([], [1])
    assert made.plan().steps == 3


def test_a_full_replica_is_not_open():
    made, _ = scheduler([(10, 8), (20, 5)], sequences=2)
    made.plan()
    made.advance(1)
    assert not made.plan().open


def test_blocks_run_out_and_the_latest_gives_up_its_own():
    # Four blocks: both prompts fill one each, and one more each from the first decode step on.
    made, accepted = scheduler([(16, 40), (16, 40), (64, 2)], blocks=4)
    assert accepted == [True, True, False]
    made.plan()
    made.advance(1)
    assert made.free_blocks == 2
    plan = made.plan()
    assert plan.steps == 16
    made.advance(16)
    assert made.free_blocks == 0
    # Each wants a third block; the second gives up two, and one of them is the first's.
    plan = made.plan()
    assert (plan.stopped, plan.step, plan.steps) == ([1], Step(0, 0, 0, 1, 33), 1)
    assert (made.preemptions, made.recomputed_tokens) == (1, 32)
    made.advance(1)
    # It wants three blocks for its prompt and the 17 tokens that it has; there is one.
    plan = made.plan()
    assert (plan.chunks, plan.step.decode_batch, plan.open) == ([], 1, False)
    # 39 steps in all bring the first to its end; 17 are made.
    assert plan.steps == 22
    assert made.advance(22) == Progress([], [0])
    assert made.plan().chunks == [Chunk(1, 0, 33, 33)]
    assert made.advance(1) == Progress([1], [])
    assert made.plan().steps == 40 - 18
    assert made.advance(22) == Progress([], [1])
    assert made.free_blocks == 4
    assert made.least_free_blocks == 0


def test_a_cut_prompt_gives_up_its_blocks_before_anybody_who_decodes():
    made, _ = scheduler([(15, 30), (48, 2)], tokens=17, blocks=4)
    assert made.plan().chunks == [Chunk(0, 0, 15, 15), Chunk(1, 0, 2, 48)]
    made.advance(1)
    assert made.plan().chunks == [Chunk(1, 2, 16, 48)]
    made.advance(1)
    assert made.free_blocks == 1
    # The first takes the last block now, and the next chunk of the second wants one too.
    plan = made.plan()
    assert (plan.step, plan.steps, plan.stopped) == (Step(0, 0, 0, 1, 17), 1, [])
    assert (made.preemptions, made.recomputed_tokens, made.free_blocks) == (1, 18, 2)
    finished = []
    while plan is not None:
        finished += made.advance(plan.steps).finished
        plan = made.plan()
    assert finished == [0, 1]
    assert made.free_blocks == 4


def test_batches_that_do_not_refill_wait_until_all_have_left():
    made, _ = scheduler([(4, 3), (4, 5), (4, 2)], sequences=2, refills=False)
    assert [chunk.request for chunk in made.plan().chunks] == [0, 1]
    made.advance(1)
    assert (made.plan().steps, made.advance(2)) == (2, Progress([], [0]))
    plan = made.plan()
    assert (plan.step, plan.steps, plan.open) == (Step(0, 0, 0, 1, 7), 2, False)
    made.advance(2)
    assert [chunk.request for chunk in made.plan().chunks] == [2]


def test_requests_wait_in_the_order_of_their_arrival_even_where_a_later_one_would_fit():
    made, _ = scheduler([(40, 2), (40, 2), (8, 2)], blocks=5)
    assert [chunk.request for chunk in made.plan().chunks] == [0]
