"""Whatever runs the points, and whatever dies over them, the same rows come back."""

from dataclasses import replace

import dask
import pytest
from click.testing import CliRunner
from desk import KILLERS, Counting, furnish, swept, words_for
from distributed import LocalCluster

from phasewatt.errors import BadOption
from simulate.cli import main
from simulate.sweep import cluster
from simulate.sweep.document import write_sweep
from simulate.sweep.figures import refused
from simulate.sweep.processes import GIVEN_UP, PointFailed
from simulate.sweep.sweep import engine_of
from simulate.sweep.task import Elsewhere


@pytest.fixture
def words(tmp_path):
    furnish(tmp_path)
    return words_for(tmp_path)


def files(sweep, directory):
    directory.mkdir()
    write_sweep(sweep, directory)
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def cluster_of_two():
    """A scheduler, and two processes that work for it, over TCP on this machine."""
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        return LocalCluster(
            n_workers=2, threads_per_worker=1, protocol="tcp://", dashboard_address=None
        )


def grids(tmp_path):
    once = f"{KILLERS}:Once:{tmp_path / 'killed'}"
    return ["replicas=1:3", f"policy=min-edp;fixed:99;{once}"]


def test_processes_and_a_cluster_lose_nothing_when_a_worker_is_killed(words, tmp_path):
    sized = {**words, "replicas": "2"}
    marker = tmp_path / "killed"
    marker.touch()
    calm = files(swept(words, grids(tmp_path), 2, engine=engine_of(jobs=1)), tmp_path / "calm")
    marker.unlink()
    local = swept(words, grids(tmp_path), 2, tmp_path / "here", engine_of(jobs=2))
    assert marker.exists()
    assert files(local, tmp_path / "local") == calm
    marker.unlink()
    with cluster_of_two() as two:
        engine = engine_of(dask=two.scheduler_address)
        remote = swept(words, grids(tmp_path), 2, tmp_path / "there", engine)
        assert marker.exists()
        assert files(remote, tmp_path / "remote") == calm
        two.scheduler.allowed_failures = 0
        told = swept(sized, [f"policy=min-edp;{KILLERS}:always;fixed:1500"], engine=engine)
    assert [row["error"] for row in told.rows] == [None, GIVEN_UP, None]
    again = Counting()
    assert (
        files(swept(words, grids(tmp_path), 2, tmp_path / "there", again), tmp_path / "again")
        == calm
    )
    assert again.ran == []


def test_a_point_that_always_kills_is_given_up_and_tried_again_next_time(words, tmp_path):
    axes = ["replicas=2", f"policy=min-edp;{KILLERS}:always;fixed:1500"]
    first = swept(words, axes, 1, tmp_path / "out", engine_of(jobs=2))
    assert [row["error"] for row in first.rows] == [None, GIVEN_UP, None]
    assert first.warnings[0].startswith("1 of 3 points could not run; the first, replicas=2, ")
    deaths = []

    def noted(tasks):
        deaths.extend(tasks)
        yield refused(tasks[0].digest, GIVEN_UP)

    again = swept(words, axes, 1, tmp_path / "out", noted)
    assert [task.words["policies"] for task in deaths] == [(f"{KILLERS}:always",)]
    assert again.rows == first.rows


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bug_ends_the_sweep_and_leaves_what_was_done(words, tmp_path, jobs):
    good = "policy=fixed:1250;fixed:1500;fixed:1750"
    axes = ["replicas=2", f"{good};{KILLERS}:breaks"]
    with pytest.raises((PointFailed, ZeroDivisionError), match="mine"):
        swept(words, axes, 1, tmp_path / "out", engine_of(jobs=jobs))
    kept = Counting()
    swept(words, ["replicas=2", good], 1, tmp_path / "out", kept)
    # What other processes were at when it came to light is not done.
    assert len(kept.ran) < jobs


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("name", ["t.csv", "tiny.json"])
def test_a_file_that_changes_meanwhile_ends_the_sweep(words, tmp_path, jobs, name):
    path = tmp_path / name
    text = path.read_text()
    changed = (
        text.replace("2000,5", "2000,6") if name == "t.csv" else text.replace("tiny", "tinier")
    )

    def meanwhile(tasks):
        path.write_text(changed)
        yield from engine_of(jobs=jobs)(tasks)

    with pytest.raises(Elsewhere, match="expected the same file everywhere"):
        swept(words, ["replicas=1,2"], engine=meanwhile)


def test_workers_of_another_version_are_refused(words, monkeypatch):
    def elsewhere(tasks):
        yield from engine_of(jobs=1)([replace(task, version="9.9") for task in tasks])

    with pytest.raises(Elsewhere, match=r"runs phasewatt .*; expected 9\.9"):
        swept(words, ["replicas=1,2"], engine=elsewhere)


def test_engines_are_refused_that_are_none():
    with pytest.raises(BadOption, match="--jobs: found 0; expected 1 or more"):
        engine_of(jobs=0)
    with pytest.raises(BadOption, match="leave it out beside --dask"):
        engine_of(jobs=2, dask="tcp://127.0.0.1:8786")


def test_no_scheduler_is_one_line(words, monkeypatch):
    monkeypatch.setattr(cluster, "_CONNECT_S", 0.2)
    with pytest.raises(BadOption, match=r"--dask: no scheduler answers at 'tcp://127\.0\.0\.1:1'"):
        swept(words, ["replicas=1,2"], engine=engine_of(dask="tcp://127.0.0.1:1"))
    with pytest.raises(BadOption, match="--dask: no scheduler answers at 'nowhere'"):
        swept(words, ["replicas=1,2"], engine=engine_of(dask="nowhere"))


def test_ctrl_c_leaves_what_is_done_and_says_how_much(words, tmp_path):
    line = ["sweep", "--trace", words["trace"], "--calibration", words["calibration"]]
    line += ["--replicas", "2", "-o", str(tmp_path / "out"), "--jobs", "1"]
    cut = CliRunner().invoke(main, [*line, "--grid", f"policy=min-edp;{KILLERS}:interrupts"])
    assert cut.exit_code == 2
    assert cut.stdout == ""
    assert f"1 of 2 points are kept in {tmp_path / 'out'}/points\n" in cut.stderr
    assert not (tmp_path / "out" / "sweep.json").exists()
    done = CliRunner().invoke(main, [*line, "--grid", "policy=min-edp,fixed:1500"])
    assert done.exit_code == 0
    assert done.stderr.startswith("1 of 2 points to run\n")
    again = CliRunner().invoke(main, [*line, "--grid", "policy=min-edp,fixed:1500"])
    assert again.stderr.startswith("0 of 2 points to run\n")
    assert again.stdout == done.stdout
