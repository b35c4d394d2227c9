"""``calibrate predict``: time, power and energy of one step, with their intervals."""

import click

from phasewatt.console import out, print_json
from phasewatt.errors import BadOption

BEST = "best"
"""Asks for the clock of least energy."""


@click.command("predict")
@click.argument("calibration")
@click.option("--model", help="Name of the model; by default the calibration's first.")
@click.option("--engine", help="Name of the engine; by default the model's first.")
@click.option(
    "--phase", type=click.Choice(["prefill", "decode"]), required=True, help="Which phase."
)
@click.option("--batch", type=float, default=1, show_default=True, help="Sequences in the step.")
@click.option("--prompt", type=float, help="Tokens of each prompt (prefill).")
@click.option("--context", type=float, help="Tokens in the KV cache of each sequence (decode).")
@click.option(
    "--sm-mhz",
    default="stock",
    show_default=True,
    help="SM clock in MHz, stock for the untouched governor, or best for that of least energy.",
)
@click.option(
    "--beyond-measured",
    is_flag=True,
    help="Let best, and the power limit, choose clocks below the measured ones too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, for machines.")
def command(
    calibration: str,
    model: str | None,
    engine: str | None,
    phase: str,
    batch: float,
    prompt: float | None,
    context: float | None,
    sm_mhz: str,
    beyond_measured: bool,
    as_json: bool,
) -> None:
    """Predict one step from CALIBRATION (a file or a name).

    Intervals are 95% intervals of what a new measurement would show.
    """
    from calibrate.answer import describe, print_prediction
    from model.beyond import beyond_measured as reach_beyond
    from model.calibration import load
    from model.prediction import Step, best_step, predict
    from model.work import Phase

    loaded = load(calibration)
    if beyond_measured:
        loaded = reach_beyond(loaded)
    step = Step(
        model=loaded.models[0] if model is None else model,
        engine=engine,
        phase=Phase(phase),
        batch=batch,
        tokens=_tokens(phase, prompt, context),
        requested_mhz=_requested_mhz(sm_mhz),
    )
    optimum = None
    if sm_mhz == BEST:
        step, optimum = best_step(loaded, step)
    prediction = predict(loaded, step)
    if as_json:
        print_json(describe(loaded, prediction, optimum))
    else:
        print_prediction(out(), loaded, prediction, optimum)


def _tokens(phase: str, prompt: float | None, context: float | None) -> float:
    wanted, other = ("prompt", "context") if phase == "prefill" else ("context", "prompt")
    given = {"prompt": prompt, "context": context}
    if given[other] is not None:
        raise BadOption(f"--{other}: found with --phase {phase}; expected --{wanted}")
    tokens = given[wanted]
    if tokens is None:
        raise BadOption(f"--{wanted}: found nothing; expected tokens with --phase {phase}")
    return tokens


def _requested_mhz(text: str) -> float:
    from model.prediction import STOCK_MHZ

    if text in ("stock", BEST):
        return STOCK_MHZ
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise BadOption(f"--sm-mhz: found {text!r}; expected a clock in MHz, stock or best")
    return value
