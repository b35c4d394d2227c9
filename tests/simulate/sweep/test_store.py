"""What is done is kept: nothing runs twice, and nothing stale is taken."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from desk import Counting, furnish, swept, words_for

from phasewatt.errors import Unwritable
from simulate.sweep import digest
from simulate.sweep.document import write_sweep
from simulate.sweep.store import POINTS, Store

GRIDS = ("replicas=1:3", "policy=min-edp,fixed:1500")


@pytest.fixture
def words(tmp_path):
    furnish(tmp_path)
    return words_for(tmp_path)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def count(words, out, grids=GRIDS, seeds=1):
    engine = Counting()
    swept(words, grids, seeds, out, engine)
    return len(engine.ran)


def test_a_sweep_again_runs_nothing_and_a_wider_one_what_is_new(words, out):
    assert count(words, out) == 6
    assert count(words, out) == 0
    assert count(words, out, ("replicas=1:4", "policy=min-edp,fixed:1500")) == 2
    # Whoever has three repeats shuffles each of them: the trace as it was recorded is another.
    assert count(words, out, seeds=3) == 18
    assert count(words, out, seeds=2) == 0


def test_a_sweep_that_was_cut_off_goes_on_and_comes_to_the_same(words, out, tmp_path):
    whole = swept(words, GRIDS, 2, None)
    for after in (0, 5, 4):
        with pytest.raises(KeyboardInterrupt):
            swept(words, GRIDS, 2, out, Counting(cut_off_after=after))
    rest = Counting()
    sweep = swept(words, GRIDS, 2, out, rest)
    assert len(rest.ran) == 12 - 5 - 4
    assert sweep.rows == whole.rows
    for name, each in (("whole", whole), ("parts", sweep)):
        (tmp_path / name).mkdir()
        write_sweep(each, tmp_path / name)
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("t.csv", "2000,5", "2000,6"), ("tiny.json", '"idle_power_w": 50.0', '"idle_power_w": 51.0')],
)
def test_another_content_runs_again_and_the_former_is_still_there(words, out, name, old, new):
    path = out.parent / name
    former = path.read_text()
    assert old in former
    assert count(words, out) == 6
    path.write_text(former.replace(old, new))
    assert count(words, out) == 6
    path.write_text(former)
    assert count(words, out) == 0


def test_the_same_content_by_another_name_is_the_same(words, out, tmp_path):
    assert count(words, out) == 6
    shutil.copy(tmp_path / "t.csv", tmp_path / "u.csv")
    assert count({**words, "trace": str(tmp_path / "u.csv")}, out) == 0


def test_files_that_words_name_are_looked_into(words, out, tmp_path):
    policy = tmp_path / "own.py"
    text = (
        "from policies.governor import max_frequency\n"
        "def made(argument, setting):\n"
        "    return max_frequency(argument, setting)\n"
    )
    policy.write_text(text)
    grids = [f"policy={policy}:made;min-edp", "replicas=2"]
    assert count(words, out, grids) == 2
    policy.write_text(f"{text}# The same to Python, but who knows.\n")
    assert count(words, out, grids) == 1
    sized = ["policy=min-edp", "rate-scale=1,2"]
    assert count({**words, "policies": ("min-edp",)}, out, sized) == 2


def test_other_versions_run_again(words, out, monkeypatch):
    assert count(words, out) == 6
    monkeypatch.setattr(digest, "ROWS_VERSION", digest.ROWS_VERSION + 1)
    assert count(words, out) == 6


def test_parts_that_were_torn_or_are_none_are_passed_over(words, out):
    assert count(words, out) == 6
    (part,) = (out / POINTS).glob("*.parquet")
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    (out / POINTS / "notes.txt").write_text("mine")
    (out / POINTS / "other.parquet").write_bytes(b"")
    pq.write_table(pa.table({"digest": ["a"], "energy_j": [1.0]}), out / POINTS / "old.parquet")
    (out / POINTS / ".part.parquet.x1").write_bytes(whole)
    assert count(words, out) == 6
    assert count(words, out) == 0


def test_without_a_directory_nothing_is_kept(words, tmp_path):
    before = sorted(tmp_path.iterdir())
    assert count(words, None) == 6
    assert count(words, None) == 6
    assert sorted(tmp_path.iterdir()) == before


def test_where_nothing_can_be_written_nothing_runs(words, tmp_path):
    with pytest.raises(Unwritable, match="is a file; expected a directory"):
        swept(words, GRIDS, directory=tmp_path / "t.csv")
    with pytest.raises(Unwritable, match="cannot write here"):
        Store(tmp_path / "t.csv" / "out")
