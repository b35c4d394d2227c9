"""``calibrate run``: hardware, or a twin, becomes a log of measurements and a calibration."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from calibrate.bench import Engine
from calibrate.design import FEWEST_PER_SERIES
from calibrate.measure import MeasurePlan
from calibrate.steer import GEMM_RATIOS
from calibrate.sweep import MOST_PREFILL_TOKENS, Strategy, Sweep
from calibrate.window import SHORTEST_STEADY_S
from model.geometry import GEOMETRIES
from model.work import Phase
from phasewatt.console import note, out, print_json, progress
from phasewatt.errors import BadOption, Unwritable, UserError

if TYPE_CHECKING:
    from calibrate.campaign import Campaign, Told
    from calibrate.design import Design
    from calibrate.log import Log
    from calibrate.rig import Rig

POWERS = "1,4,8,16,32,64"
LENGTHS = "128,256,512,1024,2048,4096"


@click.command("run")
@click.option("--gpu", default="0", show_default=True, help="Index, UUID, or a twin: twin:h100.")
@click.option(
    "--models",
    default="llama-3.1-8b",
    show_default=True,
    help="Built-in shapes, folders, config.json files or owner/name on the hub; comma-separated.",
)
@click.option("--engines", default="cuda-graph,eager", show_default=True, help="Either or both.")
@click.option("--phases", default="prefill,decode", show_default=True, help="Either or both.")
@click.option("--batches", default=POWERS, show_default=True, help="Sequences in a step.")
@click.option("--prompts", default=LENGTHS, show_default=True, help="Tokens of each prompt.")
@click.option("--contexts", default=LENGTHS, show_default=True, help="Tokens cached per sequence.")
@click.option(
    "--prefill-tokens",
    type=click.IntRange(min=1),
    default=MOST_PREFILL_TOKENS,
    show_default=True,
    help="Most that one prefill step computes.",
)
@click.option(
    "--dtype", type=click.Choice(["bfloat16", "float16"]), default="bfloat16", show_default=True
)
@click.option(
    "--clocks",
    type=click.Choice([strategy.value for strategy in Strategy]),
    default="auto",
    show_default=True,
    help="How the SM clock is varied: locked, steered by load, or left alone.",
)
@click.option("--sm-mhz", default="", help="Clocks to lock; seven over the range by default.")
@click.option("--gemm-ratios", default="", help="Time of GEMMs over that of the step they steer.")
@click.option("--precision", default="2%", show_default=True, help="Half-width at which to stop.")
@click.option("--window", default="2.5s", show_default=True, help="Length of a repeat's window.")
@click.option("--settle", default="1s", show_default=True, help="What each repeat runs before it.")
@click.option("--warm-up", default="20s", show_default=True, help="What the first point runs.")
@click.option("--repeats", default="2:6", show_default=True, help="Fewest and most at a point.")
@click.option(
    "--fewest",
    type=click.IntRange(min=1),
    default=FEWEST_PER_SERIES,
    show_default=True,
    help="Points of each model, engine and phase, whatever the budget.",
)
@click.option("--budget", default="20m", show_default=True, help="Time to measure: 90s, 20m, 1h.")
@click.option("--seed", default=0, show_default=True, help="Of the order, and of a twin's noise.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the calibration here.")
@click.option(
    "--log",
    "log_path",
    type=click.Path(path_type=Path),
    help="Log of the measurements; beside the output by default. One of the same command resumes.",
)
@click.option("--dry-run", is_flag=True, help="Print plan and time estimate; measure nothing.")
@click.option("--force", is_flag=True, help="Measure although others use the GPU, or MIG is on.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, for machines.")
def command(
    gpu: str,
    models: str,
    engines: str,
    phases: str,
    batches: str,
    prompts: str,
    contexts: str,
    prefill_tokens: int,
    dtype: str,
    clocks: str,
    sm_mhz: str,
    gemm_ratios: str,
    precision: str,
    window: str,
    settle: str,
    warm_up: str,
    repeats: str,
    fewest: int,
    budget: str,
    seed: int,
    output: Path | None,
    log_path: Path | None,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Measure prefill and decode on a GPU and fit a calibration.

    Whatever happens, clocks are given back. A run that was stopped resumes: type it again.
    docs/calibrate.md says how a measurement is made.
    """
    from calibrate.campaign import Campaign, Pace
    from calibrate.rig import open_rig
    from calibrate.torchbench import geometry_of

    names = _words("--models", models)
    sweep = Sweep(
        models=names,
        engines=_choices("--engines", engines, Engine),
        phases=_choices("--phases", phases, Phase),
        batches=_numbers("--batches", batches),
        prompts=_numbers("--prompts", prompts),
        contexts=_numbers("--contexts", contexts),
        dtype=dtype,
        strategy=Strategy(clocks),
        sm_mhz=_numbers("--sm-mhz", sm_mhz) if sm_mhz else (),
        precision=_share("--precision", precision),
        seed=seed,
        shapes={name: geometry_of(name) for name in names if name not in GEOMETRIES},
        gemm_ratios=_ratios(gemm_ratios) if gemm_ratios else GEMM_RATIOS,
        prefill_tokens=prefill_tokens,
    )
    campaign = Campaign(
        sweep=sweep,
        budget_s=_duration_s("--budget", budget),
        plan=_plan(sweep.precision, window, settle, repeats),
        pace=Pace(warm_up_s=_duration_s("--warm-up", warm_up)),
        fewest=fewest,
        command=shlex.join(["calibrate", *click.get_current_context().obj]),
        force=force,
    )
    rig = open_rig(gpu, seed, sweep.shapes)
    _require_budget(rig, campaign)
    if dry_run:
        _print_plan(rig, campaign, as_json)
        return
    if output is None:
        raise BadOption("-o: expected a file to write the calibration to, or --dry-run")
    _require_place(output)
    _measure_and_fit(rig, campaign, log_path or output.with_suffix(".run.jsonl"), output, as_json)


def _require_budget(rig: "Rig", campaign: "Campaign") -> None:
    from calibrate.campaign import design_of
    from calibrate.strategy import expected_strategy

    strategy, _ = expected_strategy(rig.gpu, campaign.sweep.strategy)
    needed_s = design_of(rig, campaign, strategy).first_time_s
    if needed_s > campaign.budget_s:
        raise BadOption(
            f"--budget: found {_span(campaign.budget_s)}; the fewest points that can be fitted "
            f"take about {_span(needed_s)}: pass more, or fewer models, engines or phases"
        )


class Interrupted(UserError):
    """Ctrl-C; what was measured is in the log."""


def _measure_and_fit(
    rig: "Rig", campaign: "Campaign", path: Path, output: Path, as_json: bool
) -> None:
    from calibrate.campaign import run_campaign
    from calibrate.fit import fit_study
    from calibrate.show import describe, print_calibration
    from calibrate.study import study_of
    from model.calibration import dump
    from phasewatt.files import write_text

    try:
        with _telling(campaign.budget_s) as told:
            log = run_campaign(rig, campaign, path, told)
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted; run the same command again to resume from {path}"
        ) from None
    if not log.measured:
        raise UserError(f"{path}: not one point could be measured: {log.skipped[0].note}")
    note(f"{len(log.measured)} points in {_span(log.spent_s)}, all in {path}")
    calibration = fit_study(study_of(log))
    write_text(output, dump(calibration))
    if as_json:
        run = {
            "log": str(path),
            "strategy": log.header.strategy.value,
            "strategy_reason": log.header.strategy_reason,
            "points": len(log.measured),
            "skipped": [skip.note for skip in log.skipped],
            "spent_s": log.spent_s,
        }
        print_json({**describe(calibration), "run": run})
    else:
        print_calibration(out(), calibration)
        note(f"wrote {output}")


@contextmanager
def _telling(budget_s: float) -> Iterator["Told"]:
    """Yield what tells the user how far a campaign is: strategy, skipped points, time left."""
    with progress("measuring (s)", max(round(budget_s), 1)) as advance:
        shown = 0
        records = -1

        def told(log: "Log", _design: "Design") -> None:
            nonlocal shown, records
            if records < 0:
                note(f"clocks: {log.header.strategy} ({log.header.strategy_reason})")
                if log.records:
                    note(f"resuming after {len(log.measured)} points")
            elif log.records and log.records[-1].record == "skipped":
                note(log.records[-1].note)
            records = len(log.records)
            spent_s = min(round(log.spent_s), round(budget_s))
            advance(spent_s - shown)
            shown = spent_s

        yield told


def _print_plan(rig: "Rig", campaign: "Campaign", as_json: bool) -> None:
    from calibrate.campaign import design_of
    from calibrate.strategy import expected_strategy

    strategy, reason = expected_strategy(rig.gpu, campaign.sweep.strategy)
    design = design_of(rig, campaign, strategy)
    estimate_s = max(design.first_time_s, campaign.budget_s)
    if as_json:
        print_json(
            {
                "schema": "phasewatt-plan",
                "gpu": rig.identity.name,
                "kind": rig.identity.kind.value,
                "strategy": strategy.value,
                "strategy_reason": reason,
                "candidates": len(design.cells),
                "first": [str(cell) for cell in design.first],
                "first_time_s": design.first_time_s,
                "budget_s": campaign.budget_s,
                "estimated_time_s": estimate_s,
            }
        )
        return
    console = out()
    console.print(f"{rig.identity.name} ({rig.identity.kind})", markup=False)
    console.print(f"clocks: {strategy} ({reason})", markup=False)
    console.print(f"first {len(design.first)} of {len(design.cells)} candidates, in this order:")
    for cell in design.first:
        console.print(f"  {cell}", markup=False)
    console.print(
        f"estimated: {_span(design.first_time_s)} for these, {_span(estimate_s)} in all; what is "
        "left of the budget goes where curves are unsure"
    )


def _require_place(output: Path) -> None:
    """Refuse an output that cannot be written before anything is measured."""
    if output.is_dir():
        raise Unwritable(f"{output}: is a directory; expected a file to write")
    if not output.parent.is_dir():
        raise Unwritable(f"{output}: no such directory: {output.parent}")


Choice = TypeVar("Choice", bound=StrEnum)


def _words(option: str, text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(","))
    if not all(words):
        raise BadOption(f"{option}: found {text!r}; expected words between commas")
    return words


def _choices(option: str, text: str, kinds: type[Choice]) -> tuple[Choice, ...]:
    known = [kind.value for kind in kinds]
    for word in _words(option, text):
        if word not in known:
            raise BadOption(f"{option}: found {word!r}; expected {' or '.join(known)}")
    return tuple(kinds(word) for word in _words(option, text))


def _numbers(option: str, text: str) -> tuple[int, ...]:
    words = _words(option, text)
    for word in words:
        if not word.isdecimal():
            raise BadOption(f"{option}: found {word!r}; expected whole numbers between commas")
    return tuple(int(word) for word in words)


def _ratios(text: str) -> tuple[float, ...]:
    words = _words("--gemm-ratios", text)
    for word in words:
        if re.fullmatch(r"\d+(\.\d+)?", word) is None:
            raise BadOption(f"--gemm-ratios: found {word!r}; expected numbers between commas")
    return tuple(float(word) for word in words)


def _plan(precision: float, window: str, settle: str, repeats: str) -> MeasurePlan:
    window_s, settle_s = _duration_s("--window", window), _duration_s("--settle", settle)
    found = re.fullmatch(r"(\d+):(\d+)", repeats.strip())
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise BadOption(f"--repeats: found {repeats!r}; expected FEWEST:MOST, as in 2:6")
    if window_s + settle_s / 2 < SHORTEST_STEADY_S:
        raise BadOption(
            f"--window: found {window}; expected {SHORTEST_STEADY_S - settle_s / 2:g}s or more, "
            "of which a level part can be told"
        )
    return MeasurePlan(settle_s, window_s, precision, int(found[1]), int(found[2]))


_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _duration_s(option: str, text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if found is None or float(found[1]) == 0:
        raise BadOption(f"{option}: found {text!r}; expected a duration such as 90s, 20m or 1h")
    return float(found[1]) * _SECONDS[found[2]]


def _share(option: str, text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(%?)", text.strip())
    if found is None:
        raise BadOption(f"{option}: found {text!r}; expected a share such as 2% or 0.02")
    return float(found[1]) / (100 if found[2] else 1)


def _span(span_s: float) -> str:
    minutes, seconds = divmod(round(span_s), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
