"""The paper's Tables XI, XII, XVI, XVII and XVIII beside ours, with what explains each difference.

In: the paper's figures and the calibration made of them. Out: one sheet a table.
"""

import numpy as np

from model.calibration import Calibration
from simulate.reproduction.costs import paper_cost
from simulate.reproduction.sheet import (
    Column,
    Pair,
    Sheet,
    joules,
    ours,
    percent,
    signed,
    whole,
)
from simulate.reproduction.tables import Paper

BASELINE = "max-frequency"


def table_xi(paper: Paper, calibration: Calibration) -> Sheet:
    """Return the averages of Table XI: everything at the low clock against the baseline clock."""
    rows: dict[str, tuple[Pair, ...]] = {}
    clamped = 0
    for batch, average in paper.slowed_average.items():
        found = []
        for model, printed in zip(paper.models, paper.slowed[batch], strict=True):
            high = paper_cost(paper, calibration, model, BASELINE, batch)
            low = paper_cost(paper, calibration, model, f"fixed:{paper.low_mhz:g}", batch)
            clamped += printed.decode < 0
            found.append(
                (
                    1 - low.energy_j / high.energy_j,
                    low.time_s / high.time_s - 1,
                    low.prefill_s / high.prefill_s - 1,
                    low.decode_s / high.decode_s - 1,
                    high.prefill_s / high.time_s,
                )
            )
        means = np.mean(found, axis=0).tolist()
        rows[f"batch {batch}"] = tuple(map(Pair, average, means))
    return Sheet(
        "table_XI",
        f"Table XI, averages over five models: {paper.low_mhz:g} MHz against "
        f"{paper.baseline_mhz:g} MHz (paper | ours)",
        (
            Column("saving", percent),
            Column("latency", signed),
            Column("prefill", signed),
            Column("decode", signed),
            Column("prefill's share of time", percent),
        ),
        rows,
        (
            f"In {clamped} of {len(paper.models) * len(paper.slowed)} rows the paper's decode gets "
            f"faster at {paper.low_mhz:g} MHz; no curve of ours lets a lower clock speed up the "
            "same work, so ours stays level there, and latency with it.",
            "The saving, the slowdowns and the share are what the calibration is made of; latency "
            "is what follows: share x prefill + (1 - share) x decode.",
        ),
    )


def table_xii(paper: Paper, calibration: Calibration) -> Sheet:
    """Return Table XII: of the paper's clocks, the one of least energy x delay."""
    rows: dict[str, tuple[Pair, ...]] = {}
    gaps, claimed, found = [], [], []
    fastest = min(best.latency for best in paper.optima[1])
    for batch, optima in paper.optima.items():
        for model, best in zip(paper.models, optima, strict=True):
            high = paper_cost(paper, calibration, model, BASELINE, batch)
            costs = {
                mhz: paper_cost(paper, calibration, model, f"fixed:{mhz:g}", batch)
                for mhz in paper.clocks_mhz
            }
            least = min(costs, key=lambda mhz: costs[mhz].edp)
            there = costs[best.sm_mhz]
            saving, latency = 1 - there.energy_j / high.energy_j, there.time_s / high.time_s - 1
            power = (1 - saving) / (1 + latency)
            printed_power = (1 - best.saving) / (1 + best.latency)
            if batch == 1:
                gaps.append(costs[best.sm_mhz].edp / costs[least].edp - 1)
                claimed.append(best.saving)
                found.append(saving)
            rows[f"{model}, batch {batch}"] = (
                Pair(best.sm_mhz, least),
                Pair(best.saving, saving),
                Pair(best.latency, latency),
                Pair(printed_power, power),
            )
    return Sheet(
        "table_XII",
        "Table XII: the clock of least energy x delay; the other columns at the paper's clock "
        "(paper | ours)",
        (
            Column("best clock, MHz", whole),
            Column("saving", percent),
            Column("latency", signed),
            Column("power against baseline", percent),
        ),
        rows,
        (
            f"At batch 1 Table XII saves {np.mean(claimed):.1%} on average where Figure 4 and "
            f"Table XI give {np.mean(found):.1%} at the same clock. Power against baseline is the "
            f"same in both; the difference is a fall in latency of up to {-fastest:.1%}. A lower "
            "clock cannot speed up fixed work: something else slowed the baseline at batch 1.",
            "Which clock is best means little: energy x delay of the paper's clock is at most "
            f"{max(gaps):.1%} above that of ours at batch 1, as Figure 4 is flat below 1,000 MHz.",
        ),
    )


def table_xvi(paper: Paper, calibration: Calibration) -> Sheet:
    """Return Table XVI, which the paper calls phase-aware, beside the low clock for everything."""
    rows: dict[str, tuple[Pair, ...]] = {}
    found = []
    for model, printed in zip(paper.models, paper.joules, strict=True):
        high = paper_cost(paper, calibration, model, BASELINE)
        low = paper_cost(paper, calibration, model, f"fixed:{paper.low_mhz:g}")
        saving, latency = 1 - low.energy_j / high.energy_j, low.time_s / high.time_s - 1
        rows[model] = tuple(map(Pair, printed, (high.energy_j, low.energy_j, saving, latency)))
        found.append((saving, latency))
    averages = map(Pair, paper.joules_average, np.mean(found, axis=0).tolist())
    rows["average"] = (ours(None), ours(None), *averages)
    same = sum(
        (printed.saving, printed.latency) == (row.saving, row.latency)
        for printed, row in zip(paper.joules, paper.slowed[1], strict=True)
    )
    return Sheet(
        "table_XVI",
        f'Table XVI, "phase-aware" (paper | ours at {paper.low_mhz:g} MHz for both phases)',
        (
            Column("baseline, J", joules),
            Column("low, J", joules),
            Column("saving", percent),
            Column("latency", signed),
        ),
        rows,
        (
            f"Saving and latency of {same} of {len(paper.models)} rows are those of Table XI at "
            f"batch 1, digit for digit: the whole query at {paper.low_mhz:g} MHz. Prefill at "
            f"{paper.baseline_mhz:g} MHz would have kept prefill as fast as before. Joules and "
            "savings differ by rounding alone.",
        ),
    )


def phase_aware(paper: Paper, calibration: Calibration) -> Sheet:
    """Return what phase-aware clocks give on the paper's figures, done as its text says."""
    policy = f"phase-aware:prefill={paper.baseline_mhz:g},decode={paper.low_mhz:g}"
    found = {}
    for model in paper.models:
        high, split = (paper_cost(paper, calibration, model, p) for p in (BASELINE, policy))
        saving, latency = 1 - split.energy_j / high.energy_j, split.time_s / high.time_s - 1
        found[model] = (split.energy_j, saving, latency)
    means = np.mean(list(found.values()), axis=0).tolist()
    rows = {model: tuple(map(ours, figures)) for model, figures in found.items()}
    rows["average"] = (ours(None), *map(ours, means[1:]))
    return Sheet(
        "phase_aware",
        f"Phase-aware as the text defines it: prefill at {paper.baseline_mhz:g} MHz, decode at "
        f"{paper.low_mhz:g} MHz (ours)",
        (Column("J", joules), Column("saving", percent), Column("latency", signed)),
        rows,
        (
            f"It saves {means[1]:.1%} at {means[2]:+.1%} latency, where Table XVI says "
            f"{paper.joules_average[0]:.1%} at {paper.joules_average[1]:+.1%}. Assumed: both "
            "phases draw one power, as no joules of a phase are published; switching is free.",
        ),
    )


def table_xvii(paper: Paper, calibration: Calibration) -> Sheet:
    """Return Table XVII: savings of queries routed by their scaling pattern, at the low clock."""
    largest = paper.models[-1]
    high = paper_cost(paper, calibration, largest, BASELINE).energy_j
    low = f"fixed:{paper.low_mhz:g}"
    rows: dict[str, tuple[Pair, ...]] = {}
    total = printed_total = 0.0
    for pattern, (share, model, saving) in paper.routed.items():
        found = 1 - paper_cost(paper, calibration, model, low).energy_j / high
        total += share * found
        printed_total += share * saving
        rows[f"{pattern} to {model}"] = (ours(share), Pair(saving, found))
    everyone = sum(routed.share for routed in paper.routed.values())
    rows["weighted"] = (ours(everyone), Pair(paper.routed_saving, total))
    return Sheet(
        "table_XVII",
        f"Table XVII: routed by pattern at {paper.low_mhz:g} MHz, against {largest} at "
        f"{paper.baseline_mhz:g} MHz (paper | ours)",
        (Column("share of queries", percent), Column("saving", percent)),
        rows,
        (
            f"The paper's {paper.routed_saving:.0%} is {printed_total:.1%} by its own rounded rows "
            f"and {total:.1%} by its joules.",
            "Who is easy or hard is known here from the answers of all five models: an oracle, not "
            "a router.",
        ),
    )


def table_xviii(paper: Paper, calibration: Calibration) -> Sheet:
    """Return Table XVIII: energy and quality of four strategies, and of the routed mixture."""
    high = paper_cost(paper, calibration, paper.models[-1], BASELINE).energy_j
    rows: dict[str, tuple[Pair, ...]] = {}
    for name, printed in paper.strategies.items():
        policy = f"fixed:{printed.sm_mhz:g}"
        energy_j = paper_cost(paper, calibration, printed.model, policy).energy_j
        rows[f"{name} ({printed.model}, {printed.sm_mhz:g})"] = (
            Pair(printed.energy_j, energy_j),
            Pair(printed.quality, _quality(paper, printed.model, ("BoolQ", "HellaSwag"))),
            Pair(printed.saving, 1 - energy_j / high),
            ours(_quality(paper, printed.model, tuple(paper.quality))),
        )
    for mhz in (paper.baseline_mhz, paper.low_mhz):
        energy_j = sum(
            r.share * paper_cost(paper, calibration, r.model, f"fixed:{mhz:g}").energy_j
            for r in paper.routed.values()
        )
        rows[f"Table XVII's mixture ({mhz:g})"] = (
            ours(energy_j),
            ours("unknown"),
            ours(1 - energy_j / high),
            ours("unknown"),
        )
    small, large = paper.strategies["Combined"], paper.strategies["Baseline"]
    everything = tuple(paper.quality)
    lost = 1 - _quality(paper, small.model, everything) / _quality(paper, large.model, everything)
    return Sheet(
        "table_XVIII",
        "Table XVIII: energy and quality (paper | ours)",
        (
            Column("J a query", joules),
            Column("quality, 2 sets", percent),
            Column("saving", percent),
            Column("4 sets", percent),
        ),
        rows,
        (
            f'"Routing" and "combined" are {small.model} for every query, not the mixture of Table '
            "XVII; quality is accuracy on BoolQ and HellaSwag alone. With the two generative sets "
            f"of Table VII, {small.model} loses {lost:.0%} of {large.model}'s quality.",
            "The quality of the mixture is published nowhere; below it is that of other outcomes.",
        ),
    )


def _quality(paper: Paper, model: str, datasets: tuple[str, ...]) -> float:
    column = paper.models.index(model)
    return float(np.mean([paper.quality[dataset][column] for dataset in datasets]))
