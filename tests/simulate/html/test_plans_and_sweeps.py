"""Plans and sweeps on the page: what they found is there, as their files tell it."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from html_reports import PLANNED, Page, run_command, write_plan_and_sweep

from phasewatt.errors import BadResult
from simulate.html.page import page_of
from simulate.html.plan_part import PLAN_VERSION
from simulate.html.result import read_result
from simulate.html.sweep_part import SWEEP_VERSION
from simulate.number import number
from simulate.plan.document import SCHEMA_VERSION as WRITTEN_PLAN_VERSION
from simulate.sweep.document import SWEEP_VERSION as WRITTEN_SWEEP_VERSION


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    return tmp_path_factory.mktemp("desk")


@pytest.fixture(scope="module")
def written(desk):
    return write_plan_and_sweep(desk)


@pytest.fixture(scope="module")
def planned(written):
    return written[0]


@pytest.fixture(scope="module")
def swept(written):
    return written[1]


def cells(page):
    return [words.strip() for words in page.text if words.strip()]


def test_versions_are_those_that_are_written():
    assert (PLAN_VERSION, SWEEP_VERSION) == (WRITTEN_PLAN_VERSION, WRITTEN_SWEEP_VERSION)


def test_a_sweep_shows_every_point_and_what_nothing_beats(swept):
    raw = (swept / "report.html").read_text()
    page, sweep = Page(raw), json.loads((swept / "sweep.json").read_text())
    shown = cells(page)
    assert sweep["front"]
    for choice in sweep["front"]:
        assert choice["command"] in shown
        assert number(choice["e2e_p95_s"]) in shown
    plots = raw.split('id="plots">')[1].split("</script>")[0]
    for axis in ("replicas 2", "replicas 3"):
        assert axis in plots
    for line in sweep["warnings"]:
        assert line in shown


def test_a_plan_shows_its_choice_its_what_ifs_and_what_it_left_out(planned):
    page = Page((planned / "report.html").read_text())
    plan = json.loads((planned / "plan.json").read_text())
    shown, best = cells(page), plan["choices"][0]
    assert any(
        words.startswith(f"{best['replicas']} replica") and best["candidate"] in words
        for words in shown
    )
    assert best["command"] in shown
    for each in plan["what_ifs"]:
        assert each["change"] in shown
    for each in plan["dropped"]:
        assert each["reason"] in shown
    for each in plan["costs"]:
        assert any(each["source"] in words for words in shown)
    # The replay of the choice is on the same page.
    assert page.figures
    assert any(words.startswith("Energy by state") for words in shown)


def test_a_plan_that_nothing_keeps_is_a_page_too(desk, written):
    assert run_command(desk, "plan", *PLANNED, "--slo", "e2e=1ms", output="none") == 1
    page = Page((desk / "none" / "report.html").read_text())
    assert "No candidate keeps the goals" in cells(page)
    assert not page.figures


def test_a_sweep_that_lacks_its_points_is_refused(swept, tmp_path):
    (tmp_path / "sweep.json").write_text((swept / "sweep.json").read_text())
    with pytest.raises(BadResult, match=r"sweep.parquet: is missing"):
        page_of([read_result(tmp_path)])


def test_grids_of_many_policies_are_told_apart_from_what_policies_choose(swept, tmp_path):
    table = pq.read_table(swept / "sweep.parquet")
    first = table.slice(0, 1).to_pylist()[0]
    rows = [{**first, "policy": f"fixed:{mhz}"} for mhz in range(1000, 2000, 100)]
    rows.append({**first, "policy": "phase-aware", "mark": True})
    pq.write_table(pa.Table.from_pylist(rows, table.schema), tmp_path / "sweep.parquet")
    (tmp_path / "sweep.json").write_text((swept / "sweep.json").read_text())
    keys = cells(Page(page_of([read_result(tmp_path)])))
    assert "points of the grid" in keys
    assert "phase-aware" in keys
    assert "fixed:1000" not in keys
