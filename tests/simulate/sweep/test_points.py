"""Each point of a sweep is what plain ``simulate`` says of its words."""

import json
import shlex

import numpy as np
import pytest
import tiny
from desk import Counting, furnish, swept, words_for
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import simulate
from phasewatt.errors import BadOption, BadPolicy, UserError
from simulate.cli import main
from simulate.sweep.plan import plan_of

OUTPUTS = {"output", "as_json", "verbose"}


@pytest.fixture
def words(tmp_path):
    furnish(tmp_path)
    return words_for(tmp_path)


def replayed(line):
    """What the command line of a row comes to, run alone."""
    params = main.make_context("simulate", shlex.split(line)[1:]).params
    words = {name: value for name, value in params.items() if name not in OUTPUTS}
    inputs = simulate.inputs_of_words(words)
    return simulate.compare(inputs.trace, inputs.calibration, inputs.scenario)


AXES = {
    "replicas": st.lists(st.sampled_from(["1", "2", "auto"]), min_size=1, max_size=2),
    "rate-scale": st.lists(st.sampled_from(["0.5", "1", "3"]), min_size=1, max_size=2),
    "policy": st.lists(st.sampled_from(["min-edp", "fixed:1500", "phase-aware"]), min_size=1),
    "batching": st.lists(st.sampled_from(["none", "static:1"]), min_size=1, max_size=2),
    "slo": st.lists(st.sampled_from(["ttft=1s", "e2e=2s"]), min_size=1, max_size=2),
    "prefill-mhz": st.lists(st.sampled_from(["1000", "1500", "2000"]), min_size=1, max_size=2),
}


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.integers(1, 2))
def test_a_row_is_what_its_command_line_says(words, data, seeds):
    names = data.draw(st.lists(st.sampled_from(sorted(AXES)), min_size=1, max_size=3, unique=True))
    drawn = {name: data.draw(AXES[name]) for name in names}
    if "prefill-mhz" in drawn:
        drawn["decode-mhz"] = ["1250", "1750"]
    sweep = swept(words, [f"{name}={';'.join(texts)}" for name, texts in drawn.items()], seeds)
    table = sweep.table().to_pylist()
    per_setting = {name: set(texts) for name, texts in drawn.items()}
    pairs = len(per_setting.pop("prefill-mhz", ())) * len(per_setting.pop("decode-mhz", ()))
    runs = len(per_setting.pop("policy", {"phase-aware"})) + pairs
    settings_ = int(np.prod([len(texts) for texts in per_setting.values()]))
    assert len(table) == settings_ * seeds * runs
    for row in (table[0], table[len(table) // 2], table[-1]):
        comparison = replayed(row["command"])
        result = comparison.results[-1]
        assert row["policy"] == result.outcome.policy
        assert row["energy_j"] == result.metrics.energy_j
        assert row["saving"] == result.saving.value
        assert row["ttft_p95_s"] == result.metrics.ttft.p95_s
        assert row["fleet_replicas"] == comparison.replicas
        assert row["warnings"] == list(comparison.warnings)
        met = result.metrics.slo_attainment
        assert row["slo_all"] == (None if met is None else met["all"])


def test_policies_and_clocks_of_a_setting_share_the_fleet_that_simulate_would_take(tmp_path):
    trace = "synthetic:poisson,rate=1.5,n=60,prompt=900,output=8"
    furnish(tmp_path)
    words = words_for(tmp_path, trace=trace, policy=("min-energy", "fixed:1500"))
    sweep = swept(words, ["rate-scale=0.5,2", "prefill-mhz=1000,2000", "decode-mhz=1000,2000"])
    for scale in (0.5, 2.0):
        alone = simulate.inputs_of_words({**words, "rate_scale": scale})
        sized = simulate.compare(alone.trace, alone.calibration, alone.scenario)
        rows = [r for r in sweep.table().to_pylist() if r["rate_scale"] == scale]
        assert len(rows) == 6
        assert {row["fleet_replicas"] for row in rows} == {sized.replicas}
        assert {r["energy_j"] for r in rows if r["mark"]} == {
            result.metrics.energy_j for result in sized.results[1:]
        }


def test_seeds_shuffle_what_was_recorded_and_draw_what_was_not(words, tmp_path):
    recorded = swept({**words, "seed": 7}, ["replicas=1"], seeds=3)
    assert [point.seed for point in recorded.plan.points] == [7, 8, 9]
    assert [point.words["shuffle_seed"] for point in recorded.plan.points] == [7, 8, 9]
    drawn = words_for(tmp_path, trace="synthetic:poisson,rate=1,n=9,prompt=90,output=4", seed="7")
    made = swept(drawn, ["replicas=1"], seeds=2)
    assert [point.words["shuffle_seed"] for point in made.plan.points] == [None, None]
    assert len({row["energy_j"] for row in made.rows}) == 2
    assert [each["name"] for each in made.sources["traces"]] == [drawn["trace"]] * 2


def test_baselines_are_replayed_once_a_setting(words, monkeypatch):
    from simulate.sweep import task

    ran = []

    def noting(fleet, *rest):
        ran.append(fleet.policy)
        return run(fleet, *rest)

    run = task.run_fleet
    monkeypatch.setattr(task, "run_fleet", noting)
    swept(words, ["replicas=1,2", "policy=min-edp,fixed:1500,max-frequency"])
    assert ran == ["max-frequency", "min-edp", "fixed:1500"] * 2


def test_a_baseline_in_a_file_that_changes_is_replayed_again(words, tmp_path):
    file = tmp_path / "base.py"
    text = "from policies.governor import fixed\n\n\ndef base(_, setting):\n"
    energies = []
    for mhz in (1000, 2000):
        file.write_text(f"{text}    return fixed('{mhz}', setting)\n")
        sweep = swept({**words, "baseline": f"{file}:base", "replicas": "1"}, ["policy=min-edp"])
        energies.append(sweep.rows[0]["baseline_energy_j"])
        alone = swept({**words, "replicas": "1"}, [f"policy=fixed:{mhz}"])
        assert energies[-1] == alone.rows[0]["energy_j"]
    assert energies[0] != energies[1]


def test_a_point_that_cannot_run_is_a_row_that_says_why(words):
    sweep = swept(words, ["policy=fixed:99;min-edp", "window=0:5,100:200"])
    errors = [row["error"] for row in sweep.rows]
    assert errors[0].startswith("prefill clock 99 MHz is outside the calibrated range")
    assert errors[1] is None
    assert all("window 100 s to 200 s" in error for error in errors[2:])
    assert sweep.warnings[0].startswith("3 of 4 points could not run; the first, window=0:5, ")


def test_if_every_point_is_refused_the_first_reason_is_told(words):
    with pytest.raises(UserError, match="clock 99 MHz is outside"):
        swept(words, ["policy=fixed:99;fixed:98"])


WRONG = {
    "a contradiction": (["queue-limit=2"], 1, "--queue-limit belongs to --routing power-aware"),
    "a later value": (["max-slowdown=0.1,-1"], 1, "--max-slowdown: found -1; expected 0 or more"),
    "a policy": (["policy=min-edp,min-edx"], 1, "unknown policy 'min-edx'"),
    "a selection": (["policy=random:2+min-edp"], 1, "random"),
    "a trace": (["trace=gone.csv"], 1, "gone.csv: found no such file or shipped trace"),
    "a calibration": (["calibration=gone.json"], 1, "gone.json: no such calibration"),
    "a clock": (["decode-mhz=10,1000"], 1, "clock 10 MHz is outside the calibrated range"),
    "a window": (["window=0:5,zz"], 1, "window: found 'zz', expected START:END"),
    "a limit": (["limit=0,1"], 1, "limit: found 0"),
    "a factor": (["rate-scale=1,0"], 1, "rate scale: found 0"),
    "no seeds": (["replicas=1"], 0, "--seeds: found 0; expected 1 or more"),
    "too many": (["limit=1:2000", "replicas=1:2000"], 1, "--grid: found 4,000,000 points"),
    "groups beside clocks": (["group=a=tiny:1", "decode-mhz=1000"], 1, "--group: a sweep over"),
}


@pytest.mark.parametrize(("grids", "seeds", "says"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_before_anything_runs(words, grids, seeds, says):
    engine = Counting()
    with pytest.raises(UserError) as error:
        swept(words, grids, seeds, engine=engine)
    assert says in str(error.value)
    assert engine.ran == []


def test_seeds_and_a_shuffle_contradict_each_other(words):
    with pytest.raises(BadOption, match="leave --shuffle-seed out"):
        plan_of({**words, "shuffle_seed": 3}, simulate.parse_axes(["replicas=1"]), 2)
    with pytest.raises(BadOption, match="--latency: found 'p95'"):
        simulate.sweep(words, latency="p95")
    with pytest.raises(BadPolicy):
        simulate.sweep({**words, "policies": ("no-such",)}, jobs=1)


def test_costs_are_in_the_rows(words):
    priced = {**words, "price": "0.5", "pue": 2.0}
    (row,) = swept(priced, ["replicas=2"]).rows
    assert row["site_energy_j"] == pytest.approx(2 * (row["energy_j"] + row["host_energy_j"]))
    assert row["cost"] == pytest.approx(0.5 * row["site_energy_j"] / 3.6e6)
    assert row["currency"] == "USD"


def test_the_document_holds_no_infinity_and_says_what_made_it(words):
    from simulate.sweep.document import sweep_summary

    document = sweep_summary(swept(words, ["replicas=1,2", "slo=ttft=90s"]))
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again["words"]["trace"] == words["trace"]
    assert again["axes"] == {"replicas": [1, 2], "slo": ["ttft=90s"]}
    assert again["traces"][0]["requests"] == 4
    assert again["calibrations"][words["calibration"]]["gpu"] == tiny.calibration().gpu.name
    assert [best["replicas"] for best in again["best"]] == [1]
