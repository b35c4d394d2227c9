"""The question and the answer, in plain words.

In: one run's summary. Out: a sentence that asks, a headline that answers, and what each policy
saves and costs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from simulate.html.numbers import NONE, Numbers
from simulate.html.view import Series

Document = Mapping[str, Any]

_COSTS = (
    ("ttft", "TTFT p95", "time until the first token, 95th percentile", " s", 1.0),
    ("tpot", "TPOT p95", "time per output token, 95th percentile", " ms", 1e3),
    ("e2e", "E2E p95", "time until the last token, 95th percentile", " s", 1.0),
)


@dataclass(frozen=True)
class Cost:
    """One thing that a policy changes: what, said in full, from, to, and by how much.

    ``before`` is empty of the baseline itself.
    """

    name: str
    means: str
    before: Markup
    after: Markup
    change: Markup


@dataclass(frozen=True)
class Verdict:
    """What one policy saves and costs; ``policy`` is its number.

    ``same_as`` names an earlier policy whose run was the same in every figure; empty if none was.
    """

    policy: int
    name: str
    colour: str
    says: Markup
    certain: Markup
    energy: Markup
    costs: tuple[Cost, ...]
    quality: Markup
    same_as: str


@dataclass(frozen=True)
class Answer:
    """The question, the answer in one line, and a verdict on each policy."""

    question: str
    headline: Markup
    baseline: str
    verdicts: tuple[Verdict, ...]


def answer_of(summary: Document, numbers: Numbers, series: Sequence[Series]) -> Answer:
    """Return what the run says about its policies, the one that saves most in the headline.

    ``series`` are those of this run.
    """
    policies = summary["policies"]
    if len(series) == 1:
        verdicts: tuple[Verdict, ...] = (_alone(summary, numbers, series[0]),)
    else:
        verdicts = tuple(_verdict(summary, numbers, each) for each in series[1:])
    return Answer(_question(summary), _headline(summary, numbers), policies[0]["policy"], verdicts)


def _question(summary: Document) -> str:
    trace, policies = summary["trace"], summary["policies"]
    fleet = "; ".join(
        f"{group['model']} on {_counted(group['replicas'], 'replica')} of "
        f"{_gpus(group['tensor_parallel'], group['gpu'])}"
        for group in summary["groups"]
    )
    baseline, *others = (policy["policy"] for policy in policies)
    subject = " or ".join(others) if len(others) < _MANY else "other policies"
    asked = (
        f"How much energy would {subject} save against {baseline}, and what would it cost in "
        "latency and quality?"
        if others
        else f"How much energy does {baseline} take, and how long do requests wait?"
    )
    requests = _counted(trace["requests"], "request")
    return f"{asked} {trace['name']}: {requests}, served by {fleet}."


_MANY = 4


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _gpus(count: int, name: str) -> str:
    return f"one {name}" if count == 1 else f"{count} {name}"


def _headline(summary: Document, numbers: Numbers) -> Markup:
    policies = summary["policies"]
    if len(policies) == 1:
        energy = numbers.energy(0, "metrics", "energy_j", unit=True)
        return Markup("{} takes {}").format(policies[0]["policy"], energy)
    most = max(policy["saving"]["value"] for policy in policies[1:])
    best = [i for i in range(1, len(policies)) if policies[i]["saving"]["value"] == most]
    if most <= 0:
        return Markup("No policy saves energy against {}").format(policies[0]["policy"])
    names = " and ".join(policies[index]["policy"] for index in best)
    share, low = numbers.share(best[0], "saving", "value"), policies[best[0]]["saving"]["low"]
    if low is not None and low <= 0:
        return Markup("{} may save {} of the energy, or nothing").format(names, share)
    verb = "saves" if len(best) == 1 else "save"
    return Markup("{} {} {} of the energy").format(names, verb, share)


def _verdict(summary: Document, numbers: Numbers, series: Series) -> Verdict:
    policy = series.policy
    written = summary["policies"][policy]
    saving = written["saving"]
    if saving["value"] >= 0:
        says = Markup("saves {}").format(numbers.share(policy, "saving", "value"))
    else:
        says = Markup("takes {} more energy").format(numbers.less(policy, "saving", "value"))
    interval = numbers.shares(policy, "saving")
    if not interval:
        certain = Markup("no interval: no draws were asked for")
    elif saving["low"] <= 0 <= saving["high"]:
        certain = Markup("saving of {} (95% interval): it may be none").format(interval)
    else:
        certain = Markup("saving of {} (95% interval)").format(interval)
    energy = Markup("{} instead of {}").format(
        numbers.energy(policy, "metrics", "energy_j", unit=True),
        numbers.energy(0, "metrics", "energy_j", unit=True),
    )
    return Verdict(
        policy=policy,
        name=written["policy"],
        colour=series.colour,
        says=says,
        certain=certain,
        energy=energy,
        costs=(
            *_latencies(numbers, policy),
            *_objectives(summary, numbers, policy),
            *_bills(numbers, policy),
        ),
        quality=_quality(summary, numbers, policy),
        same_as=_same_as(summary, policy),
    )


def _alone(summary: Document, numbers: Numbers, series: Series) -> Verdict:
    """Return what the only policy takes: there is nothing to compare it with."""
    interval = numbers.energies(0, "energy_j")
    return Verdict(
        policy=0,
        name=series.policy_name,
        colour=series.colour,
        says=Markup("takes {}").format(numbers.energy(0, "metrics", "energy_j", unit=True)),
        certain=Markup("95% interval {}").format(interval) if interval != NONE else Markup(),
        energy=Markup(),
        costs=tuple(
            replace(cost, before=Markup(), change=Markup())
            for cost in (
                *_latencies(numbers, 0),
                *_objectives(summary, numbers, 0),
                *_bills(numbers, 0),
            )
        ),
        quality=_quality_of(numbers, 0),
        same_as="",
    )


def _same_as(summary: Document, policy: int) -> str:
    policies = summary["policies"]
    mine = policies[policy]["metrics"]
    return next((p["policy"] for p in policies[:policy] if p["metrics"] == mine), "")


def _latencies(numbers: Numbers, policy: int) -> list[Cost]:
    return [
        Cost(
            name,
            means,
            numbers.of(0, "metrics", latency, "p95_s", times=times, unit=unit),
            numbers.of(policy, "metrics", latency, "p95_s", times=times, unit=unit),
            numbers.change(policy, "latency_change", f"{latency}_p95", "value"),
        )
        for latency, name, means, unit, times in _COSTS
        if numbers.raw(policy, "metrics", latency, "p95_s") is not None
    ]


def _objectives(summary: Document, numbers: Numbers, policy: int) -> list[Cost]:
    met = summary["policies"][policy]["metrics"]["slo_attainment"]
    if met is None:
        return []
    path = ("metrics", "slo_attainment", "all")
    return [
        Cost(
            "within SLO",
            "share of requests that meet every objective",
            numbers.share(0, *path),
            numbers.share(policy, *path),
            Markup(),
        )
    ]


def _bills(numbers: Numbers, policy: int) -> list[Cost]:
    currency = numbers.raw(policy, "bill", "currency")
    return [
        Cost(
            name,
            means,
            numbers.of(0, "bill", key, unit=unit),
            numbers.of(policy, "bill", key, unit=unit),
            Markup(),
        )
        for name, means, key, unit in (
            (
                "cost",
                "of the run: energy, hardware and carbon, as priced",
                "cost",
                f" {currency}",
            ),
            ("carbon", "of the run: operation and hardware", "all_carbon_kg", " kg CO2e"),
        )
        if numbers.raw(policy, "bill", key) is not None
    ]


def _quality(summary: Document, numbers: Numbers, policy: int) -> Markup:
    written, baseline = summary["policies"][policy], summary["policies"][0]
    models = [{group["model"] for group in each["groups"]} for each in (baseline, written)]
    if models[0] == models[1] and len(models[0]) == 1:
        return Markup("unchanged: the same model answers, and clocks change no answer")
    if written["quality"]["mean"] is None or baseline["quality"]["mean"] is None:
        return Markup("unknown")
    before = numbers.share(0, "quality", "mean")
    return Markup("{} instead of {}").format(_quality_of(numbers, policy), before)


def _quality_of(numbers: Numbers, policy: int) -> Markup:
    if numbers.raw(policy, "quality", "mean") is None:
        return Markup("unknown")
    how = numbers.raw(policy, "quality", "how")
    return Markup("{} ({})").format(numbers.share(policy, "quality", "mean"), how)
