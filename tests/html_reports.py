"""Results of small replays, for tests of pages: written once, read by many."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import tiny

from model.calibration import dump
from simulate.cli import main
from simulate.compare import compare
from simulate.metrics import Slo
from simulate.results import write_results
from simulate.scenario import Scenario

POLICIES = ("phase-aware", "power-cap:230")

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&"
HOSTILE_DIRECTORY = "<img src=x onerror=alert(3)>"


def write_run(directory, seed=1, **changes):
    """Replay a small trace and write its results into ``directory``."""
    scenario = Scenario(POLICIES, replicas=2, draws=4, seed=3, slo=Slo(ttft_s=30.0, e2e_s=60.0))
    trace = tiny.random_trace(np.random.default_rng(seed), 120, 9.0)
    trace = replace(trace, name=HOSTILE)
    directory.mkdir(parents=True, exist_ok=True)
    comparison = compare(trace, tiny.uncertain(), replace(scenario, **changes))
    write_results(comparison, directory)
    return directory


def write_plan_and_sweep(desk):
    """Plan and sweep over a small trace by the commands, as users do; return both directories."""
    (desk / "tiny.json").write_text(dump(tiny.uncertain()))
    rng = np.random.default_rng(4)
    arrivals = np.cumsum(rng.exponential(8.0, 60))
    rows = [f"{at},{rng.integers(1, 900)},{rng.integers(2, 40)}" for at in arrivals]
    (desk / "t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n" + "\n".join(rows))
    grids = ("--grid", "replicas=2:3", "--grid", "policy=min-edp,fixed:1500", "--jobs", "1")
    assert run_command(desk, "sweep", *grids) == 0
    assert run_command(desk, "plan", *PLANNED, "--slo", "e2e=60s") == 0
    return desk / "plan", desk / "sweep"


PLANNED = (
    *("--policy", "fixed:1500", "--policy", "fixed:1750"),
    *("--batching", "none", "--seeds", "3", "--jobs", "1"),
)


def run_command(desk, command, *words, output=None):
    """Run a command of `simulate` on what lies on ``desk``; return its exit code."""
    given = ["--trace", desk / "t.csv", "--calibration", desk / "tiny.json"]
    with pytest.raises(SystemExit) as end:
        main([command, *map(str, (*given, *words, "-o", desk / (output or command)))])
    return end.value.code


def summary_of(directory):
    return json.loads((directory / "summary.json").read_text())


class Page(HTMLParser):
    """What tests ask of a page: its figures, its elements, its text by element."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.figures = []
        self.text = []
        self._open = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag == "data":
            self._open = (found, [])

    def handle_endtag(self, tag):
        if tag == "data":
            found, words = self._open
            self.figures.append((found, "".join(words)))
            self._open = None

    def handle_data(self, data):
        self.text.append(data)
        if self._open is not None:
            self._open[1].append(data)

    def of(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def told(summary, place):
    """Return what stands in ``summary`` at ``place``: names and numbers joined by dots."""
    found = summary
    for step in place.split("."):
        found = found[int(step)] if isinstance(found, list) else found[step]
    return found


def shown_number(words):
    """Return the number that a figure shows, without its unit."""
    kept = "".join(c for c in words.split()[0] if c in "0123456789.-+e")
    return float(kept)
