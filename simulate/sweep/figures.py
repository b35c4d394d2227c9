"""The figures of one point, as a row of plain values.

In: a comparison of one policy with the baseline. Out: a row of the columns of :data:`SCHEMA`; all
but the digest are null in the row of a point that could not run, which holds the reason.
"""

from typing import Any

import pyarrow as pa

from model.beyond import is_transferred
from model.work import Phase
from simulate.compare import Comparison, PolicyResult
from simulate.coverage import is_saturated
from simulate.meter import State
from simulate.power import PERCENTILES, WINDOWS_S

LATENCIES = ("ttft", "tpot", "itl", "e2e", "queue")
QUANTILES = ("p50", "p95", "p99")

HELD = {phase: f"{phase}_held_mhz" for phase in Phase}
"""The columns of the clocks at which each phase's typical step is held, in the first group."""

BILLED = (
    "host_energy_j",
    "site_energy_j",
    "cost",
    "energy_cost",
    "hardware_cost",
    "carbon_cost",
    "carbon_kg",
    "embodied_kg",
)
"""What is known where the words hold costs; see :class:`simulate.costs.bill.Bill`."""

SCHEMA = pa.schema(
    [
        ("digest", pa.string()),
        ("error", pa.string()),
        ("models", pa.string()),
        ("fleet_replicas", pa.int64()),
        ("sized_replicas", pa.int64()),
        *((name, pa.float64()) for name in HELD.values()),
        ("energy_j", pa.float64()),
        ("energy_low_j", pa.float64()),
        ("energy_high_j", pa.float64()),
        ("baseline_energy_j", pa.float64()),
        ("saving", pa.float64()),
        ("saving_low", pa.float64()),
        ("saving_high", pa.float64()),
        ("request_j", pa.float64()),
        ("output_token_j", pa.float64()),
        *((f"energy_{state.label}_j", pa.float64()) for state in State),
        *((f"{name}_{q}_s", pa.float64()) for name in LATENCIES for q in QUANTILES),
        *((f"slo_{name}", pa.float64()) for name in ("ttft", "tpot", "e2e", "all")),
        ("goodput_per_s", pa.float64()),
        *((name, pa.float64()) for name in BILLED),
        ("currency", pa.string()),
        ("quality", pa.float64()),
        ("quality_how", pa.string()),
        ("mean_power_w", pa.float64()),
        *((f"power_{name}_w", pa.float64()) for name in PERCENTILES),
        *((f"peak_power_{window}_w", pa.float64()) for window in WINDOWS_S),
        ("utilisation", pa.float64()),
        ("requests", pa.int64()),
        ("rejected", pa.int64()),
        ("failed", pa.int64()),
        ("output_tokens", pa.int64()),
        ("requests_per_s", pa.float64()),
        ("output_tokens_per_s", pa.float64()),
        ("makespan_s", pa.float64()),
        ("engine_steps", pa.int64()),
        ("preemptions", pa.int64()),
        ("saturated", pa.bool_()),
        ("transferred", pa.bool_()),
        ("warnings", pa.list_(pa.string())),
    ]
)
"""What a row holds: energies in J, powers in W, times in s, clocks in MHz, shares as fractions.

``sized_replicas`` is the fleet's size where it was found for ``--replicas auto``; ``slo_all`` the
share of requests that meet every objective; ``transferred`` whether a phase's typical step is held
below the measured clocks.
"""


def figures_of(digest: str, comparison: Comparison, sized: int | None) -> dict[str, Any]:
    """Return the row of the last policy of ``comparison``, whose words have ``digest``."""
    result = comparison.results[-1]
    metrics, met = result.metrics, result.metrics.slo_attainment or {}
    outcome, bill = result.outcome, result.bill
    return {
        "digest": digest,
        "error": None,
        "models": ", ".join(dict.fromkeys(group.model for group in outcome.groups)),
        "fleet_replicas": comparison.replicas,
        "sized_replicas": sized,
        **{name: float(result.prepared.held_mhz[phase]) for phase, name in HELD.items()},
        "energy_j": result.energy_j.value,
        "energy_low_j": result.energy_j.low,
        "energy_high_j": result.energy_j.high,
        "baseline_energy_j": comparison.results[0].energy_j.value,
        "saving": result.saving.value,
        "saving_low": result.saving.low,
        "saving_high": result.saving.high,
        "request_j": metrics.request_j,
        "output_token_j": metrics.output_token_j,
        **{f"energy_{state}_j": energy_j for state, energy_j in metrics.energy_by_state_j.items()},
        **{
            f"{name}_{quantile}_s": getattr(getattr(metrics, name), f"{quantile}_s")
            for name in LATENCIES
            for quantile in QUANTILES
        },
        **{f"slo_{name}": met.get(name) for name in ("ttft", "tpot", "e2e", "all")},
        "goodput_per_s": metrics.goodput_per_s,
        **{name: None if bill is None else getattr(bill, name) for name in BILLED},
        "currency": None if bill is None else bill.currency,
        "quality": result.quality.mean,
        "quality_how": result.quality.how.value,
        "mean_power_w": metrics.mean_power_w,
        **{f"power_{name}_w": watts for name, watts in metrics.power_w.items()},
        **{f"peak_power_{window}_w": watts for window, watts in metrics.peak_power_w.items()},
        "utilisation": metrics.utilisation,
        "requests": metrics.requests,
        "rejected": metrics.rejected,
        "failed": metrics.failed,
        "output_tokens": metrics.output_tokens,
        "requests_per_s": metrics.requests_per_s,
        "output_tokens_per_s": metrics.output_tokens_per_s,
        "makespan_s": metrics.makespan_s,
        "engine_steps": metrics.engine_steps,
        "preemptions": metrics.preemptions,
        "saturated": is_saturated(outcome, comparison.scenario),
        "transferred": _is_transferred(result),
        "warnings": list(comparison.warnings),
    }


def refused(digest: str, error: str) -> dict[str, Any]:
    """Return the row of a point that cannot run, for the reason ``error``."""
    return {**dict.fromkeys(SCHEMA.names), "digest": digest, "error": error}


def _is_transferred(result: PolicyResult) -> bool:
    return any(
        is_transferred(ready.curves[phase], ready.held_mhz[phase])
        for ready in result.fleet.groups
        for phase in Phase
    )
