"""A comparison as a machine reads it.

In: a comparison. Out: one document of plain values, as ``summary.json`` holds it.
"""

import math
import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import traces
from model.beyond import is_transferred
from model.work import Phase
from phasewatt import __version__
from simulate.compare import Comparison, PolicyResult
from simulate.costs.report import bill_document, grounds_document
from simulate.prepare import Prepared
from simulate.words import command_line, spelt

SUMMARY_VERSION = 2


def versions() -> dict[str, str]:
    """Return the versions of what makes results."""
    return {
        "phasewatt": __version__,
        "python": platform.python_version(),
        **{package: version(package) for package in ("numpy", "scipy", "simpy")},
    }


def summary(comparison: Comparison) -> dict[str, Any]:
    """Return the whole comparison as a document of plain values, the same for the same inputs."""
    scenario, trace, calibration = comparison.scenario, comparison.trace, comparison.calibration
    return {
        "schema": "phasewatt-summary",
        "schema_version": SUMMARY_VERSION,
        "versions": versions(),
        "command": None if comparison.words is None else command_line(comparison.words),
        "words": None if comparison.words is None else spelt(comparison.words),
        "scenario": asdict(scenario),
        "replicas": comparison.replicas,
        "trace": {
            "name": trace.name,
            "digest": traces.digest(trace),
            "requests": len(trace),
            "prompt_tokens": int(trace.prompt_tokens.sum()),
            "output_tokens": int(trace.output_tokens.sum()),
            "source": {
                "description": trace.source.description,
                "licence": trace.source.licence,
                "kind": trace.source.kind,
                "url": trace.source.url,
                "operations": list(trace.source.operations),
                "skipped": dict(trace.source.skipped),
            },
        },
        "calibration": {
            "name": calibration.name,
            "digest": calibration.digest,
            "gpu": calibration.gpu.name,
            "power_limit_w": calibration.gpu.power_limit_w,
            "idle_power_w": calibration.gpu.idle_power_w,
            "origins": {k: asdict(o) for k, o in calibration.gpu.origins.items()},
            "provenance": asdict(calibration.provenance),
        },
        "groups": [
            {
                "name": group.name,
                "model": served.model,
                "calibration": group.calibration.name,
                "digest": group.calibration.digest,
                "gpu": group.calibration.gpu.name,
                "tensor_parallel": group.scenario.tensor_parallel,
                "replicas": len(served.replicas),
            }
            for group, served in zip(
                comparison.groups, comparison.results[0].outcome.groups, strict=True
            )
        ],
        "baseline": comparison.results[0].outcome.policy,
        "costs": grounds_document(scenario.costs, [group.kit for group in comparison.groups]),
        "policies": [_policy(result) for result in comparison.results],
        "warnings": list(comparison.warnings),
    }


def _policy(result: PolicyResult) -> dict[str, Any]:
    prepared, outcome = result.prepared, result.outcome
    return {
        "policy": outcome.policy,
        **_ready(prepared),
        "groups": [
            {"name": served.name, "replicas": list(served.replicas), **_ready(ready)}
            for served, ready in zip(outcome.groups, result.fleet.groups, strict=True)
        ],
        "batching": asdict(prepared.batching),
        "metrics": asdict(result.metrics),
        "bill": bill_document(result.bill),
        "quality": asdict(result.quality),
        "promise": _promise(result),
        "energy_by_replica_j": outcome.energy_by_replica_j.tolist(),
        "energy_j": asdict(result.energy_j),
        "saving": asdict(result.saving),
        "latency_change": {k: asdict(e) for k, e in result.latency_change.items()},
        "parts": {by: [asdict(part) for part in parts] for by, parts in result.parts.items()},
    }


def _ready(prepared: Prepared) -> dict[str, Any]:
    return {
        "model": prepared.model,
        "engine": prepared.curves[Phase.PREFILL].engine,
        "clocks": {
            phase.value: {
                "asked_mhz": _finite(prepared.asked_mhz[phase]),
                "held_mhz": prepared.held_mhz[phase],
                "measured_mhz": list(prepared.curves[phase].measured_mhz),
                "transferred": is_transferred(prepared.curves[phase], prepared.held_mhz[phase]),
                "time_form": prepared.curves[phase].time.form,
                "time_holdout_mape": prepared.curves[phase].time.errors.holdout_mape,
                "power_form": prepared.curves[phase].power.form,
                "power_holdout_mape": prepared.curves[phase].power.errors.holdout_mape,
            }
            for phase in Phase
        },
        "power_cap_w": prepared.governor.cap_w,
    }


def _promise(result: PolicyResult) -> dict[str, Any] | None:
    selected = result.fleet.selected
    if selected is None or selected.choice.promise is None:
        return None
    promise = selected.choice.promise
    share = promise.held_out_share
    told = {"threshold": _finite(promise.threshold), "held_out_share": _finite(share)}
    return {**asdict(promise), **told, "kept": promise.kept}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
