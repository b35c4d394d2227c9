"""Bills on the page are those of the summary, with what they rest on."""

import pytest
from html_reports import Page, shown_number, summary_of, told, write_run

from simulate.costs import given_costs


@pytest.fixture(scope="module")
def priced(tmp_path_factory):
    costs = given_costs(region="ie", gpu_prices=["30000"], embodied=["150"], carbon_price=80.0)
    directory = tmp_path_factory.mktemp("runs") / "priced"
    return write_run(directory, policies=("phase-aware",), draws=0, costs=costs)


def test_bills_are_shown_as_they_are(priced):
    page, summary = Page((priced / "report.html").read_text()), summary_of(priced)
    shown = {attrs["data-of"]: words for attrs, words in page.figures}
    for policy in range(2):
        for figure in ("site_energy_kwh", "cost", "hardware_cost", "carbon_kg", "embodied_kg"):
            place = f"policies.{policy}.bill.{figure}"
            assert shown_number(shown[place]) == pytest.approx(told(summary, place), rel=0.006)
    text = " ".join(page.text)
    assert "cost, EUR" in text
    figures = {each["figure"] for each in summary["costs"]}
    assert {"PUE", "price", "host power", "hardware price", "years of use"} <= figures
    for each in summary["costs"]:
        assert each["value"] in text
        assert f"{each['kind']}: {each['source']}" in text
