"""Fleets of several kinds: each query is served by a group that may, at that group's price."""

import json

import numpy as np
import pytest
import structured
import tiny

from model.calibration import dump, parse
from model.work import Phase
from phasewatt.errors import BadOption
from policies import PhaseClocks
from simulate.batching import Continuous, Disaggregated, Limits
from simulate.cli import main
from simulate.compare import compare
from simulate.engine import BatchEngine
from simulate.fleet import Fleet, Routing
from simulate.groups import groups_of
from simulate.replay import Group, replay
from simulate.replica import AloneEngine
from simulate.scenario import Scenario
from simulate.service import Lengths, PhaseCost
from simulate.serving import step_prices

SLOW, FAST = structured.calibration(), structured.calibration(decode_faster=4.0)


def alone(seconds, watts, replicas=1, idle_w=10.0, routing=Routing.POWER_AWARE, **more):
    """A group whose queries all take ``seconds`` in each phase at ``watts``."""
    columns = [np.full(5, float(value)) for value in (seconds, watts, 1000.0, 1000.0)]
    service = dict.fromkeys(Phase, PhaseCost(*columns))
    fleet = Fleet(replicas, routing, idle_w, None, 0.0, 0.0, **more)
    return Group(fleet, AloneEngine(service, lambda *_: (0.0, 0.0, 0.0)))


def served_by(arrival_s, groups, may=None):
    arrival_s = np.asarray(arrival_s, dtype=np.float64)
    ones = np.ones(arrival_s.size, dtype=np.int64)
    return replay(arrival_s, Lengths(ones, ones), groups, may=may).replica.tolist()


def test_power_aware_fills_the_thriftiest_group_first_and_then_the_next():
    # 2 x 4 s at 90 W above idle are 720 J; 2 x 1 s at 290 W above idle are 580 J.
    dear, thrifty = alone(4.0, 100.0, replicas=2), alone(1.0, 300.0)
    assert served_by([0, 0, 0, 0, 2.0], [dear, thrifty]) == [2, 0, 1, 0, 2]


def test_idle_power_counts_against_who_would_draw_it_anyway():
    # 8 s at 100 W are 800 J, of which 640 would have been drawn idle; 2 s at 300 W leave 580.
    hot, cold = alone(4.0, 100.0, idle_w=80.0), alone(1.0, 300.0)
    assert served_by([0.0, 50.0, 100.0, 150.0, 200.0], [hot, cold]) == [0] * 5


def test_a_longer_queue_is_allowed_where_it_is_said():
    dear, thrifty = alone(4.0, 100.0), alone(1.0, 300.0, queue_limit=3)
    assert served_by([0] * 5, [dear, thrifty]) == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("routing", Routing)
def test_a_query_goes_to_a_group_that_may_serve_it(routing):
    groups = [alone(1.0, 100.0, replicas=2, routing=routing), alone(1.0, 100.0, routing=routing)]
    may = np.array([[False, True], [True, False], [True, True], [True, False], [False, True]])
    found = served_by([0, 0, 0, 0, 0], groups, may)
    assert found[0] == found[4] == 2
    assert {found[1], found[3]} <= {0, 1}


def test_a_request_that_one_group_cannot_hold_goes_to_another():
    curves = {phase: SLOW.curves_of("tiny", phase) for phase in Phase}
    lengths = Lengths(np.array([160, 16, 400, 16]), np.array([2, 2, 2, 2]))
    arrival_s = np.array([0.0, 0.0, 0.0, 0.0])

    def group(blocks):
        limits = Limits(8192, 8, blocks, refills=True)
        prices = step_prices(curves, SLOW.gpu, None, limits)
        engine = BatchEngine(
            lengths, prices, PhaseClocks("fixed", dict.fromkeys(Phase, 1500.0)), limits, at_once=8
        )
        return Group(Fleet(1, Routing.ROUND_ROBIN, 10.0, None, 0.0, 0.0), engine)

    replayed = replay(arrival_s, lengths, [group(5), group(11)])
    assert replayed.replica[0] == 1
    assert replayed.rejected.tolist() == [False, False, True, False]


def files(tmp_path):
    for name, calibration in (("slow", SLOW), ("fast", FAST)):
        (tmp_path / f"{name}.json").write_text(dump(calibration))
    return [f"--group=old=tiny@{tmp_path}/slow.json:1", f"--group=new=tiny@{tmp_path}/fast.json:2"]


MODES = (("none", ""), ("static:4", ""), ("continuous", ""), ("disaggregated", ":2"))


@pytest.mark.parametrize(("mode", "more"), MODES)
def test_two_kinds_serve_together_in_every_mode(mode, more, tmp_path, capsys):
    groups = [f"{each}{more}" for each in files(tmp_path)]
    blocks = ["--kv-blocks", "600"] if mode in ("continuous", "disaggregated") else []
    words = ["--trace", "azure-code-2023", "--limit", "40", "--draws", "2", "--json"]
    with pytest.raises(SystemExit) as end:
        main([*words, "--batching", mode, *blocks, *groups, "--routing", "least-tokens"])
    assert end.value.code == 0
    summary = json.loads(capsys.readouterr().out)
    assert [group["name"] for group in summary["groups"]] == ["old", "new"]
    of_groups = summary["policies"][1]["groups"]
    replicas = [number for group in of_groups for number in group["replicas"]]
    assert sorted(replicas) == list(range(summary["replicas"]))
    metrics = summary["policies"][1]["metrics"]
    assert sum(summary["policies"][1]["energy_by_replica_j"]) == pytest.approx(metrics["energy_j"])
    assert metrics["requests"] == 40
    assert metrics["rejected"] == 0


def test_each_group_has_clocks_of_its_own_and_only_named_models_serve():
    trace = tiny.random_trace(np.random.default_rng(3), 30, 0.02)
    written = json.loads(dump(SLOW))
    written["name"] = "both"
    for each in [*written["curves"]]:
        written["curves"].append(each | {"model": "other"})
    both = parse(json.dumps(written), "both.json")
    scenario = Scenario(
        ("single:other+phase-aware",),
        groups=("a=tiny:1", "b=other:2,engine=hand"),
        batching=Continuous(2048, 8, 600),
        draws=0,
    )
    stock, chosen = compare(trace, both, scenario).results
    assert set(stock.outcome.group_of.tolist()) == {0, 1}
    assert set(chosen.outcome.group_of.tolist()) == {1}
    assert len(chosen.fleet.groups) == 2


@pytest.mark.parametrize(
    ("groups", "mode", "line"),
    [
        (
            ("a",),
            None,
            "--group: found 'a'; expected NAME=MODEL[@CALIBRATION]:REPLICAS[,engine=NAME][,gpus=N]",
        ),
        (("a=tiny:0",), None, "--group a: found 0 replicas; expected 1 or more"),
        (
            ("a=tiny:1", "a=tiny:2"),
            None,
            "--group: found 'a' twice; expected another name for each",
        ),
        (
            ("a=tiny:1",),
            Disaggregated(1, 1),
            "--group: found 'a=tiny:1'; expected "
            "NAME=MODEL[@CALIBRATION]:PREFILLING:DECODING[,engine=NAME][,gpus=N]",
        ),
    ],
)
def test_wrong_groups_end_in_one_line(groups, mode, line):
    scenario = Scenario((), groups=groups, batching=mode or Continuous())
    with pytest.raises(BadOption) as refused:
        groups_of(scenario, SLOW)
    assert str(refused.value) == line
