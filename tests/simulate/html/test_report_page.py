"""The page says what the result files say, nothing else, the same each time, and asks nobody."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest
import tiny
from html_reports import (
    HOSTILE,
    HOSTILE_DIRECTORY,
    POLICIES,
    Page,
    shown_number,
    summary_of,
    told,
)

from simulate.compare import compare
from simulate.html.page import page_of
from simulate.html.result import read_results
from simulate.results import write_results
from simulate.scenario import Scenario


@pytest.fixture(scope="module")
def page(run):
    return Page((run / "report.html").read_text())


@pytest.fixture(scope="module")
def both(run, other):
    return Page(page_of(read_results([run, other])))


def assert_figures(page, summaries):
    for attrs, words in page.figures:
        exact = told(summaries[int(attrs["data-run"])], attrs["data-of"])
        assert float(attrs["value"]) == exact, attrs
        times = float(attrs["data-times"])
        # Three digits or so, or a tenth of a percent.
        assert shown_number(words) == pytest.approx(times * exact, rel=0.006, abs=0.0501), attrs


def test_every_figure_is_that_of_the_summary(page, run):
    assert len(page.figures) > 100
    assert_figures(page, [summary_of(run)])


def test_every_figure_of_several_runs_is_that_of_its_summary(both, run, other):
    assert {attrs["data-run"] for attrs, _ in both.figures} == {"0", "1"}
    assert_figures(both, [summary_of(run), summary_of(other)])


def test_the_first_thing_said_is_the_answer(page, run):
    policies = summary_of(run)["policies"]
    best = max(policies[1:], key=lambda policy: policy["saving"]["value"])
    heading = re.search(r"<h1[^>]*>(.*?)</h1>", (run / "report.html").read_text())[1]
    words = "".join(Page(heading).text)
    assert words.startswith(f"{best['policy']} ")
    assert f"{best['saving']['value']:.1%}" in words
    for policy in POLICIES:
        assert policy in page.text


def test_every_warning_and_every_origin_is_there(page, run):
    text = " ".join(page.text)
    summary = summary_of(run)
    assert summary["warnings"]
    for line in summary["warnings"]:
        assert line in text
    for origin in (summary["trace"]["source"], summary["calibration"]["provenance"]):
        for words in (origin["kind"], origin["licence"]):
            assert words in text
    assert tiny.MADE_UP in text
    assert summary["versions"]["numpy"] in text


def test_several_runs_say_how_they_differ(both):
    text = [words.strip() for words in both.text]
    at = text.index("How the runs differ")
    table = text[at : at + 60]
    assert "replicas" in table
    assert {"2", "3"} <= set(table)
    # What was told alike is not in the table.
    assert "seed" not in table


def test_it_asks_nobody(page):
    """Nothing is loaded from anywhere, and a policy in the page forbids it."""
    for tag, attrs in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            if name in attrs:
                assert attrs[name].startswith(("#", "data:")), (tag, attrs)
    policies = [m["content"] for m in page.of("meta") if m.get("http-equiv")]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'; script-src 'sha256-")


def test_what_others_wrote_cannot_become_html(page, both):
    """Names of traces and of directories are what somebody else chose."""
    for found, scripts in ((page, 4), (both, 4)):
        assert not found.of("img")
        assert len(found.of("script")) == scripts
        assert HOSTILE in " ".join(found.text)
    assert HOSTILE_DIRECTORY in " ".join(both.text)


def test_twenty_thousand_requests_stay_under_five_megabytes(tmp_path):
    trace = tiny.random_trace(np.random.default_rng(2), 20_000, 12.0)
    scenario = Scenario(("phase-aware", "min-edp", "power-cap:230"), replicas=2, draws=0)
    write_results(compare(trace, tiny.uncertain(), scenario), tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 5e6


def test_every_plot_has_a_name_words_and_a_table(page):
    figures = page.of("figure")
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    assert len(figures) >= 15
    for attrs in figures:
        assert attrs["aria-labelledby"] in ids
        assert attrs["aria-describedby"] in ids
    assert len(page.of("table")) > len(figures)
    assert page.of("html") == [{"lang": "en"}]
    for tag in ("h1", "main", "header", "nav", "footer"):
        assert len(page.of(tag)) == 1, tag
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert all(later <= before + 1 for before, later in pairwise(levels))


def test_plots_are_drawn_in_places_that_exist(run):
    raw = (run / "report.html").read_text()
    plots = json.loads(re.search(r'id="plots">(.*?)</script>', raw, re.DOTALL)[1])
    (item,) = plots["items"]
    ids = {attrs["id"] for _, attrs in Page(raw).elements if "id" in attrs}
    assert set(item["roots"].values()) <= ids
    assert set(item["roots"]) == {root["id"] for root in plots["docs"]["plots"]["roots"]}
