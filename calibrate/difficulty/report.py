"""An evaluation of difficulty predictors as a person reads it.

In: the document of :func:`model.difficulty.study.study`. Out: tables for the terminal; "-" is what
was not measured.
"""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from model.difficulty.evaluation import OURS, OURS_TASK
from model.difficulty.verdict import ORACLE

Document = dict[str, Any]

_MOST_TASKS = 8

_VIEWS = (
    ("AUC of 'is right', pooled", "pooled", "auc"),
    ("AUC within tasks", "pooled", "auc_within"),
    ("AUC within tasks not trained on", "unseen", "auc_within"),
    ("average precision", "pooled", "ap"),
    ("Brier skill", "pooled", "brier_skill"),
    ("calibration error", "pooled", "calibration_error"),
    ("calibration error on tasks not trained on", "unseen", "calibration_error"),
)
_BY_TASK = ((OURS, "pooled"), (OURS_TASK, "pooled"), (OURS, "unseen"))


def print_study(console: Console, study: Document) -> None:
    """Print every table of an evaluation."""
    console.print(f"[bold]{study['name']}[/bold]: {study['rows']:,} queries, {study['source']}")
    if study["tasks"]:
        tasks = ", ".join(f"{name} {rows:,}" for name, rows in study["tasks"].items())
        many = len(study["tasks"]) > _MOST_TASKS
        console.print(f"tasks: {len(study['tasks'])}" + ("" if many else f" ({tasks})"))
    console.print(
        f"{study['features']} features of {study['extractor']}; {study['folds']} folds, duplicates "
        "kept together; calibrated inside the training folds\n"
    )
    models = ", ".join(f"{name} {each['right']:.3f}" for name, each in study["models"].items())
    console.print(f"share right: {models}\n")
    for title, view, key in _VIEWS:
        if any(row["view"] == view and row[key] is not None for row in study["right"]):
            console.print(_right(study, title, view, key))
    console.print(_over_length(study))
    console.print("95% paired bootstrap over queries, against the better of line and tree.\n")
    for pair in _pairs(study):
        console.print(_gain(study, pair))
    console.print(
        "AUC of 'large is right where small is wrong'; unseen: AUC within tasks not trained on, "
        "and APGR over them; saved: energy at 1% less quality than the large model alone, energy "
        "assumed in proportion to parameters; with confidence, the small model runs on every "
        "query. In brackets: 95% bootstrap.\n"
    )
    for pair in _pairs(study):
        console.print(_curve(study, pair))
    console.print("Quality as the threshold moves; energy relative to the large model alone.\n")
    for method, view in _BY_TASK if "by_task" in study else ():
        console.print(_by_task(study, method, view))
    if "by_task" in study:
        console.print("Unlike: share flagged as unlike the training data.\n")
    if "few_labels" in study:
        few = study["few_labels"]
        values = few["apgr"]
        console.print(
            f"Trained on {few['labels']:,} labels, judged on all others: APGR "
            f"{sum(values) / len(values):.3f} (mean of {len(values)} draws, "
            f"{min(values):.3f} to {max(values):.3f})"
        )


def print_comparison(console: Console, studies: Sequence[Document]) -> None:
    """Print AUC and routing of ours side by side for several evaluations."""
    first = studies[0]
    for title, view, key in _VIEWS[:3]:
        for method in (OURS, OURS_TASK):
            table = _table(f"{method}, {title}", first["models"])
            for study in studies:
                rows = [
                    _find(study["right"], method=method, model=model, view=view)
                    for model in first["models"]
                ]
                table.add_row(study["name"], *(_figure(row, key) for row in rows))
            if any(_find(study["right"], method=method, view=view) for study in studies):
                console.print(table)
    pairs = _pairs(first)
    for method in (OURS, OURS_TASK):
        table = _table(f"{method}, APGR", [f"{small} to {large}" for small, large in pairs])
        for study in studies:
            found = [
                _find(study["gain"], method=method, small=small, large=large, view="pooled")
                for small, large in pairs
            ]
            table.add_row(study["name"], *(_figure(row, "apgr") for row in found))
        console.print(table)


def _right(study: Document, title: str, view: str, key: str) -> Table:
    table = _table(title, study["models"])
    for method in _methods([row for row in study["right"] if row["view"] == view]):
        rows = [
            _find(study["right"], method=method, model=model, view=view)
            for model in study["models"]
        ]
        table.add_row(method, *(_figure(row, key) for row in rows))
    return table


def _over_length(study: Document) -> Table:
    methods = _methods(study["over_length"])
    table = _table("AUC pooled above length only", methods)
    for model in study["models"]:
        cells = []
        for method in methods:
            row = _find(study["over_length"], method=method, model=model) or {}
            low, high = row["interval"]
            cells.append(f"{row['difference']:+.3f} [{low:+.3f}, {high:+.3f}]")
        table.add_row(model, *cells)
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
            "-"
            if unseen is None or method == ORACLE
            else f"{_three(unseen['auc_within'])}, {_three(unseen['apgr'])}",
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
        if s["view"] == "pooled" and (s["method"].startswith(OURS) or s["method"] == ORACLE)
    ]
    steps = range(0, 21, 5)
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


def _by_task(study: Document, method: str, view: str) -> Table:
    models = list(study["models"])
    title = f"{method}, inside each task" + (", not trained on" if view == "unseen" else "")
    table = _table(title, (*models, "unlike"))
    for row in study["by_task"]:
        if (row["method"], row["view"]) == (method, view):
            cells = [_three(row["right"][model]) for model in models]
            table.add_row(row["task"], *cells, f"{row['unlike']:.1%}")
    return table


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


def _figure(row: Document | None, key: str) -> str:
    return "-" if row is None else _three(row[key])


def _three(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
