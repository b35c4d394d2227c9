"""The whole grid of prefill and decode clocks on one trace, and where policies sit in it.

In: a trace, a calibration, a scenario, a grid of clocks. Out: energy and latency at every pair of
clocks, the Pareto front among them, and the same of each policy that is to be marked.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.beyond import is_transferred
from model.calibration import Calibration
from model.work import Array, Phase
from phasewatt.errors import BadOption
from simulate.answers import answers_of
from simulate.coverage import is_saturated, warnings_of
from simulate.groups import (
    PreparedFleet,
    groups_of,
    in_reach,
    models_of,
    prepare_fleet,
    run_fleet,
    sizes_of,
)
from simulate.metrics import Metrics, measure
from simulate.prepare import queries_of
from simulate.scenario import Scenario
from traces import Trace

MARKED = ("max-frequency", "phase-aware", "min-energy", "min-edp", "min-ed2p")
"""The policies whose picks are marked unless others are named."""

CLOCKS_PER_PHASE = 9
"""How many clocks of each phase are swept unless a range is given."""

LATENCIES = ("ttft_p95", "tpot_p95", "e2e_p50", "e2e_p95", "e2e_p99")
"""What energy can be weighed against."""

Report = Callable[[int], None]


@dataclass(frozen=True)
class ClockGrid:
    """Requested SM clocks of each phase, ascending, in MHz."""

    prefill_mhz: Array
    decode_mhz: Array

    @property
    def pairs(self) -> list[tuple[float, float]]:
        """Every (prefill, decode) pair, decode clocks varying fastest."""
        return [(p, d) for p in self.prefill_mhz.tolist() for d in self.decode_mhz.tolist()]


@dataclass(frozen=True)
class Cell:
    """What one pair of clocks, or one policy, comes to.

    ``asked_mhz`` and ``held_mhz`` are the clocks of the phases' typical steps; ``saturated`` says
    that queues still grew at the end, so that latencies depend on the length of the trace;
    ``transferred`` that a clock lies below the measured ones.
    """

    policy: str
    asked_mhz: dict[Phase, float]
    held_mhz: dict[Phase, float]
    metrics: Metrics
    saturated: bool
    transferred: bool


@dataclass(frozen=True)
class Sweep:
    """All cells of a grid, and of the marked policies; ``front`` indexes the cells on it.

    ``latency`` names what energy is weighed against on the Pareto front, one of :data:`LATENCIES`.
    """

    scenario: Scenario
    trace: Trace
    calibration: Calibration
    model: str
    replicas: int
    grid: ClockGrid
    cells: tuple[Cell, ...]
    marks: tuple[Cell, ...]
    latency: str
    front: tuple[int, ...]
    warnings: tuple[str, ...]


def clock_grid(
    calibration: Calibration, scenario: Scenario, prefill: str | None, decode: str | None
) -> ClockGrid:
    """Return the grid that ``prefill`` and ``decode`` (``A:B:STEP`` or ``A,B,C``) describe.

    Without text, :data:`CLOCKS_PER_PHASE` requestable clocks are spread over the calibrated range.

    Raises:
        BadOption: the text is no range and no list.
        BadCalibration: the scenario's model or engine has no curves.
    """
    model = scenario.model or calibration.models[0]
    found = []
    for option, text, phase in (
        ("--prefill-mhz", prefill, Phase.PREFILL),
        ("--decode-mhz", decode, Phase.DECODE),
    ):
        curves = in_reach(calibration, scenario).curves_of(model, phase, scenario.engine)
        if text is None:
            all_mhz = calibration.gpu.clocks_mhz(curves)
            which = np.linspace(0, all_mhz.size - 1, CLOCKS_PER_PHASE).round().astype(int)
            found.append(all_mhz[np.unique(which)])
        else:
            found.append(parse_clocks(option, text))
            curves.require_clock(found[-1])
    return ClockGrid(*found)


def parse_clocks(option: str, text: str) -> Array:
    """Read ``900:1500:60`` (both ends included) or ``900,1200,1500`` as ascending MHz.

    Raises:
        BadOption: anything else.
    """
    wrong = BadOption(f"{option}: found {text!r}; expected A:B:STEP or A,B,C in MHz")
    separator = ":" if ":" in text else ","
    try:
        numbers = [float(part) for part in text.split(separator)]
    except ValueError:
        raise wrong from None
    if not all(0 < number < np.inf for number in numbers):
        raise wrong
    if separator == ",":
        return np.unique(np.array(numbers))
    if len(numbers) != 3 or numbers[1] < numbers[0]:
        raise wrong
    low, high, step = numbers
    return np.asarray(
        low + step * np.arange(int(np.floor((high - low) / step + 1e-9)) + 1), dtype=np.float64
    )


def sweep_clocks(
    trace: Trace,
    calibration: Calibration,
    scenario: Scenario,
    grid: ClockGrid,
    latency: str = "e2e_p95",
    advance: Report = lambda _n: None,
) -> Sweep:
    """Replay ``trace`` at every pair of ``grid`` and under the scenario's policies.

    The fleet is sized for the policies; pairs that it cannot keep up with are marked saturated.

    Raises:
        BadPolicy, BadCalibration, BadOption, OutOfRange: see :func:`simulate.prepare.prepare`.
    """
    if latency not in LATENCIES:
        raise BadOption(f"--latency: found {latency!r}; expected one of {', '.join(LATENCIES)}")
    queries = queries_of(trace, scenario)
    groups = groups_of(scenario, calibration)
    if len(groups) > 1:
        raise BadOption("--group: a sweep is over the clocks of one group; leave it out")
    answers = answers_of(trace, scenario, models_of(groups))
    marked = [prepare_fleet(name, groups, queries, answers) for name in scenario.policies]
    sizes = sizes_of(groups, marked, queries)
    outcomes = [run_fleet(ready, groups, queries, sizes, advance) for ready in marked]
    marks = [
        _cell(ready, measure(outcome, scenario.slo), is_saturated(outcome, scenario))
        for ready, outcome in zip(marked, outcomes, strict=True)
    ]
    cells = []
    for prefill_mhz, decode_mhz in grid.pairs:
        name = f"phase-aware:prefill={prefill_mhz:g},decode={decode_mhz:g}"
        ready = prepare_fleet(name, groups, queries, answers)
        outcome = run_fleet(ready, groups, queries, sizes, advance)
        metrics = measure(outcome, scenario.slo)
        cells.append(_cell(ready, metrics, is_saturated(outcome, scenario)))
    return Sweep(
        scenario=replace(scenario, replicas=sum(sizes)),
        trace=trace,
        calibration=calibration,
        model=marked[0].groups[0].model,
        replicas=sum(sizes),
        grid=grid,
        cells=tuple(cells),
        marks=tuple(marks),
        latency=latency,
        front=tuple(pareto(*(costs(cells, latency))).tolist()),
        warnings=(
            *_transferred(cells),
            *warnings_of(trace, groups, scenario, outcomes, marked),
        ),
    )


def planned_queries(trace: Trace, scenario: Scenario, grid: ClockGrid) -> int:
    """Return how many queries :func:`sweep_clocks` will serve in all, for a progress bar."""
    return len(trace) * (len(grid.pairs) + len(scenario.policies))


def costs(cells: list[Cell] | tuple[Cell, ...], latency: str) -> tuple[Array, Array]:
    """Return energy in J and the named latency in s of every cell; inf where there is none."""
    name, quantile = latency.split("_")
    latency_s = [getattr(getattr(cell.metrics, name), f"{quantile}_s") for cell in cells]
    return (
        np.array([cell.metrics.energy_j for cell in cells]),
        np.array([np.inf if value is None else value for value in latency_s]),
    )


def pareto(first: Array, second: Array) -> NDArray[np.int64]:
    """Return the indices of the points that no other point beats in both, by ascending ``first``.

    Of points equal in both, the first stays.
    """
    order = np.lexsort((second, first))
    best = np.minimum.accumulate(np.concatenate([[np.inf], second[order][:-1]]))
    return order[second[order] < best]


def _cell(fleet: PreparedFleet, metrics: Metrics, saturated: bool) -> Cell:
    ready = fleet.groups[0]
    held_mhz = dict(ready.held_mhz)
    transferred = any(is_transferred(ready.curves[p], mhz) for p, mhz in held_mhz.items())
    return Cell(fleet.policy, dict(ready.asked_mhz), held_mhz, metrics, saturated, transferred)


def _transferred(cells: list[Cell]) -> list[str]:
    """Return one sentence on pairs of clocks below the measured ones, or none."""
    below = sum(cell.transferred for cell in cells)
    if not below:
        return []
    return [
        f"transferred: {below} of {len(cells)} pairs have a clock below the measured ones: there "
        "curves go on as those of public GPUs do"
    ]
