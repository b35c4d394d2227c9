"""What a fleet must keep, and how surely: latencies at percentiles, power, GPUs, quality.

In: what follows ``--slo``, ``--percentile`` and the limits beside them. Out: :class:`Goals`.
"""

from dataclasses import dataclass, replace

import numpy as np

from model.work import Array
from phasewatt.errors import BadOption
from simulate.metrics import Slo
from simulate.outcome import Outcome
from simulate.power import WINDOWS_S

LATENCIES = ("ttft", "tpot", "e2e")
DEFAULT_PERCENTILE = 99.0
DEFAULT_CONFIDENCE = 0.95
DEFAULT_WINDOW = "10s"


@dataclass(frozen=True)
class Figure:
    """A percentile of a latency, one of :data:`LATENCIES`."""

    latency: str
    percentile: float

    @property
    def name(self) -> str:
        """Such as ``ttft_p99``."""
        return f"{self.latency}_p{self.percentile:g}"

    @property
    def label(self) -> str:
        """Such as ``TTFT p99``."""
        return f"{self.latency.upper()} p{self.percentile:g}"

    def of(self, outcome: Outcome) -> float:
        """Return it of a run in seconds; who was never served waits for ever.

        0 where no request has this latency.
        """
        values_s = getattr(outcome, f"{self.latency}_s")
        values_s = np.where(outcome.served, values_s, np.inf)
        return percentile_s(values_s, self.percentile)


@dataclass(frozen=True)
class LatencyGoal:
    """``figure`` is ``limit_s`` at most."""

    figure: Figure
    limit_s: float


@dataclass(frozen=True)
class Goals:
    """Everything that a plan promises or is held to.

    Attributes:
        latencies: at least one.
        confidence: probability with which a new run meets all of them at once.
        rack_power_w: what GPUs and hosts may draw together, as the peak of means over ``window``.
        site_power_w: the same times the PUE.
        window: one of the windows of :data:`simulate.power.WINDOWS_S`.
        max_gpus: GPUs of the whole fleet.
        min_quality: mean quality of the answers.
    """

    latencies: tuple[LatencyGoal, ...]
    confidence: float = DEFAULT_CONFIDENCE
    rack_power_w: float | None = None
    site_power_w: float | None = None
    window: str = DEFAULT_WINDOW
    max_gpus: int | None = None
    min_quality: float | None = None

    def __post_init__(self) -> None:
        if not self.latencies:
            raise BadOption("--slo is missing: expected limits such as ttft=1s,tpot=50ms")
        if not 0.5 <= self.confidence < 1:
            raise BadOption(f"--confidence: found {self.confidence:g}; expected 0.5 to below 1")
        if self.window not in WINDOWS_S:
            raise BadOption(
                f"--power-window: found {self.window!r}; expected one of {', '.join(WINDOWS_S)}"
            )
        for option, value in (
            ("--rack-power-w", self.rack_power_w),
            ("--site-power-w", self.site_power_w),
            ("--max-gpus", self.max_gpus),
        ):
            if value is not None and not 0 < value < float("inf"):
                raise BadOption(f"{option}: found {value:g}; expected more than 0")
        if self.min_quality is not None and not 0 < self.min_quality <= 1:
            raise BadOption(
                f"--min-quality: found {self.min_quality:g}; expected more than 0, 1 at most"
            )

    def tightened(self, factor: float) -> "Goals":
        """Return the same goals with every latency's limit times ``factor``."""
        tighter = tuple(LatencyGoal(each.figure, factor * each.limit_s) for each in self.latencies)
        return replace(self, latencies=tighter)

    @property
    def figures(self) -> tuple[Figure, ...]:
        """What of a run is held against limits."""
        return tuple(goal.figure for goal in self.latencies)


def latency_goals(slo: Slo | None, percentile: str) -> tuple[LatencyGoal, ...]:
    """Return the limits of ``slo`` at the percentiles of ``99`` or ``ttft=99,tpot=95``.

    Raises:
        BadOption: no limits; a percentile of what has no limit, twice, or not within 0 and 100.
    """
    limits = {} if slo is None else {name: getattr(slo, f"{name}_s") for name in LATENCIES}
    limits = {name: limit_s for name, limit_s in limits.items() if limit_s is not None}
    if not limits:
        raise BadOption("--slo is missing: expected limits such as ttft=1s,tpot=50ms")
    at = dict.fromkeys(limits, DEFAULT_PERCENTILE)
    named: set[str] = set()
    for part in percentile.split(","):
        name, sign, number = part.strip().rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        known = name in limits if sign else percentile == part
        if not known or name in named or not 0 < value < 100:
            raise BadOption(
                f"--percentile: found {part!r}; expected a number within 0 and 100, or one for "
                f"each of {', '.join(limits)}, as in {next(iter(limits))}=99"
            )
        named.add(name)
        at |= {name: value} if sign else dict.fromkeys(limits, value)
    return tuple(LatencyGoal(Figure(name, at[name]), limit_s) for name, limit_s in limits.items())


def percentile_s(values_s: Array, percentile: float) -> float:
    """Return the percentile of the values that are not NaN, inf among them; 0 of none."""
    known = np.sort(values_s[~np.isnan(values_s)])
    if known.size == 0:
        return 0.0
    place = percentile / 100 * (known.size - 1)
    low, high = known[int(np.floor(place))], known[int(np.ceil(place))]
    part = place - np.floor(place)
    return float(low if part == 0 or low == high else low + part * (high - low))


def exempt(requests: int, percentile: float) -> int:
    """Return how many of ``requests`` may miss a limit while their percentile meets it."""
    return max(0, requests - int(np.floor(percentile / 100 * (requests - 1))) - 1)
