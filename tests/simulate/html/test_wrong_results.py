"""A directory that is no whole result is refused in one line that says what to do."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from html_reports import summary_of

from phasewatt.errors import BadResult
from simulate.cli import main
from simulate.html.differences import differences
from simulate.html.result import read_result, read_results


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copy")


def changed(run, **changes):
    (run / "summary.json").write_text(json.dumps({**summary_of(run), **changes}))


def lacking(run, name):
    summary = summary_of(run)
    del summary[name]
    (run / "summary.json").write_text(json.dumps(summary))


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_another_run(run):
    table = pq.read_table(run / "requests.parquet")
    pq.write_table(table.slice(0, table.num_rows - 1), run / "requests.parquet")


def of_another_power(run):
    table = pq.read_table(run / "power.parquet")
    pq.write_table(table.slice(0, table.num_rows - 50), run / "power.parquet")


WRONG = {
    "no summary": (lambda run: (run / "summary.json").unlink(), "holds no summary.json"),
    "older": (lambda run: changed(run, schema_version=1), "older phasewatt: replay again"),
    "newer": (lambda run: changed(run, schema_version=99), "newer phasewatt: update this one"),
    "another schema": (lambda run: changed(run, schema="x"), 'no "schema" of "phasewatt-summary"'),
    "lacks words": (lambda run: lacking(run, "words"), "summary.json: lacks 'words'"),
    "cut-off summary": (lambda run: half(run / "summary.json"), "not JSON"),
    "no curves": (lambda run: (run / "curves.json").unlink(), "curves.json: is missing"),
    "no table": (lambda run: (run / "power.parquet").unlink(), "power.parquet: is missing"),
    "half-copied": (lambda run: half(run / "requests.parquet"), "copy the whole directory again"),
    "another run's": (of_another_run, "these files are of different runs"),
    "another power": (of_another_power, "the files are of different runs"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_and_nothing_is_written(case, copy, capsys):
    spoil, says = WRONG[case]
    spoil(copy)
    page = copy.parent / "page.html"
    with pytest.raises(SystemExit) as end:
        main(["report", str(copy), "-o", str(page)])
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert says in error
    assert str(copy) in error
    assert len(error.splitlines()) == 1
    assert not page.exists()


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(BadResult, match="found nothing; expected a directory"):
        read_result(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(BadResult, match="found a file; expected a directory"):
        read_result(tmp_path / "file")


def test_one_directory_twice_is_refused(run):
    with pytest.raises(BadResult, match="named twice"):
        read_results([run, run / "."])


def test_runs_are_called_by_what_tells_them_apart(run, tmp_path):
    one = shutil.copytree(run, tmp_path / "a" / "run")
    two = shutil.copytree(run, tmp_path / "b" / "run")
    assert [each.name for each in read_results([one, two])] == [str(one), str(two)]
    three = shutil.copytree(run, tmp_path / "c" / "other")
    assert [each.name for each in read_results([one, three])] == ["run", "other"]
    assert differences(read_results([one, three])).rows == ()


def test_the_command_writes_the_same_page_again_beside_the_files_it_read(copy, capsys):
    before = (copy / "report.html").read_bytes()
    (copy / "report.html").unlink()
    with pytest.raises(SystemExit) as end:
        main(["report", str(copy)])
    assert end.value.code == 0
    assert (copy / "report.html").read_bytes() == before
    assert f"wrote {copy}/report.html" in capsys.readouterr().err
