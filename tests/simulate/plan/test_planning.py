"""Plans are optimal: by closed forms, and by brute force; and their promises hold."""

import json
import math

import numpy as np
import pytest
import structured
import tiny
import two_models
from fleets import RECIPE, brute_force, goals_of, words_of

from phasewatt.errors import BadOption
from simulate.costs import Growth, parse_objective
from simulate.plan.candidates import candidates_of
from simulate.plan.document import plan_document
from simulate.plan.planning import plan
from simulate.plan.runs import RunTask, run
from simulate.sweep.axes import parse_axes

ENERGY = parse_objective("energy")
CLOCKS = ("fixed:1000", "fixed:1500", "fixed:1750")


def chosen(found):
    best = found.choice
    return best.candidate.policy, best.replicas


def test_steady_arrivals_need_as_many_replicas_as_come_while_one_is_served(tmp_path):
    # D/D/c: nobody ever waits with ceil(service / gap) replicas, and with one fewer all do.
    count, gap_s = 120, 3.0
    columns = (gap_s * np.arange(count), [512] * count, [17] * count)
    words = words_of(tmp_path, tiny.calibration(), columns, policy=CLOCKS)
    waits_s = 0.01
    for mhz, longest_s in ((1500, tiny.prefill_s(512, 1500)), (1750, tiny.prefill_s(512, 1750))):
        found = plan(words, goals_of(f"ttft={longest_s + waits_s}"), ENERGY, draws=2, jobs=1)
        sizes = {each.candidate.policy: each.replicas for each in found.ranking.choices}
        service_s = tiny.prefill_s(512, mhz) + tiny.decode_s(16, mhz)
        assert sizes[f"fixed:{mhz}"] == math.ceil(service_s / gap_s)
    # The slow clocks are ruled out without a run: their prefill alone is too long.
    assert {each.candidate.policy for each in found.ranking.dropped if each.stage == "bound"} >= {
        "fixed:1000",
        "fixed:1500",
    }


def test_one_server_of_exponential_services_has_the_clock_of_theory(tmp_path):
    # M/M/1: the 90th percentile of the time in the system is ln(10) / (1 / service - rate).
    rng = np.random.default_rng(5)
    count, rate, steps = 6000, 0.025, 40
    columns = (
        np.cumsum(rng.exponential(1 / rate, count)),
        [1] * count,
        np.round(rng.exponential(steps, count)).astype(int) + 1,
    )
    words = words_of(tmp_path, tiny.calibration(), columns, policy=CLOCKS, replicas="1")
    stays_s = {
        mhz: math.log(10) / (1 / tiny.decode_s(steps, mhz) - rate) for mhz in (1000, 1500, 1750)
    }
    watts = {
        mhz: 50 + rate * tiny.decode_s(steps, mhz) * (tiny.decode_w(mhz) - 50) for mhz in stays_s
    }
    for limit_s in (0.85 * stays_s[1000], 1.25 * stays_s[1000]):
        allowed = [mhz for mhz, stay_s in stays_s.items() if stay_s <= limit_s]
        best = min(allowed, key=watts.__getitem__)
        found = plan(words, goals_of(f"e2e={limit_s}", confidence=0.8), ENERGY, draws=3, jobs=1)
        assert chosen(found) == (f"fixed:{best}", 1)
        gpu_w = found.choice.runs[0].month.gpu_energy_j / found.choice.runs[0].month.seconds
        assert gpu_w == pytest.approx(watts[best], rel=0.05)


@pytest.mark.parametrize(
    ("objective", "grid", "costs"),
    [
        ("energy", ["routing=round-robin,least-outstanding"], {}),
        ("cost", [], {"price": "0.2", "gpu_price": ("2000",), "carbon": "300"}),
        ("cost=1,carbon=0.5", [], {"price": "0.2", "gpu_price": ("200",), "carbon": "300"}),
    ],
)
def test_small_spaces_are_planned_as_brute_force_plans_them(tmp_path, objective, grid, costs):
    words = words_of(tmp_path, tiny.uncertain(), RECIPE, policy=(*CLOCKS, "min-edp"), **costs)
    axes = parse_axes(grid)
    goals = goals_of("ttft=6,e2e=18", confidence=0.9, max_gpus=7)
    kept = brute_force(candidates_of(words, axes), goals, objective, 3, 7)
    found = plan(words, goals, parse_objective(objective), axes, draws=3, jobs=1)
    best = min(kept, key=kept.__getitem__)
    assert (found.choice.candidate.label, found.choice.replicas) == best
    assert found.choice.value == pytest.approx(kept[best])
    for choice in found.ranking.choices:
        label = choice.candidate.label
        assert kept[label, choice.replicas] == pytest.approx(choice.value)
        assert (label, choice.replicas - 1) not in kept
    left_out = {each.candidate.label for each in found.ranking.dropped}
    assert len(left_out) + len(found.ranking.choices) == len(found.candidates)
    least = {label: min(v for (who, _), v in kept.items() if who == label) for label, _ in kept}
    assert all(least.get(label, math.inf) >= found.choice.value for label in left_out)


def test_a_promise_holds_in_twenty_new_runs_and_one_replica_fewer_breaks_it(tmp_path):
    words = words_of(tmp_path, tiny.uncertain(), RECIPE, policy=("min-edp", "max-frequency"))
    goals = goals_of("ttft=6,e2e=18", confidence=0.9)
    found = plan(words, goals, ENERGY, draws=5, jobs=1)

    def keeps(replicas):
        runs = [
            run(RunTask(found.choice.candidate, replicas, k, 1.0, goals.figures, goals.window))
            for k in range(100, 120)
        ]
        return sum(found.question.met(each) for each in runs)

    assert keeps(found.choice.replicas) >= 18
    assert keeps(found.choice.replicas - 1) < 18


def test_the_same_plan_whatever_the_number_of_processes(tmp_path):
    words = words_of(tmp_path, tiny.uncertain(), RECIPE, policy=("min-edp", "fixed:1750"))
    alone, together = (
        plan_document(plan(words, goals_of("ttft=6"), ENERGY, draws=2, jobs=jobs))
        for jobs in (1, 2)
    )
    assert json.dumps(alone) == json.dumps(together)


def test_models_of_too_little_quality_are_left_out(tmp_path):
    table = tmp_path / "answered.csv"
    rows = [f"{k},200,9,{k % 2},{int(k % 10 > 0)}" for k in range(60)]
    table.write_text(
        "arrival_s,prompt_tokens,output_tokens,quality.tiny,quality.huge\n" + "\n".join(rows)
    )
    words = words_of(tmp_path, two_models.calibration(), str(table), policy="max-frequency")
    axes = parse_axes(["model=tiny,huge"])
    free = plan(words, goals_of("e2e=40"), ENERGY, axes, draws=2, jobs=1)
    assert free.choice.candidate.setting == "tiny"
    held = plan(words, goals_of("e2e=40", min_quality=0.8), ENERGY, axes, draws=2, jobs=1)
    assert held.choice.candidate.setting == "huge"
    assert held.choice.value > free.choice.value
    assert plan_document(held)["choices"][0]["quality"] == pytest.approx(0.9)
    assert "quality 50.0% (measured) is below the 80.0%" in held.ranking.dropped[0].reason


def test_budgets_leave_out_what_draws_or_counts_too_much(tmp_path):
    words = words_of(tmp_path, tiny.calibration(), RECIPE, policy=CLOCKS)
    free = plan(words, goals_of("ttft=6"), ENERGY, draws=2, jobs=1)
    sizes = {each.candidate.policy: each for each in free.ranking.choices}
    needed = max(each.replicas for each in sizes.values())
    held = plan(words, goals_of("ttft=6", max_gpus=needed - 1), ENERGY, draws=2, jobs=1)
    assert all(each.replicas < needed for each in held.ranking.choices)
    peaks_w = {name: max(r.rack_peak_w for r in each.runs) for name, each in sizes.items()}
    lowest = min(peaks_w, key=peaks_w.__getitem__)
    held = plan(
        words, goals_of("ttft=6", rack_power_w=peaks_w[lowest] + 1), ENERGY, draws=2, jobs=1
    )
    assert [each.candidate.policy for each in held.ranking.choices] == [lowest]
    none = plan(words, goals_of("ttft=6", site_power_w=100.0), ENERGY, draws=2, jobs=1)
    assert none.choice is None
    assert none.simulated == 0
    assert "the site draws" in none.ranking.dropped[0].reason


def test_a_fleet_grows_with_its_load(tmp_path):
    words = words_of(tmp_path, tiny.calibration(), RECIPE, policy="fixed:1750")
    growth = Growth(0.16, 4)
    found = plan(words, goals_of("ttft=6"), ENERGY, growth=growth, draws=2, jobs=1)
    sizes = [month.replicas for month in found.schedule]
    assert sizes == sorted(sizes)
    assert len(sizes) == 5
    assert sizes[0] < sizes[-1] == found.choice.replicas
    for month in (found.schedule[0], found.schedule[2]):
        alone = plan(
            {**words, "rate_scale": month.load}, goals_of("ttft=6"), ENERGY, draws=2, jobs=1
        )
        assert alone.choice.replicas == month.replicas


def test_headroom_ends_where_the_fleet_breaks(tmp_path):
    words = words_of(tmp_path, tiny.calibration(), RECIPE, policy="fixed:1750")
    found = plan(words, goals_of("ttft=6"), ENERGY, draws=2, jobs=1)
    room, choice, goals = found.headroom, found.choice, found.question.goals
    assert 1 <= room.kept < room.broken
    assert room.why == "TTFT p90"
    first, bound_s = choice.runs[0].latencies_s["ttft_p90"], choice.bounds_s["ttft_p90"]

    def reckoned_s(load):
        each = run(RunTask(choice.candidate, choice.replicas, 0, load, goals.figures, goals.window))
        return each.latencies_s["ttft_p90"] * bound_s / first

    assert reckoned_s(room.kept) <= 6 < reckoned_s(room.broken)


def test_what_ifs_are_about_the_choice(tmp_path):
    words = words_of(
        tmp_path, tiny.calibration(), RECIPE, policy=CLOCKS, price="0.2", gpu_price=("100",)
    )
    found = plan(words, goals_of("ttft=6"), parse_objective("cost"), draws=2, jobs=1)
    rows = {each.change: each for each in found.what_ifs}
    assert rows["load +20%"].replicas >= found.choice.replicas
    assert rows["latency limits -20%"].replicas >= found.choice.replicas
    assert rows["clocks left alone"].policy == "max-frequency"
    lowest = rows["lowest clock, 1,000 MHz"]
    assert lowest.policy == "fixed:1000"
    alone = plan(
        {**words, "policies": ("fixed:1000",)},
        goals_of("ttft=6"),
        parse_objective("cost"),
        draws=2,
        jobs=1,
    )
    assert (lowest.replicas, lowest.value) == (alone.choice.replicas, alone.choice.value)
    assert 1 < rows["price of electricity x 2"].against < 2


def test_a_model_that_a_policy_names_stays_where_clocks_change(tmp_path):
    policy = "single:huge+fixed:1500"
    words = words_of(tmp_path, two_models.calibration(), RECIPE, policy=policy)
    found = plan(words, goals_of("e2e=80"), ENERGY, draws=2, jobs=1)
    assert found.choice.looks[0].model == "huge"
    rows = {each.change: each for each in found.what_ifs}
    assert rows["clocks left alone"].policy == "single:huge+max-frequency"
    assert rows["lowest clock, 1,000 MHz"].policy == "single:huge+fixed:1000"


def test_a_file_that_changed_is_read_again(tmp_path):
    def planned(gap_s):
        columns = (gap_s * np.arange(40), [512] * 40, [17] * 40)
        words = words_of(tmp_path, tiny.calibration(), columns, policy="fixed:1500")
        return plan(words, goals_of("ttft=4"), ENERGY, draws=2, jobs=1).choice.replicas

    assert planned(2.0) > planned(6.0)


def test_candidates_are_told_by_what_tells_them_apart(tmp_path):
    words = words_of(tmp_path, tiny.calibration(), RECIPE, policy="fixed:1750")
    axes = parse_axes(["routing=round-robin,least-tokens", "max-slowdown=0.1,0.2", "model=tiny"])
    assert [each.label for each in candidates_of(words, axes)] == [
        "round-robin max-slowdown=0.1 fixed:1750",
        "round-robin max-slowdown=0.2 fixed:1750",
        "least-tokens max-slowdown=0.1 fixed:1750",
        "least-tokens max-slowdown=0.2 fixed:1750",
    ]


def test_wrong_plans(tmp_path):
    words = words_of(tmp_path, tiny.calibration(), RECIPE, policy="fixed:1750")
    for changes, axes, says in (
        ({}, ["replicas=1:3"], "cannot be an axis of a plan"),
        ({}, ["prefill-mhz=1000,1500"], "cannot be an axis of a plan"),
        ({"groups": ("a=tiny:1",)}, [], "leave it out"),
        ({"policies": ("fixed:99",)}, [], "outside the calibrated range"),
        ({"arrivals": "offline"}, [], "arrive over time"),
        ({"trace": "gone.csv"}, [], "no such file"),
    ):
        with pytest.raises(Exception, match=says):
            plan({**words, **changes}, goals_of("ttft=6"), ENERGY, parse_axes(axes), jobs=1)
    with pytest.raises(BadOption, match="--seeds: found 1"):
        plan(words, goals_of("ttft=6"), ENERGY, draws=1)
    with pytest.raises(BadOption, match="--jobs: found 0"):
        plan(words, goals_of("ttft=6"), ENERGY, jobs=0)
    with pytest.raises(BadOption, match="nothing tells cost"):
        plan(words, goals_of("ttft=6"), parse_objective("cost"))


def test_pools_are_split_and_run_as_they_are_written(tmp_path):
    recipe = "synthetic:poisson,rate=60,n=60,prompt=lognormal:900:0.5,output=lognormal:40:0.5"
    words = words_of(
        tmp_path,
        structured.calibration(memory_bytes=4e9),
        recipe,
        policy=("max-frequency", "phase-aware"),
    )
    goals, axes = goals_of("ttft=0.2,tpot=0.02"), ["batching=disaggregated"]
    found = plan(words, goals, ENERGY, parse_axes(axes), draws=2, jobs=1)
    best = found.choice
    written = found.words_of(best)["batching"]
    assert written.startswith("disaggregated:")
    assert sum(map(int, written.split(":")[1:])) == best.replicas > 2
    axes = [f"batching={written}"]
    again = plan(words, goals, ENERGY, parse_axes(axes), draws=2, jobs=1)
    same = {each.candidate.policy: each for each in again.ranking.choices}[best.candidate.policy]
    assert [run.latencies_s for run in same.runs] == [run.latencies_s for run in best.runs]
    assert same.value == best.value
    assert same.candidate.fixed == best.replicas


def test_where_energy_is_paid_for_more_replicas_pay_only_so_far(tmp_path):
    words = words_of(tmp_path, tiny.calibration(), RECIPE, policy="fixed:1750", price="-0.2")
    found = plan(words, goals_of("ttft=6", max_gpus=9), parse_objective("cost"), draws=2, jobs=1)
    assert found.choice.replicas == 9
    assert found.choice.value < 0
    assert found.choice.below.startswith("it would do")
