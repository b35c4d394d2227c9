"""Small questions for planners: curves and traces in files, words about them, and brute force."""

import math

import numpy as np
from scipy import stats

from model.calibration import dump
from simulate.costs import parse_objective
from simulate.metrics import parse_slo
from simulate.plan.goals import Goals, latency_goals
from simulate.plan.runs import RunTask, run
from simulate.words import default_words, worded

RECIPE = "synthetic:poisson,rate=0.35,n=90,prompt=lognormal:300:0.5,output=lognormal:12:0.5"


def words_of(directory, calibration, trace, **options):
    """Words about ``calibration`` and ``trace`` (a recipe, or columns), written to files."""
    file = directory / "calibration.json"
    file.write_text(dump(calibration))
    if not isinstance(trace, str):
        rows = [",".join(map(repr, map(float, row))) for row in zip(*trace[:1], strict=True)]
        lengths = [f"{prompt},{output}" for prompt, output in zip(*trace[1:], strict=True)]
        table = directory / "trace.csv"
        lines = [f"{at},{tokens}" for at, tokens in zip(rows, lengths, strict=True)]
        table.write_text("\n".join(["arrival_s,prompt_tokens,output_tokens", *lines]) + "\n")
        trace = str(table)
    changes = {name.replace("_", "-"): value for name, value in options.items()}
    return worded(default_words(), {"calibration": str(file), "trace": trace, **changes})


def goals_of(slo, percentile="90", **more):
    return Goals(latency_goals(parse_slo(slo), percentile), **more)


def brute_force(candidates, goals, objective, draws, most):
    """The candidate and size of least objective among all that keep the promise, and their values.

    Every candidate is run at every size up to ``most`` in every draw.
    """
    weigh = parse_objective(objective)
    kept = {}
    for candidate in candidates:
        for replicas in range(1, most + 1):
            runs = [
                run(RunTask(candidate, replicas, k, 1.0, goals.figures, goals.window))
                for k in range(draws)
            ]
            if all(promised(runs, goal, goals) for goal in goals.latencies):
                months = [weigh.of(each.month) for each in runs]
                kept[candidate.label, replicas] = sum(months) / draws
    return kept


def promised(runs, goal, goals):
    """Whether ``goal`` is kept by all runs and, by its prediction bound, by one more."""
    values = [each.latencies_s[goal.figure.name] for each in runs]
    logs = np.log(values)
    level = 1 - (1 - goals.confidence) / len(goals.latencies)
    reach = stats.t.ppf(level, len(runs) - 1) * logs.std(ddof=1) * math.sqrt(1 + 1 / len(runs))
    return max(values) <= goal.limit_s and math.exp(logs.mean() + reach) <= goal.limit_s
