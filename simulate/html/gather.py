"""What plots need of several runs, read from their tables once.

In: results. Out: for each policy of each run, its distributions and its course over time, as many
points of each as keep the page small.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from phasewatt.errors import BadResult
from simulate.html.course import Course, bin_width_s, read_courses
from simulate.html.requests import LATENCIES, Spread, read_spreads
from simulate.html.result import Result

BINS_IN_ALL = 28_000
"""Bins of power over time that a page holds, over all its policies: what keeps it under 5 MB."""

POINTS_IN_ALL = 24_000
"""Points of distributions likewise, over all its latencies, too."""

_MOST_BINS = 4_000
_MOST_POINTS = 600
_ENERGY_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Gathered:
    """Spreads and courses of all policies, run after run, in the order of their summaries."""

    spreads: tuple[Spread, ...]
    courses: tuple[Course, ...]

    @property
    def said(self) -> str:
        """What the plots leave out."""
        widths = sorted({course.width_s for course in self.courses})
        thinned = [spread.latency_s[name] for spread in self.spreads for name in LATENCIES]
        fewer = [cdf for cdf in thinned if cdf.value.size < cdf.count]
        bins = f"Power and clocks are means over {' or '.join(f'{w:g} s' for w in widths)}."
        if not fewer:
            return f"{bins} Distributions show every request."
        most = max(cdf.value.size for cdf in fewer)
        off = max(cdf.off for cdf in fewer)
        return (
            f"{bins} Distributions are drawn through {most:,} requests or fewer, those near both "
            f"ends nearest to each other: no line is off by more than {off:.2%} of the requests. "
            "Figures in tables are of all requests."
        )


def gather(runs: Sequence[Result]) -> Gathered:
    """Read the tables of ``runs``.

    Raises:
        BadResult: intervals do not add up to the energy that a summary tells.
    """
    shown = max(sum(len(run.policies) for run in runs), 1)
    return Gathered(
        tuple(each for run in runs for each in _spreads(run, shown)),
        tuple(each for run in runs for each in _courses(run, shown)),
    )


def _metrics(run: Result, name: str) -> list[Any]:
    return [policy["metrics"][name] for policy in run.summary["policies"]]


def _spreads(run: Result, shown: int) -> list[Spread]:
    most = min(_MOST_POINTS, POINTS_IN_ALL // (len(LATENCIES) * shown))
    path = run.directory / "requests.parquet"
    return read_spreads(path, run.policies, _metrics(run, "since_s"), most)


def _courses(run: Result, shown: int) -> list[Course]:
    ends_s = _metrics(run, "makespan_s")
    width_s = bin_width_s(max(ends_s), min(_MOST_BINS, BINS_IN_ALL // shown))
    path = run.directory / "power.parquet"
    courses = read_courses(path, run.policies, ends_s, width_s)
    for course, policy in zip(courses, run.summary["policies"], strict=True):
        told_j = sum(policy["energy_by_replica_j"])
        if abs(course.energy_j - told_j) > _ENERGY_TOLERANCE * max(told_j, 1.0):
            raise BadResult(
                f"{path}: intervals of {policy['policy']} add up to {course.energy_j:,.0f} J; "
                f"expected {told_j:,.0f} J, as summary.json tells: the files are of different runs"
            )
    return courses
