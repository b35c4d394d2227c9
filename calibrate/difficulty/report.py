"""An evaluation of difficulty predictors as a person reads it.

In: the document of :func:`model.difficulty.study.study`. Out: tables for the terminal. A cell
"0.714 / 0.635 / 0.55" is pooled / within tasks / on unseen tasks; "-" is what was not measured.
"""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

Document = dict[str, Any]

_OURS = "this predictor"


def print_study(console: Console, study: Document) -> None:
    """Print every table of an evaluation."""
    tasks = ", ".join(f"{name} {rows:,}" for name, rows in study["tasks"].items())
    many = len(study["tasks"]) > 8
    console.print(f"[bold]{study['name']}[/bold]: {study['rows']:,} queries, {study['source']}")
    if study["tasks"]:
        console.print(f"tasks: {len(study['tasks'])}" + ("" if many else f" ({tasks})"))
    console.print(
        f"{study['features']} features of {study['extractor']}; {study['folds']} folds, duplicates "
        "kept together; calibrated inside the training folds\n"
    )
    console.print(_right(study))
    console.print("A cell: AUC pooled / within tasks / within tasks that training did not see.\n")
    console.print(_quality(study))
    console.print()
    console.print(_over_length(study))
    console.print("95% paired bootstrap over queries, against the better of line and tree.\n")
    for pair in _pairs(study):
        console.print(_gain(study, pair))
    console.print(
        "AUC of 'large is right where small is wrong'; unseen: AUC within and APGR over "
        "tasks not trained on; "
        "saved: energy at 1% less quality than the large model alone, energy assumed in proportion "
        "to parameters; with confidence, the small model runs on every query. In brackets: 95% "
        "bootstrap.\n"
    )
    for pair in _pairs(study):
        console.print(_curve(study, pair))
    console.print("Quality as the threshold moves; energy relative to the large model alone.\n")
    if "by_task" in study:
        console.print(_by_task(study))
        console.print("Abstained: share flagged as unlike the training data.\n")
    if "few_labels" in study:
        few = study["few_labels"]
        values = few["apgr"]
        console.print(
            f"Trained on {few['labels']:,} labels, judged on all others: APGR "
            f"{_three(sum(values) / len(values))} (mean of {len(values)} draws, "
            f"{_three(min(values))} to {_three(max(values))})"
        )


def _right(study: Document) -> Table:
    table = _table("AUC of 'is right'", study["models"])
    methods = _methods(study["right"])
    for method in methods:
        cells = []
        for model in study["models"]:
            pooled = _find(study["right"], method=method, model=model, view="pooled")
            unseen = _find(study["right"], method=method, model=model, view="unseen")
            cells.append(_triple(pooled, unseen))
        table.add_row(method, *cells)
    table.add_row("share right", *(_three(each["right"]) for each in study["models"].values()))
    return table


def _quality(study: Document) -> Table:
    table = _table("Average precision / Brier skill / calibration error", study["models"])
    for method in _methods(study["right"]):
        rows = [
            _find(study["right"], method=method, model=model, view="pooled")
            for model in study["models"]
        ]
        table.add_row(
            method,
            *(
                f"{_two(row['ap'])} / {row['brier_skill']:+.3f} / {row['calibration_error']:.3f}"
                for row in rows
                if row is not None
            ),
        )
    return table


def _over_length(study: Document) -> Table:
    table = _table("AUC above length only", study["models"])
    for method in _methods(study["over_length"]):
        rows = [
            _find(study["over_length"], method=method, model=model) for model in study["models"]
        ]
        table.add_row(
            method,
            *(
                f"{row['difference']:+.3f} [{row['interval'][0]:+.3f}, {row['interval'][1]:+.3f}]"
                for row in rows
                if row is not None
            ),
        )
    return table


def _gain(study: Document, pair: tuple[str, str]) -> Table:
    small, large = pair
    first = next(s for s in study["gain"] if (s["small"], s["large"]) == pair)
    table = _table(
        f"{small} to {large}: pays for {first['share_pays']:.0%} of queries",
        ("AUC", "APGR", "within", "unseen", "CPT50", "CPT80", "saved"),
    )
    scores = [s for s in study["gain"] if (s["small"], s["large"]) == pair]
    for method in _methods(scores):
        row = _find(scores, method=method, view="pooled")
        unseen = _find(scores, method=method, view="unseen")
        if row is None:
            continue
        bounds = row["apgr_interval"]
        table.add_row(
            method,
            _three(row["auc"]),
            _three(row["apgr"])
            + ("" if bounds is None else f" [{_three(bounds[0])}, {_three(bounds[1])}]"),
            _three(row["auc_within"]),
            "-" if unseen is None else f"{_three(unseen['auc_within'])}, {_three(unseen['apgr'])}",
            f"{row['cpt50']:.0%}",
            f"{row['cpt80']:.0%}",
            "-" if row["saved"] is None else f"{row['saved']:.0%}",
        )
    return table


def _curve(study: Document, pair: tuple[str, str]) -> Table:
    scores = [s for s in study["gain"] if (s["small"], s["large"]) == pair]
    shown = [
        s
        for s in scores
        if s["view"] == "pooled" and (s["method"].startswith(_OURS) or s["method"] == "oracle")
    ]
    steps = range(0, 21, 4)
    heads = [f"{shown[0]['calls'][step]:.0%} large" for step in steps]
    table = _table(f"{pair[0]} to {pair[1]}: quality @ energy", heads)
    for score in shown:
        cells = [
            _three(score["quality"][step])
            + ("" if score["energy"] is None else f" @ {score['energy'][step]:.2f}")
            for step in steps
        ]
        table.add_row(score["method"], *cells)
    return table


def _by_task(study: Document) -> Table:
    models = list(study["models"])
    table = _table("AUC inside each task", ("view", *models, "abstained"))
    for row in study["by_task"]:
        if not row["method"].startswith(_OURS):
            continue
        method = "text alone" if row["method"] == _OURS else "text + task"
        label = method if row["view"] == "pooled" else f"{method}, task unseen"
        table.add_row(
            row["task"],
            label,
            *(_three(row["right"][model]) for model in models),
            "-" if row["unlike"] is None else f"{row['unlike']:.1%}",
        )
    return table


def _triple(pooled: Document | None, unseen: Document | None) -> str:
    if pooled is None:
        return "-"
    cells = [_three(pooled["auc"])]
    if pooled["auc_within"] is not None:
        cells.append(_two(pooled["auc_within"]))
        cells.append("-" if unseen is None else _two(unseen["auc_within"]))
    return " / ".join(cells)


def _find(rows: Sequence[Document], **wanted: str) -> Document | None:
    return next((row for row in rows if all(row[k] == v for k, v in wanted.items())), None)


def _methods(rows: Sequence[Document]) -> list[str]:
    return list(dict.fromkeys(row["method"] for row in rows))


def _pairs(study: Document) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["small"], row["large"]) for row in study["gain"]))


def _table(title: str, columns: Any) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("")
    for column in columns:
        table.add_column(str(column), justify="right")
    return table


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
