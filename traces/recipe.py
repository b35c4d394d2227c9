"""The grammar of synthetic traces on a command line.

In: text such as ``synthetic:gamma,rate=3,cv=2,n=1000,prompt=512,output=lognormal:128:0.9``. Out: a
``Recipe`` that draws the trace from a seed.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from phasewatt.errors import BadTrace
from traces.nearest import suggestion
from traces.synthesis import (
    LARGEST_N,
    constant_tokens,
    diurnal_arrivals,
    gamma_arrivals,
    lognormal_tokens,
    poisson_arrivals,
    resampled,
)
from traces.trace import Floats, Integers, Source, Trace

PREFIX = "synthetic:"

_SHARED = ("rate", "n", "duration", "prompt", "output", "lengths")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "poisson": _SHARED,
    "gamma": (*_SHARED, "cv"),
    "diurnal": (*_SHARED, "peak", "period"),
}
_SECONDS_PER = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Token counts of a mean and a coefficient of variation."""

    mean: float
    cv: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to draw a synthetic trace.

    Attributes:
        text: the recipe as written.
        process: "poisson", "gamma" or "diurnal".
        rate_per_s: mean arrivals a second.
        n, duration_s: how many arrivals, or for how long; one of them is None.
        cv: coefficient of variation of the gaps (gamma).
        peak_to_mean, period_s: shape of the day (diurnal).
        prompt, output: token counts; None where ``lengths_from`` gives them.
        lengths_from: the shipped name or path of the trace whose rows are resampled, or None.
    """

    text: str
    process: str
    rate_per_s: float
    n: int | None
    duration_s: float | None
    cv: float
    peak_to_mean: float
    period_s: float
    prompt: int | Lognormal | None
    output: int | Lognormal | None
    lengths_from: str | None

    def draw(self, seed: int, rows: Trace | None = None) -> Trace:
        """Draw the trace; ``rows`` is the trace that ``lengths_from`` names.

        Arrivals and lengths have their own random streams, so the same seed gives the same
        arrivals whatever the lengths.

        Raises:
            BadTrace: ``seed`` is negative, or a parameter is out of its range.
        """
        if seed < 0:
            raise BadTrace(f"seed: found {seed}, expected an integer >= 0")
        arrivals, prompts, outputs = (
            np.random.default_rng(each) for each in np.random.SeedSequence(seed).spawn(3)
        )
        source = Source(f"drawn from '{self.text}' with seed {seed}", licence="", kind="synthetic")
        try:
            arrival_s = self._arrivals(arrivals)
            if rows is not None:
                return resampled(prompts, rows, arrival_s).renamed(
                    self.text,
                    Source(
                        f"{source.description}; rows of: {rows.source.description}",
                        licence=rows.source.licence,
                        kind="synthetic",
                        url=rows.source.url,
                    ),
                )
            return Trace(
                name=self.text,
                arrival_s=arrival_s,
                prompt_tokens=_tokens(prompts, self.prompt, len(arrival_s)),
                output_tokens=_tokens(outputs, self.output, len(arrival_s)),
                source=source,
            )
        except BadTrace as error:
            raise BadTrace(f"{self.text}: {error}") from None

    def _arrivals(self, rng: np.random.Generator) -> Floats:
        rate, n, duration = self.rate_per_s, self.n, self.duration_s
        if self.process == "gamma":
            return gamma_arrivals(rng, rate_per_s=rate, cv=self.cv, n=n, duration_s=duration)
        if self.process == "diurnal":
            return diurnal_arrivals(
                rng,
                rate_per_s=rate,
                peak_to_mean=self.peak_to_mean,
                period_s=self.period_s,
                n=n,
                duration_s=duration,
            )
        return poisson_arrivals(rng, rate_per_s=rate, n=n, duration_s=duration)


def parse_recipe(text: str) -> Recipe:
    """The recipe written as ``synthetic:PROCESS,key=value,...``.

    Raises:
        BadTrace: the process, a key or a value is unknown, missing, repeated or malformed; the
            line names it and what is known.
    """
    process, *pairs = text.removeprefix(PREFIX).split(",")
    if process not in _KEYS:
        raise BadTrace(
            f"{text}: found process {process!r}{suggestion(process, _KEYS)}, expected one of "
            + ", ".join(_KEYS)
        )
    values = _pairs(text, process, pairs)
    for key in ("rate", *(("cv",) if process == "gamma" else ())):
        if key not in values:
            raise BadTrace(f"{text}: found no '{key}', expected {key}={_EXAMPLES[key]} or such")
    _exactly_one(text, values, "n", "duration")
    if "lengths" in values:
        for key in ("prompt", "output"):
            if key in values:
                raise BadTrace(
                    f"{text}: found both 'lengths' and '{key}', expected lengths from a trace or "
                    "prompt and output, not both"
                )
    else:
        for key in ("prompt", "output"):
            if key not in values:
                raise BadTrace(
                    f"{text}: found no '{key}', expected {key}={_EXAMPLES[key]} or such, or "
                    "lengths=TRACE"
                )
    return Recipe(
        text=text,
        process=process,
        rate_per_s=_number(text, "rate", values["rate"]),
        n=_count(text, values["n"]) if "n" in values else None,
        duration_s=_time_s(text, "duration", values["duration"]) if "duration" in values else None,
        cv=_number(text, "cv", values["cv"]) if "cv" in values else 1.0,
        peak_to_mean=_peak(text, values["peak"]) if "peak" in values else 1.5,
        period_s=_time_s(text, "period", values["period"]) if "period" in values else _DAY_S,
        prompt=_length(text, "prompt", values["prompt"], 1) if "prompt" in values else None,
        output=_length(text, "output", values["output"], 0) if "output" in values else None,
        lengths_from=values.get("lengths"),
    )


_EXAMPLES = {"rate": "3", "cv": "2", "prompt": "512", "output": "lognormal:128:0.9"}


def _pairs(text: str, process: str, pairs: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if key not in _KEYS[process]:
            raise BadTrace(
                f"{text}: found key {key!r}{suggestion(key, _KEYS[process])}, expected one of "
                f"{', '.join(_KEYS[process])} for {process}"
            )
        if key in values:
            raise BadTrace(f"{text}: found '{key}' twice, expected it once")
        if not equals or not value:
            raise BadTrace(f"{text}: found '{key}' without a value, expected {key}=VALUE")
        values[key] = value
    return values


def _exactly_one(text: str, values: Mapping[str, str], one: str, other: str) -> None:
    if (one in values) == (other in values):
        found = "both" if one in values else "neither"
        raise BadTrace(
            f"{text}: found {found} of '{one}' and '{other}', expected exactly one of them"
        )


def _number(text: str, key: str, value: str) -> float:
    number = _float(value)
    if not (math.isfinite(number) and number > 0):
        raise BadTrace(f"{text}: {key}: found {value!r}, expected a finite number > 0")
    return number


def _peak(text: str, value: str) -> float:
    number = _float(value)
    if not 1 <= number <= 2:
        raise BadTrace(f"{text}: peak: found {value!r}, expected peak over mean rate in [1, 2]")
    return number


def _count(text: str, value: str) -> int:
    if not (re.fullmatch(r"\d{1,12}", value) and 1 <= int(value) <= LARGEST_N):
        raise BadTrace(f"{text}: n: found {value!r}, expected an integer from 1 to {LARGEST_N:,}")
    return int(value)


def _time_s(text: str, key: str, value: str) -> float:
    suffix = value[-1:] if value[-1:] in _SECONDS_PER else ""
    number = _float(value.removesuffix(suffix)) * _SECONDS_PER[suffix]
    if not (math.isfinite(number) and number > 0):
        raise BadTrace(
            f"{text}: {key}: found {value!r}, expected a number > 0 of seconds, or one with the "
            "suffix s, m, h or d"
        )
    return number


def _length(text: str, key: str, value: str, least: int) -> int | Lognormal:
    if re.fullmatch(r"\d{1,15}", value) and int(value) >= least:
        return int(value)
    kind, *parameters = value.split(":")
    numbers = [_float(each) for each in parameters]
    if kind == "lognormal" and len(numbers) == 2:
        mean, cv = numbers
        if math.isfinite(mean) and mean >= 1 and math.isfinite(cv) and cv > 0:
            return Lognormal(mean, cv)
    raise BadTrace(
        f"{text}: {key}: found {value!r}, expected an integer >= {least} or lognormal:MEAN:CV with "
        "MEAN >= 1 and CV > 0"
    )


def _float(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def _tokens(rng: np.random.Generator, length: int | Lognormal | None, n: int) -> Integers:
    if isinstance(length, Lognormal):
        return lognormal_tokens(rng, mean=length.mean, cv=length.cv, n=n)
    assert length is not None
    return constant_tokens(length, n)
