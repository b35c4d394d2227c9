"""The options about money and carbon: what they say, what is assumed, and each wrong input."""

import numpy as np
import pytest

from model.provenance import Kind
from phasewatt.errors import BadOption
from simulate.costs import Kit, costs_of, growth_of
from simulate.costs.options import COST_OPTIONS, NAMES
from simulate.costs.regions import known_regions, region_named

KIT = Kit(1, "tiny")


def said(**more):
    unset = {name: () if name in ("gpu_prices", "embodied") else None for name in NAMES}
    return costs_of({**unset, **more})


def test_without_any_there_are_no_costs():
    assert said() is None
    assert len(NAMES) == len(COST_OPTIONS)


def test_a_region_gives_price_carbon_and_currency_with_their_years():
    ireland = said(region="IE")
    assert (ireland.currency, ireland.price.at(0.0)) == ("EUR", 0.256)
    assert ireland.origins["price"].kind is Kind.PUBLISHED
    assert ireland.origins["price"].source.startswith("Ireland 2024 H1: Eurostat")
    assert ireland.origins["PUE"].kind is ireland.host_of(KIT).origin.kind is Kind.ASSUMED
    own = said(region="ie", price="0.1", carbon="12", pue=1.1)
    assert (own.price.at(0.0), own.carbon.at(0.0), own.pue) == (0.1, 12.0, 1.1)
    assert own.origins["carbon intensity"].source == "given as --carbon"
    assert said(region="fr").price is None


def test_every_shipped_figure_has_a_year_and_a_source():
    regions = known_regions()
    assert len(regions) > 40
    for key, region in regions.items():
        assert region_named(key.upper()) is region
        assert region.carbon or region.price
        for figure in filter(None, (region.carbon, region.price)):
            assert figure.value > 0
            assert figure.year.startswith("202")
            assert len(figure.source) > 20
        assert (region.price is None) == (region.currency is None)
        assert region.carbon is None or 10 < region.carbon.value < 900
        assert region.price is None or 0.03 < region.price.value < 0.5


def test_a_state_s_intensity_is_its_emissions_over_its_generation():
    # EIA, Electric Power Annual 2023, tables 9.5 and 3.7.
    ohio = region_named("us-oh").carbon
    assert ohio.value == round(63_226 * 1e9 / (133_223 * 1e6))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"region": "atlantis"}, "--region: found 'atlantis'; expected one of eu, de, "),
        ({"region": "de", "currency": "USD"}, "the price of --region de is in EUR"),
        ({"price": "cheap"}, "--price: found 'cheap'; expected a number, or FILE.csv"),
        ({"price": "inf"}, "--price: found inf; expected a finite number"),
        ({"price": "p.csv,soon"}, "--price: found 'soon'; expected a number, or FILE.csv"),
        ({"carbon": "-1"}, "--carbon: found -1; expected 0 or more"),
        ({"carbon_price": 80.0}, "--carbon-price belongs to --carbon or a --region with it"),
        ({"carbon_price": -1.0, "carbon": "5"}, "--carbon-price: found -1; expected 0 or more"),
        ({"pue": 0.9}, "--pue: found 0.9; expected 1 or more"),
        ({"host_power": "idle=1,active=2"}, "--host-power: found 'idle=1,active=2'; expected idle"),
        ({"host_power": "idle=3,active=2,gpus=8"}, "with 0 <= idle <= active"),
        ({"host_power": "idle=1,active=2,gpus=0"}, "gpus of 1 or more"),
        ({"gpu_prices": ("much",)}, "--gpu-price: found 'much'; expected a number of 0 or more"),
        ({"gpu_prices": ("1", "2")}, "--gpu-price: found '2'; expected a number of 0 or more, or"),
        ({"embodied": ("=5",)}, "--embodied: found '=5'"),
        ({"amortise": 3.0}, "--amortise belongs to --gpu-price or --embodied"),
        ({"amortise": 0.0, "gpu_prices": ("5",)}, "--amortise: found 0; expected years"),
    ],
)
def test_wrong_options_are_one_line(options, line):
    with pytest.raises(BadOption) as error:
        said(**options)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_load_grows_compounded():
    monthly = growth_of({"growth": "5%/month", "horizon": 12})
    assert monthly.factors.shape == (13,)
    assert np.allclose(monthly.factors, 1.05 ** np.arange(13))
    yearly = growth_of({"growth": "100%/year", "horizon": 24})
    assert yearly.factors[[0, 12, 24]] == pytest.approx([1, 2, 4])
    assert growth_of({"growth": "-2%/month", "horizon": 3}).highest == 1
    assert growth_of({"growth": None, "horizon": None}) is None


@pytest.mark.parametrize(
    ("growth", "horizon", "line"),
    [
        ("5%", 12, "--growth: found '5%'; expected PERCENT%/month or PERCENT%/year"),
        ("-100%/month", 12, "--growth: found '-100%/month'"),
        ("5%/month", 0, "--horizon: found 0; expected 1 month or more"),
        ("5%/month", None, "--growth needs --horizon"),
        (None, 12, "--horizon needs --growth"),
    ],
)
def test_growth_that_says_nothing_is_refused(growth, horizon, line):
    with pytest.raises(BadOption) as error:
        growth_of({"growth": growth, "horizon": horizon})
    assert line in str(error.value)
