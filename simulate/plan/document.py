"""A plan as machines read it: ``plan.json``, ``plan.parquet``, and a replay of the best choice.

In: a plan. Out: plain values; files, the same bytes for the same inputs.
"""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from simulate.compare import compare
from simulate.costs.report import bill_document, grounds_document
from simulate.document import versions
from simulate.plan.months import mean_bill
from simulate.plan.planning import Plan
from simulate.plan.ranking import Choice, Dropped
from simulate.plan.runs import Run
from simulate.results import write_results
from simulate.words import command_line, inputs_of_words, spelt

SCHEMA_VERSION = 1


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return the whole plan as a document of plain values."""
    question = plan.question
    return {
        "schema": "phasewatt-plan",
        "schema_version": SCHEMA_VERSION,
        "versions": versions(),
        "words": spelt(plan.words),
        "goals": {
            **{key: value for key, value in vars(question.goals).items() if key != "latencies"},
            "latencies": [
                {**asdict(goal.figure), "name": goal.figure.name, "limit_s": goal.limit_s}
                for goal in question.goals.latencies
            ],
        },
        "objective": {"name": question.objective.name, "unit": _unit(plan)},
        "draws": question.draws,
        "load": question.load,
        "simulated": plan.simulated,
        "costs": grounds_document(
            plan.costs, [each.looks[0].rate.kit for each in plan.ranking.choices]
        ),
        "choices": [_choice(plan, each) for each in plan.ranking.choices],
        "dropped": [_left_out(each) for each in plan.ranking.dropped],
        "schedule": [
            {**asdict(month), "bill": bill_document(month.bill)} for month in plan.schedule
        ],
        "what_ifs": [asdict(each) for each in plan.what_ifs],
        "headroom": None if plan.headroom is None else asdict(plan.headroom),
        "warnings": [] if plan.choice is None else list(plan.choice.runs[0].warnings),
    }


def write_plan(plan: Plan, directory: Path) -> None:
    """Write ``plan.json``, ``plan.parquet``, and what a replay of the best choice writes.

    ``report.html`` shows both; where nothing keeps the goals, the plan alone.
    """
    document = json.dumps(plan_document(plan), indent=2, allow_nan=False) + "\n"
    (directory / "plan.json").write_text(document, encoding="utf-8")
    pq.write_table(plan_table(plan), directory / "plan.parquet", compression="zstd")
    if plan.choice is not None:
        words = {**plan.words_of(plan.choice), "draws": 0}
        inputs = inputs_of_words(words)
        compared = compare(inputs.trace, inputs.calibration, inputs.scenario)
        write_results(replace(compared, words=words), directory)
    else:
        from simulate.html.page import write_page_of_directory  # Bokeh takes its time to load

        write_page_of_directory(directory)


def plan_table(plan: Plan) -> pa.Table:
    """Return one row a candidate: how it fared, its size, what it comes to."""
    names = [goal.figure.name for goal in plan.question.goals.latencies]
    rows: list[dict[str, Any]] = [
        {
            **_identity(choice.candidate.label, choice.candidate.policy, "choice", ""),
            "replicas": choice.replicas,
            "gpus": choice.replicas * choice.candidate.gpus,
            "objective": choice.value,
            "quality": choice.looks[0].quality,
            **_figures(choice.runs, names),
            **{f"{name}_bound_s": choice.bounds_s[name] for name in names},
        }
        for choice in plan.ranking.choices
    ]
    for each in plan.ranking.dropped:
        runs = () if each.run is None else (each.run,)
        gpus = None if each.run is None else each.run.replicas * each.candidate.gpus
        rows.append(
            {
                **_identity(each.candidate.label, each.candidate.policy, each.stage, each.reason),
                "replicas": None if each.run is None else each.run.replicas,
                "gpus": gpus,
                "objective": plan.question.value(runs) if runs else None,
                "quality": None,
                **_figures(runs, names),
                **{f"{name}_bound_s": None for name in names},
            }
        )
    numbers = {name: pa.float64() for name in rows[0]}
    texts = dict.fromkeys(("candidate", "policy", "stage", "reason"), pa.string())
    counts = dict.fromkeys(("replicas", "gpus", "runs"), pa.int64())
    return pa.Table.from_pylist(rows, pa.schema({**numbers, **texts, **counts}))


def _identity(label: str, policy: str, stage: str, reason: str) -> dict[str, Any]:
    return {"candidate": label, "policy": policy, "stage": stage, "reason": reason}


def _figures(runs: tuple[Run, ...], names: list[str]) -> dict[str, Any]:
    """Return means over ``runs``; None of none."""
    keys = ("site_energy_j", "gpu_energy_j", "cost", "all_carbon_kg")
    if not runs:
        empty = dict.fromkeys([f"{name}_s" for name in names])
        return {"runs": 0, **dict.fromkeys(keys), **empty, "site_peak_w": None}
    bill = bill_document(mean_bill([run.month for run in runs])) or {}
    latencies = {
        f"{name}_s": _finite(math.fsum(run.latencies_s[name] for run in runs) / len(runs))
        for name in names
    }
    peak_w = max(run.site_peak_w for run in runs)
    return {"runs": len(runs), **{k: bill[k] for k in keys}, **latencies, "site_peak_w": peak_w}


def _choice(plan: Plan, choice: Choice) -> dict[str, Any]:
    words = plan.words_of(choice)
    return {
        "candidate": choice.candidate.label,
        "policy": choice.candidate.policy,
        "model": choice.looks[0].model,
        "calibration": choice.looks[0].rate.kit.calibration,
        "command": command_line(words),
        "words": spelt(words),
        "replicas": choice.replicas,
        "gpus": choice.replicas * choice.candidate.gpus,
        "objective": choice.value,
        "bounds_s": choice.bounds_s,
        "quality": choice.looks[0].quality,
        "quality_how": choice.looks[0].how.value,
        "one_fewer": choice.below,
        "month": bill_document(mean_bill([run.month for run in choice.runs])),
        "runs": [_run(run) for run in choice.runs],
    }


def _left_out(each: Dropped) -> dict[str, Any]:
    return {
        "candidate": each.candidate.label,
        "policy": each.candidate.policy,
        "stage": each.stage,
        "reason": each.reason,
        "nearest": _finite(each.nearest),
        "run": None if each.run is None else _run(each.run),
    }


def _run(run: Run) -> dict[str, Any]:
    told = {key: value for key, value in vars(run).items() if key != "warnings"}
    latencies = {name: _finite(value) for name, value in run.latencies_s.items()}
    return {**told, "latencies_s": latencies, "month": bill_document(run.month)}


def _unit(plan: Plan) -> str:
    return plan.question.objective.unit(plan.costs.currency)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
