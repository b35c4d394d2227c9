"""What each control of the page can be set to.

In: the words that the page was started with, and what they name. Out: clocks, loads, limits,
policies, models, as many as make sense.
"""

from dataclasses import dataclass

import numpy as np

from model.calibration import Calibration
from model.work import Phase
from simulate.explore.state import says_replicas
from simulate.groups import groups_of
from simulate.words import Words, scenario_of_words

LOADS = (
    *(0.1, 0.125, 0.16, 0.2, 0.25, 0.315, 0.4, 0.5, 0.63, 0.8),
    *(1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0, 10.0),
)
"""The preferred numbers of the series R10 (ISO 3): each a quarter more than the one before."""

TTFT_S = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0)
TPOT_S = (0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.2, 0.5)

REQUESTS = tuple(x * decade for decade in (100, 1000, 10_000, 100_000) for x in (1, 2, 5))
"""How many requests may be replayed for an answer."""

MOST_REPLICAS = 64

PRESETS = (
    *("max-frequency", "phase-aware", "phase-aware-amortised", "composition-aware"),
    *("min-energy", "min-edp", "min-ed2p", "race-to-idle"),
    *("slo-aware", "feedback", "greenllm", "voltana"),
)
"""Built-in policies that need no argument."""

BATCHINGS = ("none", "static:4", "static:8", "continuous")


@dataclass(frozen=True)
class Clocks:
    """The clocks of one phase that can be set, in MHz, ascending; below ``measured_mhz`` curves are
    transferred."""

    all_mhz: tuple[float, ...]
    measured_mhz: float


@dataclass(frozen=True)
class Choices:
    """What the controls of one page offer.

    Attributes:
        policies: those that can be chosen by name.
        engines: the engines of each model, of the calibration's models in its order.
        batchings: as after ``--batching``.
        loads: how many times as fast requests may arrive; empty: all arrive at once.
        ttft_s: limits of the time to the first token.
        tpot_s: limits of the time per token after it.
        requests: how many of the ``available`` requests may be replayed, ascending.
        available: how many requests there are.
        counts_itself: whether nobody said how many to replay.
        sized: whether ``--replicas`` says how large the fleet is under each batching.
    """

    policies: tuple[str, ...]
    engines: dict[str, tuple[str, ...]]
    batchings: tuple[str, ...]
    loads: tuple[float, ...]
    ttft_s: tuple[float, ...]
    tpot_s: tuple[float, ...]
    requests: tuple[int, ...]
    available: int
    counts_itself: bool
    sized: dict[str, bool]


def choices_of(words: Words, calibration: Calibration, available: int) -> Choices:
    """Return what a page offers that is started with ``words``, of ``available`` requests."""
    slo = scenario_of_words(words).slo
    batching, load, limit = words["batching"], words["rate_scale"], words["limit"]
    batchings = tuple(dict.fromkeys((batching, *BATCHINGS)))
    ttft_s = None if slo is None else slo.ttft_s
    tpot_s = None if slo is None else slo.tpot_s
    return Choices(
        policies=tuple(dict.fromkeys((*words["policies"], words["baseline"], *PRESETS))),
        engines={} if words["groups"] else {m: calibration.engines(m) for m in calibration.models},
        batchings=batchings,
        loads=() if words["arrivals"] == "offline" else _with(LOADS, load),
        ttft_s=_with(TTFT_S, ttft_s),
        tpot_s=_with(TPOT_S, tpot_s),
        requests=tuple(
            sorted({*(n for n in REQUESTS if n < available), min(limit or available, available)})
        ),
        available=available,
        counts_itself=limit is None,
        sized={each: says_replicas(each, words) for each in batchings},
    )


def clocks_of(words: Words, calibration: Calibration, phase: Phase) -> Clocks:
    """Return the clocks of ``phase`` that the first group of the fleet can be set to.

    Raises:
        BadCalibration, BadOption: there is no such model, engine or group.
    """
    group = groups_of(scenario_of_words(words), calibration)[0]
    model = group.scenario.model or group.calibration.models[0]
    curves = group.calibration.curves_of(model, phase, group.scenario.engine)
    all_mhz = group.calibration.gpu.clocks_mhz(curves)
    return Clocks(tuple(all_mhz.tolist()), curves.measured_mhz[0])


def nearest(values: tuple[float, ...], to: float) -> float:
    """Return the one of ``values`` that is nearest."""
    return values[int(np.argmin(np.abs(np.array(values) - to)))]


def _with(values: tuple[float, ...], value: float | None) -> tuple[float, ...]:
    return values if value is None else tuple(sorted({*values, value}))
