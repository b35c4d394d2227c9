"""The thread that launches kernels goes where it is quick, and may go anywhere afterwards."""

import os

import pytest

from calibrate.torchbench import cores
from calibrate.torchbench.cores import MOST_CORES, on_quick_core, quickest, spread


def test_the_quickest_core_is_told_by_its_best_trial():
    trials = {3: iter([9.0, 1.0, 9.0]), 5: iter([2.0, 2.0, 2.0]), 7: iter([4.0, 4.0, 4.0])}
    assert quickest([3, 5, 7], lambda core: next(trials[core])) == 3


@pytest.mark.parametrize("count", [1, 2, MOST_CORES, 100, 256])
def test_of_many_cores_some_are_tried_from_end_to_end(count):
    chosen = spread(range(10, 10 + count))
    assert len(chosen) == len(set(chosen)) == min(count, MOST_CORES)
    assert chosen[0] == 10
    assert chosen[-1] >= 10 + count - count / MOST_CORES - 1


def test_the_thread_stays_on_the_quick_core_and_is_let_go(monkeypatch):
    allowed = os.sched_getaffinity(0)
    slow = {core: float(core) for core in allowed}
    monkeypatch.setattr(cores, "_tried_s", lambda core: -slow[core])
    with on_quick_core():
        assert os.sched_getaffinity(0) == {max(allowed)}
    assert os.sched_getaffinity(0) == allowed
    with pytest.raises(KeyboardInterrupt), on_quick_core():
        raise KeyboardInterrupt
    assert os.sched_getaffinity(0) == allowed


def test_cores_are_tried_where_they_are(monkeypatch):
    seen = []
    allowed = os.sched_getaffinity(0)
    moved = cores._move
    monkeypatch.setattr(cores, "_move", lambda core: (seen.append(core), moved(core)))
    with on_quick_core():
        assert set(seen) == allowed
        assert os.sched_getaffinity(0) == {seen[-1]}


def test_systems_without_affinity_choose_for_themselves(monkeypatch):
    allowed = os.sched_getaffinity(0)
    monkeypatch.delattr(os, "sched_setaffinity")
    with on_quick_core():
        assert os.sched_getaffinity(0) == allowed
