"""What only happens on a GPU, against a played one: events, and graphs that are checked."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from calibrate.torchbench import steps
from calibrate.torchbench.stopwatch import stopwatch

GPU = SimpleNamespace(type="cuda")


class PlayedEvent:
    """Event number n happens at n squared milliseconds, and tells when the host waits for it."""

    made: list["PlayedEvent"]
    waited: list[int]

    def __init__(self, enable_timing):
        assert enable_timing
        self.number = None

    def record(self):
        self.number = len(self.made)
        self.made.append(self)

    def synchronize(self):
        self.waited.append(self.number)

    def elapsed_time(self, later):
        return float(later.number**2 - self.number**2)


@pytest.fixture
def events(monkeypatch):
    played = type("Event", (PlayedEvent,), {"made": [], "waited": []})
    monkeypatch.setattr(torch.cuda, "Event", played)
    return played


def test_spans_are_the_times_between_events(events):
    watch = stopwatch(GPU, lead=9)
    for _ in range(5):
        watch.mark()
    np.testing.assert_allclose(watch.spans_s(), [1e-3, 3e-3, 5e-3, 7e-3])
    assert events.waited == [4]


def test_the_host_runs_ahead_by_its_lead_and_no_further(events):
    watch = stopwatch(GPU, lead=2)
    for number in range(6):
        watch.mark()
        assert events.waited == list(range(max(number - 1, 0)))


class PlayedGraph:
    """Repeats what was launched while it was captured, as ``replayed`` says."""

    replayed = None

    def replay(self):
        self.replayed()


@pytest.fixture
def graphs(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Stream", lambda: SimpleNamespace(wait_stream=lambda _: None))
    monkeypatch.setattr(torch.cuda, "current_stream", torch.cuda.Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", PlayedGraph)
    monkeypatch.setattr(torch.cuda, "graph", lambda _: nullcontext())


def counting(ids):
    """A step whose logits follow from its tokens, and which feeds tokens to the next."""
    logits = torch.empty(2, 8)

    def step():
        logits.copy_(torch.sin(torch.arange(8.0) + ids))
        ids.add_(1)
        return logits

    return step


def test_a_graph_that_repeats_its_step_is_used(graphs, monkeypatch):
    ids = torch.tensor([[3], [5]])
    step = counting(ids)
    monkeypatch.setattr(PlayedGraph, "replayed", lambda self: step())
    replay = steps._captured(step, ids)
    before = ids.clone()
    logits = replay()
    torch.testing.assert_close(logits, torch.sin(torch.arange(8.0) + before))


def test_a_graph_that_reads_stale_tokens_is_refused(graphs, monkeypatch):
    ids = torch.tensor([[3], [5]])
    monkeypatch.setattr(PlayedGraph, "replayed", lambda self: None)
    with pytest.raises(RuntimeError, match="captured step's logits differ by 1"):
        steps._captured(counting(ids), ids)


def test_a_graph_that_yields_no_numbers_is_refused(graphs, monkeypatch):
    ids = torch.tensor([[3], [5]])
    step = counting(ids)
    monkeypatch.setattr(PlayedGraph, "replayed", lambda self: step().fill_(torch.nan))
    with pytest.raises(RuntimeError, match="differ by nan"):
        steps._captured(step, ids)
