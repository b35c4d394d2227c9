"""What the first screen says follows from the figures, whichever way they turn out."""

import copy

import pytest
from html_reports import summary_of

from simulate.html.answer import answer_of
from simulate.html.numbers import Numbers
from simulate.html.units import energy_unit
from simulate.html.view import series_of

KWH = energy_unit(1e9)


@pytest.fixture
def summary(run):
    return summary_of(run)


def answer(summary):
    names = [policy["policy"] for policy in summary["policies"]]
    return answer_of(summary, Numbers(summary, 0, KWH), series_of([("", names)]))


def saving(summary, policy, value, low=None, high=None):
    summary["policies"][policy]["saving"] = {"value": value, "low": low, "high": high}


def words(markup):
    return markup.striptags()


def test_the_most_saving_policy_is_in_the_headline(summary):
    saving(summary, 1, 0.1, 0.05, 0.15)
    saving(summary, 2, 0.2, 0.1, 0.3)
    found = answer(summary)
    assert words(found.headline) == "power-cap:230 saves 20.0% of the energy"
    assert words(found.verdicts[0].says) == "saves 10.0%"
    assert words(found.verdicts[0].certain) == "saving of 5.0% to 15.0% (95% interval)"


def test_several_that_save_as_much_share_the_headline(summary):
    saving(summary, 1, 0.1)
    saving(summary, 2, 0.1)
    found = answer(summary)
    assert words(found.headline) == "phase-aware and power-cap:230 save 10.0% of the energy"
    assert words(found.verdicts[0].certain) == "no interval: no draws were asked for"


def test_an_interval_that_holds_nothing_is_said(summary):
    saving(summary, 1, 0.02, -0.01, 0.05)
    saving(summary, 2, 0.0, -0.01, 0.01)
    found = answer(summary)
    assert words(found.headline) == "phase-aware may save 2.0% of the energy, or nothing"
    assert words(found.verdicts[0].certain).endswith("it may be none")


def test_what_takes_more_energy_is_no_saving(summary):
    saving(summary, 1, -0.05, -0.06, -0.04)
    saving(summary, 2, -0.1, -0.2, -0.05)
    found = answer(summary)
    assert words(found.headline) == "No policy saves energy against max-frequency"
    assert words(found.verdicts[0].says) == "takes 5.0% more energy"


def test_a_policy_alone_is_compared_with_nothing(summary):
    summary["policies"] = summary["policies"][:1]
    found = answer(summary)
    assert words(found.headline).startswith("max-frequency takes ")
    assert "save" not in found.question
    (verdict,) = found.verdicts
    assert not any(cost.before or cost.change for cost in verdict.costs)


def test_clocks_change_no_quality_but_models_may(summary):
    assert "unchanged" in words(answer(summary).verdicts[0].quality)
    summary["policies"][1]["groups"][0]["model"] = "another"
    assert words(answer(summary).verdicts[0].quality) == "unknown"
    for policy, mean in ((0, 0.8), (1, 0.75)):
        quality = {"how": "measured", "mean": mean, "low": None, "high": None}
        summary["policies"][policy]["quality"] = quality
    assert words(answer(summary).verdicts[0].quality) == "75.0% (measured) instead of 80.0%"


def test_who_runs_alike_is_said(summary):
    assert answer(summary).verdicts[1].same_as == ""
    summary["policies"][2]["metrics"] = copy.deepcopy(summary["policies"][1]["metrics"])
    assert answer(summary).verdicts[1].same_as == "phase-aware"


@pytest.mark.parametrize(
    ("most_j", "name"), [(1e9, "kWh"), (3.6e5, "kWh"), (1e5, "kJ"), (60.0, "kJ"), (3.0, "J")]
)
def test_energies_are_told_in_the_unit_that_fits(most_j, name):
    assert energy_unit(most_j).name == name
