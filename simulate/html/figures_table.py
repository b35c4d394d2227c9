"""Every figure of every policy in one table, as the terminal shows it.

In: summaries. Out: a table whose figures carry their exact values.
"""

from collections.abc import Callable, Sequence

from markupsafe import Markup

from simulate.html.numbers import NONE, Numbers
from simulate.html.view import Cell, Series, Table

Shown = Callable[[Numbers, int], Markup]


def figures_table(numbers: Sequence[Numbers], series: Sequence[Series]) -> Table:
    """Return one column for each series, one row for each figure that any of them has."""
    rows: list[tuple[Cell, ...]] = []
    unit = numbers[0].energy_unit.name
    energy: tuple[str, Shown] = (f"energy of the fleet, {unit}", _energy("metrics", "energy_j"))
    found = (
        *_CLOCKS,
        energy,
        *_ROWS,
        *_of_bills(numbers),
        *_of_states(numbers[0]),
        *_of_objectives(numbers),
    )
    for label, shown in found:
        cells = [shown(numbers[each.run], each.policy) for each in series]
        if any(cell != NONE for cell in cells):
            rows.append((label, *cells))
    heads = [
        Markup("{} (baseline)").format(each.name) if each.policy == 0 else each.name
        for each in series
    ]
    return Table(("", *heads), tuple(rows))


def _figure(*path: str, times: float = 1.0) -> Shown:
    return lambda numbers, policy: numbers.of(policy, *path, times=times)


def _energy(*path: str) -> Shown:
    return lambda numbers, policy: numbers.energy(policy, *path)


def _share(*path: str, digits: int = 1) -> Shown:
    return lambda numbers, policy: numbers.share(policy, *path, digits=digits)


def _count(*path: str) -> Shown:
    return lambda numbers, policy: numbers.count(policy, *path)


def _nonzero(shown: Shown, *path: str) -> Shown:
    return lambda numbers, policy: (
        shown(numbers, policy) if numbers.raw(policy, *path) else Markup(NONE)
    )


def _saving(numbers: Numbers, policy: int) -> Markup:
    if policy == 0:
        return Markup(NONE)
    interval = numbers.shares(policy, "saving")
    share = numbers.share(policy, "saving", "value")
    return Markup("{} [{}]").format(share, interval) if interval else share


def _latency(name: str, quantile: str, times: float) -> Shown:
    def shown(numbers: Numbers, policy: int) -> Markup:
        value = numbers.of(policy, "metrics", name, f"{quantile}_s", times=times)
        change = f"{name}_{quantile}"
        if policy == 0 or not numbers.raw(policy, "latency_change", change, "value"):
            return value
        told = numbers.change(policy, "latency_change", change, "value")
        return Markup("{} ({})").format(value, told)

    return shown


def _quality(numbers: Numbers, policy: int) -> Markup:
    if numbers.raw(policy, "quality", "mean") is None:
        return Markup(NONE)
    share = numbers.share(policy, "quality", "mean")
    interval = numbers.shares(policy, "quality")
    how = numbers.raw(policy, "quality", "how")
    return Markup("{}{} ({})").format(share, f" [{interval}]" if interval else "", how)


_UNITS = {"ttft": ("TTFT", "s", 1.0), "tpot": ("TPOT", "ms", 1e3), "e2e": ("E2E", "s", 1.0)}

_CLOCKS: tuple[tuple[str, Shown], ...] = (
    ("prefill clock, MHz", _count("clocks", "prefill", "held_mhz")),
    ("decode clock, MHz", _count("clocks", "decode", "held_mhz")),
)

_ROWS: tuple[tuple[str, Shown], ...] = (
    ("saving [95% interval]", _saving),
    ("J per request", _figure("metrics", "request_j")),
    ("J per output token", _figure("metrics", "output_token_j")),
    ("J per prompt token, prefill's", _figure("metrics", "prefill_token_j")),
    ("J per decoded token, decode's", _figure("metrics", "decode_token_j")),
    ("quality", _quality),
    *(
        (f"{words} {quantile}, {unit}", _latency(name, quantile, times))
        for name, (words, unit, times) in _UNITS.items()
        for quantile in ("p50", "p95", "p99")
    ),
    *(
        (f"ITL {quantile}, ms", _figure("metrics", "itl", f"{quantile}_s", times=1e3))
        for quantile in ("p50", "p95", "p99")
    ),
    ("queueing p95, s", _figure("metrics", "queue", "p95_s")),
    ("mean power, W", _figure("metrics", "mean_power_w")),
    ("power p99, W", _figure("metrics", "power_w", "p99")),
    ("peak power over 1 s, W", _figure("metrics", "peak_power_w", "1s")),
    ("peak power over 60 s, W", _figure("metrics", "peak_power_w", "60s")),
    ("requests/s", _figure("metrics", "requests_per_s")),
    ("output tokens/s", _figure("metrics", "output_tokens_per_s")),
    ("goodput, requests/s", _figure("metrics", "goodput_per_s")),
    ("utilisation", _share("metrics", "utilisation")),
    ("preemptions", _nonzero(_count("metrics", "preemptions"), "metrics", "preemptions")),
    ("rejected", _nonzero(_count("metrics", "rejected"), "metrics", "rejected")),
    ("failed", _nonzero(_count("metrics", "failed"), "metrics", "failed")),
)


def _of_bills(numbers: Sequence[Numbers]) -> list[tuple[str, Shown]]:
    currencies = {each.raw(0, "bill", "currency") for each in numbers} - {None}
    money = "/".join(sorted(currencies))
    return [
        (label, _figure("bill", name))
        for label, name in (
            ("site energy, kWh", "site_energy_kwh"),
            (f"cost, {money}", "cost"),
            (f"of which energy, {money}", "energy_cost"),
            (f"of which hardware, {money}", "hardware_cost"),
            (f"of which carbon, {money}", "carbon_cost"),
            ("operational carbon, kg CO2e", "carbon_kg"),
            ("embodied carbon, kg CO2e", "embodied_kg"),
        )
    ]


def _of_states(numbers: Numbers) -> list[tuple[str, Shown]]:
    states = numbers.summary["policies"][0]["metrics"]["energy_by_state_j"]
    path = ("metrics", "energy_by_state_j")
    return [
        (
            f"energy in {state}, {numbers.energy_unit.name}",
            _nonzero(_energy(*path, state), *path, state),
        )
        for state in states
    ]


def _of_objectives(numbers: Sequence[Numbers]) -> list[tuple[str, Shown]]:
    named = dict.fromkeys(
        objective
        for each in numbers
        for objective in each.raw(0, "metrics", "slo_attainment") or ()
    )
    path = ("metrics", "slo_attainment")
    return [(f"within SLO, {each}", _share(*path, each, digits=2)) for each in named]
