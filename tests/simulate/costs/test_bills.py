"""Bills: by hand, as sums over intervals, and what they are made of."""

import dataclasses

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from model.provenance import Kind, Origin
from phasewatt.errors import BadOption
from simulate.compare import compare
from simulate.costs import Costs, Hardware, HostPower, Kit, Rate, Signal, costs_of
from simulate.costs.objective import parse_objective
from simulate.costs.options import NAMES, objective_of
from simulate.costs.signal import JOULES_PER_KWH, constant
from simulate.meter import SERVING
from simulate.scenario import Scenario

MADE_UP = Origin(Kind.ASSUMED, "made up")
HOST = HostPower(800.0, 1600.0, 8, MADE_UP)
TINY = Kit(1, "tiny")


def given_options(**more):
    unset = {name: () if name in ("gpu_prices", "embodied") else None for name in NAMES}
    return {**unset, **more}


def run(trace, replicas=2):
    scenario = Scenario(("max-frequency",), replicas=replicas, draws=0)
    return compare(trace, tiny.calibration(), scenario).results[0].outcome


def costs(**more):
    return Costs(pue=1.25, host=HOST, hardware=Hardware({"": 35040.0}, {"": 876.0}, 4.0), **more)


def test_one_request_by_hand():
    # The limit of 320 W holds prefill, 350 W at 2,000 MHz, to 1,800 MHz; decode draws 200 W.
    outcome = run(tiny.trace([0.0], [1024], [9]))
    prefill_s = tiny.prefill_s(1024, 1800)
    decode_s = tiny.decode_s(8, 2000)
    seconds = prefill_s + decode_s
    bill = costs(
        price=constant("--price", 0.5, MADE_UP),
        carbon=constant("--carbon", 400.0, MADE_UP),
        carbon_price=100.0,
    ).bill(outcome, [TINY])
    gpu_j = prefill_s * tiny.prefill_w(1800) + decode_s * tiny.decode_w(2000) + seconds * 50
    # Two replicas bear 100 W each; the one that serves another 100 W.
    host_j = seconds * 200 + seconds * 100
    site_kwh = 1.25 * (gpu_j + host_j) / JOULES_PER_KWH
    years = seconds / (4 * 365 * 86400)
    assert bill.seconds == pytest.approx(seconds)
    assert bill.gpu_energy_j == pytest.approx(gpu_j)
    assert bill.host_energy_j == pytest.approx(host_j)
    assert bill.site_energy_kwh == pytest.approx(site_kwh)
    assert bill.energy_cost == pytest.approx(0.5 * site_kwh)
    assert bill.carbon_kg == pytest.approx(0.4 * site_kwh)
    assert bill.carbon_cost == pytest.approx(0.4 * site_kwh / 1000 * 100)
    assert bill.hardware_cost == pytest.approx(2 * 35040 * years)
    assert bill.embodied_kg == pytest.approx(2 * 876 * years)
    assert bill.cost == pytest.approx(bill.energy_cost + bill.carbon_cost + bill.hardware_cost)
    assert bill.all_carbon_kg == pytest.approx(bill.carbon_kg + bill.embodied_kg)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.floats(0.5, 40.0))
def test_a_price_over_time_pays_every_interval_at_its_moments(seed, step_s):
    rng = np.random.default_rng(seed)
    outcome = run(tiny.random_trace(rng, 12, 3.0), replicas=int(rng.integers(1, 4)))
    values = rng.uniform(0, 1, 5)
    begins_s = step_s * np.arange(5)
    price = Signal("p", tuple(values), tuple(begins_s), 5 * step_s, True, MADE_UP)
    since_s = float(rng.uniform(0, outcome.arrival_s[-1]))
    bill = costs(price=price).bill(outcome, [TINY], since_s)
    intervals = outcome.replayed.intervals
    slow_cost = slow_j = 0.0
    edges_s = np.arange(0, outcome.makespan_s + step_s, step_s)
    for begin_s, end_s in zip(edges_s, edges_s + step_s, strict=True):
        begin_s = max(begin_s, since_s)
        end_s = min(end_s, outcome.makespan_s)
        if end_s <= begin_s:
            continue
        site_j = 100.0 * outcome.replicas * (end_s - begin_s)
        for state, start_s, duration_s, power_w in zip(
            *(intervals.state, intervals.start_s, intervals.duration_s, intervals.power_w),
            strict=True,
        ):
            inside_s = min(start_s + duration_s, end_s) - max(start_s, begin_s)
            if inside_s > 0:
                site_j += inside_s * (power_w + (100.0 if state in SERVING else 0.0))
        slow_j += 1.25 * site_j
        place = int((begin_s + end_s) / 2 / step_s) % 5
        slow_cost += 1.25 * site_j / JOULES_PER_KWH * values[place]
    assert bill.site_energy_j == pytest.approx(slow_j, rel=1e-9)
    assert bill.energy_cost == pytest.approx(slow_cost, rel=1e-9)


@given(st.integers(0, 2**32))
@settings(max_examples=20)
def test_rates_that_a_run_had_give_its_bill(seed):
    rng = np.random.default_rng(seed)
    outcome = run(tiny.random_trace(rng, 10, 2.0))
    flat = costs(price=constant("p", 0.2, MADE_UP), carbon=constant("c", 300.0, MADE_UP))
    kit = Kit(2, "tiny")
    bill = flat.bill(outcome, [kit])
    time_s = outcome.makespan_s * outcome.replicas
    serving = sum(outcome.time_by_state_s[state] for state in SERVING) / time_s
    rates = [Rate(kit, outcome.replicas, outcome.energy_j / time_s, serving)]
    again = flat.bill_of_rates(rates, outcome.makespan_s)
    for field in dataclasses.fields(bill):
        found, expected = getattr(again, field.name), getattr(bill, field.name)
        assert found == (expected if isinstance(expected, str | None) else pytest.approx(expected))
    watts = flat.site_power_w(bill.gpu_energy_j / bill.seconds, 2 * outcome.replicas, serving)
    assert watts * bill.seconds == pytest.approx(bill.site_energy_j)


def test_hosts_are_as_given_else_as_measured_else_as_assumed():
    own = HostPower(80.0, 240.0, 4, Origin(Kind.MEASURED, "made up"))
    measured, bare = Kit(1, "tiny", own), Kit(1, "tiny")
    assert (costs().host_of(measured), Costs().host_of(measured)) == (HOST, own)
    assert Costs().host_of(bare).origin.kind is Kind.ASSUMED
    outcome = run(tiny.random_trace(np.random.default_rng(1), 5, 2.0))
    bill = Costs(pue=1.0).bill(outcome, [measured])
    serving_s = sum(outcome.time_by_state_s[state] for state in SERVING)
    assert bill.host_energy_j == pytest.approx(2 * 20 * outcome.makespan_s + 40 * serving_s)
    rate = Rate(measured, 3, 100.0, 0.5)
    assert Costs().bill_of_rates([rate], 2.0).host_energy_j == pytest.approx(2 * 3 * 40)
    assert Costs(pue=1.5).site_power_w(100.0, 3, 0.5, own) == pytest.approx(1.5 * (100 + 3 * 40))


def test_a_year_that_goes_on_so_is_so_many_times_the_bill():
    bill = costs(price=constant("p", 0.2, MADE_UP)).bill_of_rates([Rate(TINY, 3, 300.0, 0.5)], 10.0)
    year = bill.scaled(10)
    assert year == dataclasses.replace(
        costs(price=constant("p", 0.2, MADE_UP)).bill_of_rates([Rate(TINY, 3, 300.0, 0.5)], 100.0)
    )
    assert year.carbon_kg is None
    assert year.currency == "USD"


def test_what_nobody_priced_is_none_and_costs_nothing():
    bill = Costs().bill_of_rates([Rate(TINY, 1, 300.0, 1.0)], 10.0)
    assert (bill.cost, bill.all_carbon_kg, bill.hardware_cost) == (None, None, None)
    assert bill.site_energy_j == pytest.approx(1.56 * 10 * (300 + 350))


def test_hardware_is_priced_by_calibration():
    two = Hardware({"a": 10.0, "b": 30.0}, {}, 1.0)
    year_s = 365 * 86400
    assert two.cost(Kit(4, "b"), year_s) == pytest.approx(120.0)
    with pytest.raises(BadOption, match="--gpu-price: found a, b; expected c=, too"):
        two.cost(Kit(1, "c"), year_s)


def test_objectives_weigh_what_bills_say():
    bill = costs(price=constant("p", 0.2, MADE_UP), carbon=constant("c", 300.0, MADE_UP))
    bill = bill.bill_of_rates([Rate(TINY, 3, 300.0, 0.5)], 3600.0)
    assert parse_objective("energy").of(bill) == bill.site_energy_kwh
    assert parse_objective("cost").of(bill) == bill.cost
    assert parse_objective("carbon").of(bill) == bill.all_carbon_kg
    mix = parse_objective("cost=2,carbon=0.1")
    assert mix.of(bill) == pytest.approx(2 * bill.cost + 0.1 * bill.all_carbon_kg)
    assert (mix.name, mix.unit("EUR")) == ("cost=2,carbon=0.1", "EUR")
    assert (parse_objective("carbon").name, parse_objective("carbon").unit("EUR")) == (
        "carbon",
        "kg CO2e",
    )


@pytest.mark.parametrize(
    ("objective", "options", "line"),
    [
        ("cost", {}, "nothing tells cost; expected --price, --region or --gpu-price"),
        ("cost", {"region": "fr"}, "nothing tells cost; expected --price"),
        ("energy,carbon", {"price": "0.1"}, "nothing tells carbon; expected --carbon, --region or"),
        ("speed", {}, "--objective: found 'speed'; expected energy, cost or carbon"),
        ("cost=0", {}, "--objective: found 'cost=0'; expected"),
        ("cost,cost", {}, "--objective: found 'cost'; expected energy, cost or carbon, each once"),
    ],
)
def test_objectives_that_nothing_tells_are_refused(objective, options, line):
    with pytest.raises(BadOption) as error:
        objective_of({"objective": objective}, costs_of(given_options(**options)))
    assert line in str(error.value)
