"""The page: what result directories hold, laid out as one self-contained HTML file.

In: results. Out: HTML, the same bytes for the same results.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from simulate.html.answer import Answer, answer_of
from simulate.html.differences import differences
from simulate.html.embed import bokeh_js, plots_json
from simulate.html.figures.curves import curve_plots
from simulate.html.figures.energy import energy_plot
from simulate.html.figures.latency import latency_plots
from simulate.html.figures.pareto import pareto_plots
from simulate.html.figures.power import power_plots
from simulate.html.figures_table import figures_table
from simulate.html.gather import gather
from simulate.html.numbers import Numbers
from simulate.html.palette import tokens
from simulate.html.plan_part import plan_part
from simulate.html.result import Result, read_result
from simulate.html.splits import splits_of
from simulate.html.sweep_part import sweep_part
from simulate.html.told import provenance_of
from simulate.html.units import energy_unit
from simulate.html.view import Part, Section, Series, series_of, switches_of

_NO_RUNS: dict[str, Any] = {"runs": [], "answers": [], "sections": [], "curves": []}


def write_page(results: Sequence[Result], path: Path) -> None:
    """Write the page of ``results`` to ``path``.

    Raises:
        BadResult: the tables of a result do not fit its summary.
    """
    path.write_text(page_of(results), encoding="utf-8")


def write_page_of_directory(directory: Path) -> None:
    """Write ``report.html`` beside the other files of one result."""
    write_page([read_result(directory)], directory / "report.html")


def page_of(results: Sequence[Result]) -> str:
    """Return the page of ``results`` as HTML.

    Raises:
        BadResult: the tables of a result do not fit its summary.
    """
    runs = [result for result in results if result.summary]
    shown = _of_runs(runs) if runs else _NO_RUNS
    parts = _parts(results)
    drawn = (*parts, *shown["sections"], *shown["curves"])
    plots = [plot for part in drawn for plot in part.plots]
    data = plots_json({f"plot-{plot.name}": plot.model for plot in plots})
    scripts = (bokeh_js(), _resource("page.js"))
    page: str = _template().render(
        **shown,
        title=_title(runs, parts, shown["answers"]),
        subject=", ".join(dict.fromkeys(run.summary["trace"]["name"] for run in runs)),
        parts=parts,
        # One answer is the page's own heading; several have a heading each.
        alone=len(runs) == 1 and not parts,
        policy=_security_policy(scripts),
        style=Markup(_resource("style.css")),
        schemes={name: _css(colours) for name, colours in tokens().items()},
        colours=Markup(_json(tokens())),
        plots=Markup(data),
        scripts=[Markup(script) for script in scripts],
    )
    return page


def _of_runs(runs: Sequence[Result]) -> dict[str, Any]:
    """Return what the template shows of replays."""
    summaries = [run.summary for run in runs]
    series = series_of([(run.name, run.policies) for run in runs])
    unit = energy_unit(max(p["metrics"]["energy_j"] for s in summaries for p in s["policies"]))
    numbers = [Numbers(summary, index, unit) for index, summary in enumerate(summaries)]
    gathered = gather(runs)
    spreads = gathered.spreads
    splits = splits_of(summaries, spreads, series)
    latencies = [spread.latency_s for spread in spreads]
    return {
        "runs": runs,
        "switches": switches_of(series),
        "answers": [
            answer_of(run.summary, numbers[index], [s for s in series if s.run == index])
            for index, run in enumerate(runs)
        ],
        "warnings": [(run.name, run.summary["warnings"]) for run in runs],
        "differences": differences(runs) if len(runs) > 1 else None,
        "figures": figures_table(numbers, series),
        "sections": [
            Section(
                *("pareto", "Energy and latency"),
                "Lower left is better. Bars are the 95% interval of the energy; a dashed line "
                "joins the policies that no other beats in both.",
                pareto_plots(summaries, numbers, series),
            ),
            Section(
                *("power", "Power over time"),
                "Both plots zoom together.",
                power_plots(gathered.courses, series),
            ),
            Section(
                *("latency", "Latencies"),
                "Upright: the share of requests that waited no longer. Further left is better; a "
                "dotted line is an objective (--slo).",
                latency_plots(latencies, numbers, series, _limits_s(summaries)),
            ),
            Section(
                *("energy", "Where the energy goes"),
                "Of all GPUs of the fleet, idle time included.",
                [energy_plot(split, series, unit) for split in splits],
            ),
        ],
        "curves": _curves(runs, series),
        "provenance": [(run.name, provenance_of(run)) for run in runs],
        "left_out": gathered.said,
    }


def _limits_s(summaries: Sequence[Any]) -> dict[str, float]:
    """Return the objectives that all runs share, by latency, in s."""
    found = [
        {name.removesuffix("_s"): limit for name, limit in (s["scenario"]["slo"] or {}).items()}
        for s in summaries
    ]
    return {
        name: limit
        for name, limit in found[0].items()
        if limit is not None and all(each.get(name) == limit for each in found)
    }


def _curves(runs: Sequence[Result], series: Sequence[Series]) -> list[Section]:
    """Return a part for every curve that differs from all before."""
    found = {_json(curve): curve for run in runs for curve in run.curves["curves"]}
    return [
        Section(
            f"curve-{index}",
            _curve_heading(curve),
            "",
            curve_plots(curve, f"curve-{index}", _held_mhz(curve, runs, series)),
        )
        for index, curve in enumerate(found.values())
    ]


def _curve_heading(curve: Any) -> str:
    gpus = "" if curve["tensor_parallel"] == 1 else f"{curve['tensor_parallel']} "
    return (
        f"{curve['phase'].capitalize()} of {curve['model']} in {curve['engine']}, on "
        f"{gpus}{curve['gpu']} ({curve['calibration']})"
    )


def _held_mhz(
    curve: Any, runs: Sequence[Result], series: Sequence[Series]
) -> list[tuple[Series, float]]:
    """Return the clocks at which series run the phase of ``curve``, where its model serves."""
    return [
        (each, group["clocks"][curve["phase"]]["held_mhz"])
        for each in series
        for group in runs[each.run].summary["policies"][each.policy]["groups"]
        if (group["model"], group["engine"]) == (curve["model"], curve["engine"])
    ]


def _parts(results: Sequence[Result]) -> list[Part]:
    """Return the plans and sweeps that are there."""
    found = []
    for index, result in enumerate(results):
        for file, document in result.also.items():
            name = f"{Path(file).stem}-{index}"
            if file == "plan.json":
                found.append(plan_part(document, name, result.name))
            else:
                found.append(sweep_part(document, result.directory, name, result.name))
    return found


def _title(runs: Sequence[Result], parts: Sequence[Part], answers: Sequence[Answer]) -> Markup:
    """Return the page's first heading: the one answer there is, or how many."""
    if len(runs) > 1 or len(parts) > 1:
        return Markup("{} results compared").format(max(len(runs), len(parts)))
    if parts:
        return Markup("{}").format(parts[0].answer)
    return answers[0].headline


def _security_policy(scripts: Sequence[str]) -> str:
    """Return a policy that lets only these scripts run, and nothing be fetched."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _css(colours: dict[str, str]) -> Markup:
    return Markup(" ".join(f"--{name}: {colour};" for name, colour in colours.items()))


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _resource(name: str) -> str:
    return (resources.files("simulate.html") / "templates" / name).read_text(encoding="utf-8")


def _template() -> Any:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_resource("page.html"))
