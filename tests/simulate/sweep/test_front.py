"""What is worth choosing: fronts, means over repeats, and a table that stays short."""

import io
import math

import numpy as np
import pytest
from desk import furnish, swept, words_for
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from simulate.sweep.figures import SCHEMA
from simulate.sweep.front import pareto
from simulate.sweep.picture import figure_of
from simulate.sweep.table import print_sweep

NUMBERS = st.one_of(st.integers(0, 5).map(float), st.just(math.inf))


@pytest.fixture
def words(tmp_path):
    furnish(tmp_path)
    return words_for(tmp_path)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12))
def test_a_front_is_what_nothing_else_beats(points):
    first, second = (np.array([p[i] for p in points], dtype=float) for i in (0, 1))
    found = pareto(first, second).tolist()
    for index, (x, y) in enumerate(points):
        beaten = not (math.isfinite(x) and math.isfinite(y)) or any(
            a <= x and b <= y and ((a, b) != (x, y) or other < index)
            for other, (a, b) in enumerate(points)
        )
        assert (index not in found) == beaten
    assert [points[i][0] for i in found] == sorted(points[i][0] for i in found)


def made_up(figures):
    """An engine whose rows hold what ``figures`` makes of a task, and zeros."""

    def run(tasks):
        zeros = {
            column.name: [] if "list" in str(column.type) else column.type.to_pandas_dtype()(0)
            for column in SCHEMA
            if column.name not in ("error", "models", "quality_how", "currency", "sized_replicas")
        }
        for task in tasks:
            row = {**dict.fromkeys(SCHEMA.names), **zeros, "digest": task.digest, "models": "tiny"}
            yield {**row, "slo_all": None, "warnings": [], **figures(task.words)}

    return run


def test_only_what_someone_chooses_competes(words):
    def figures(said):
        replicas, scale = int(said["replicas"]), said["rate_scale"]
        return {"energy_j": replicas * scale, "e2e_p95_s": 9.0 / replicas}

    sweep = swept(words, ["replicas=1:3", "rate-scale=1,5"], engine=made_up(figures))
    assert [each.at for each in sweep.circumstances] == [{"rate_scale": 1.0}, {"rate_scale": 5.0}]
    for each in sweep.circumstances:
        assert [choice.point.at["replicas"] for choice in each.front] == [1, 2, 3]
    assert all(sweep.table()["pareto"].to_pylist())


def test_repeats_are_averaged_with_the_interval_of_their_mean(words):
    savings = {0: 0.1, 1: 0.2, 2: 0.6}

    def figures(said):
        return {"saving": savings[said["seed"]], "energy_j": 3.0, "e2e_p95_s": 1.0 + said["seed"]}

    sweep = swept(words, ["replicas=2"], seeds=3, engine=made_up(figures))
    (only,) = sweep.circumstances
    (choice,) = only.front
    assert choice.means["saving"] == pytest.approx(0.3)
    assert choice.latency_s("e2e_p95") == pytest.approx(2.0)
    # Student's t of two degrees of freedom, by a table: 4.3027.
    deviation = math.sqrt((0.2**2 + 0.1**2 + 0.3**2) / 2)
    assert choice.saving_reach == pytest.approx(4.3027 * deviation / math.sqrt(3), rel=1e-4)
    assert "30.0±65.7%" in printed(sweep)


def test_the_best_is_the_least_energy_that_meets_the_objectives(words):
    def figures(said):
        replicas = int(said["replicas"])
        return {"energy_j": float(replicas), "slo_all": 1 - 0.1 / replicas**2, "e2e_p95_s": 1.0}

    sweep = swept(words, ["replicas=1:9"], engine=made_up(figures))
    assert sweep.circumstances[0].best.point.at["replicas"] == 4
    lines = printed(sweep).splitlines()
    assert [line.split()[0] for line in lines if line.endswith("best")] == ["4"]


def printed(sweep):
    console = Console(file=io.StringIO(), width=100, highlight=False)
    print_sweep(console, sweep)
    return console.file.getvalue()


@pytest.mark.parametrize(
    "grids",
    [
        ["replicas=1:250", "policy=min-edp,fixed:1500,max-frequency,phase-aware"],
        ["rate-scale=1:100", "replicas=1:10"],
        ["limit=1:1000"],
    ],
    ids=["choices", "circumstances", "nothing but circumstances"],
)
def test_the_table_of_a_thousand_points_fits_a_page(words, grids):
    def figures(said):
        replicas = 1 if said["replicas"] == "auto" else int(said["replicas"])
        return {"energy_j": replicas * 1e6, "e2e_p95_s": 1 / replicas, "fleet_replicas": replicas}

    sweep = swept(words, grids, engine=made_up(figures))
    assert len(sweep.rows) == 1000
    lines = printed(sweep).splitlines()
    assert len(lines) < 70
    assert max(map(len, lines)) <= 100
    assert any("more of the front" in line for line in lines)


def test_warnings_that_differ_in_numbers_alone_are_told_once(words):
    def figures(said):
        lines = ["assumed: a link", f"extrapolated: {said['limit']}% of prompts"]
        late = [f"fixed: the fleet is saturated ({said['limit']}% busy)"]
        return {"warnings": lines + late, "saturated": said["limit"] > 2, "energy_j": 1.0}

    sweep = swept(words, ["limit=1:4"], engine=made_up(figures))
    assert sweep.warnings == (
        "2 of 4 points are saturated: queues still grew at the end, so their latencies depend on "
        "the length of the trace",
        "assumed: a link",
        "extrapolated: 1% of prompts (this or alike in 4 of 4 points)",
    )


def test_numbers_and_words_are_columns(words):
    table = swept(words, ["replicas=1,2", "policy=min-edp", "slo=ttft=1s;e2e=9s"]).table()
    assert table["replicas"].to_pylist() == [1, 1, 2, 2]
    assert table["slo"].to_pylist() == ["ttft=1s", "e2e=9s"] * 2
    assert table["policy"].to_pylist() == ["min-edp"] * 4
    assert table["seed"].to_pylist() == [0] * 4
    assert table.column_names.index("replicas") < table.column_names.index("energy_j")


def test_lines_are_drawn_over_one_axis(words):
    def figures(said):
        return {"energy_j": 3.6e6 * int(said["replicas"]), "e2e_p95_s": 2.0 + len(said["policies"])}

    sweep = swept(words, ["replicas=3,1,2", "policy=min-edp,fixed:1500"], engine=made_up(figures))
    energy, latency = figure_of(sweep).axes
    for line, policy in zip(energy.lines, ("min-edp", "fixed:1500"), strict=True):
        assert line.get_label() == policy
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([1, 2, 3], [1, 2, 3])
    assert [list(line.get_ydata()) for line in latency.lines] == [[3, 3, 3]] * 2
    assert (energy.get_xlabel(), energy.get_ylabel()) == ("replicas", "energy of the fleet, kWh")


def test_a_map_is_drawn_over_both_clocks_and_marks_lie_where_they_are_held(words):
    marked = {**words, "policies": ("max-frequency",), "replicas": "2"}
    sweep = swept(marked, ["prefill-mhz=1000,1500,2000", "decode-mhz=1000,2000"])
    left = figure_of(sweep).axes[0]
    (mesh,) = left.collections
    rows = [row for row in sweep.table().to_pylist() if not row["mark"]]
    assert mesh.get_array().reshape(-1).tolist() == [row["energy_j"] / 3.6e6 for row in rows]
    (mark,) = left.lines
    # A prefill of Tiny GPU draws 50 + 300 f W, f of 2000 MHz, and may draw 320.
    assert mark.get_xdata() == pytest.approx([2000])
    assert mark.get_ydata() == pytest.approx([1800])


def test_more_axes_are_drawn_as_fronts(words):
    def figures(said):
        replicas = int(said["replicas"])
        return {"energy_j": 3.6e6 * replicas, "e2e_p95_s": 60 / replicas, "saturated": replicas < 2}

    grids = ["replicas=1,2,3", "max-slowdown=0.1,0.2,0.3", "rate-scale=1,2", "limit=3,4"]
    (axes,) = figure_of(swept(words, grids, engine=made_up(figures))).axes
    fronts = [line for line in axes.lines if line.get_linestyle() == "-"]
    assert [line.get_label() for line in fronts] == [
        f"rate-scale {scale}, limit {limit}" for scale in (1, 2) for limit in (3, 4)
    ]
    for line in fronts:
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([60, 30, 20], [1, 2, 3])
