"""Searches side by side find what they would find alone, whatever the number of processes."""

import pytest

from phasewatt.errors import BadOption
from simulate.plan.workers import Workers


def squared(number):
    if number == 13:
        raise BadOption("13 is none")
    return number * number


def search(first):
    (one,) = yield [first]
    two, three = yield [one + 1, first]
    return one, two, three


def unlucky():
    try:
        yield [1, 13]
    except BadOption as error:
        (after,) = yield [2]
        return str(error), after


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_search_gets_its_own_results(jobs):
    with Workers(squared, jobs) as workers:
        found = workers.drive([search(2), search(3), search(2)])
        assert found == [(4, 25, 4), (9, 100, 9), (4, 25, 4)]
        assert workers.count == 4
        assert workers.results([3, 2]) == [9, 4]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_mistake_of_the_users_is_raised_where_it_was_asked_for(jobs):
    with Workers(squared, jobs) as workers:
        assert workers.drive([unlucky(), search(2)]) == [("13 is none", 4), (4, 25, 4)]


def test_progress_counts_what_is_done_once():
    done = []
    with Workers(squared, 1, done.append) as workers:
        workers.results([1, 2, 1])
    assert done == [1, 1]


def test_a_search_may_ask_for_nothing():
    def at_once():
        return "found"
        yield

    with Workers(squared, 1) as workers:
        assert workers.drive([at_once()]) == ["found"]
