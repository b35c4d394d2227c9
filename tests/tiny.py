"""A calibration small enough to work out by hand, and traces to go with it.

One GPU with clocks of 1000, 1250 ... 2000 MHz, a limit of 320 W and 50 W at idle. With x the clock
over 2000 MHz, and the lengths of a query in tokens:

    prefill   time  prompt (1 + 3 / x) / 1024 s     power  50 + 300 x W
    decode    time  (3 + 1 / x) / 8 s a step        power  40 + 160 x W
"""

import json
from typing import Any

import numpy as np

from model.calibration import Calibration, parse
from traces import Source, Trace

MADE_UP = "made up to be worked out by hand"


def prefill_s(prompt: float, mhz: float) -> float:
    return prompt * (1 + 3 / (mhz / 2000)) / 1024


def prefill_w(mhz: float) -> float:
    return 50 + 300 * mhz / 2000


def decode_s(steps: float, mhz: float) -> float:
    return steps * (3 + 1 / (mhz / 2000)) / 8


def decode_w(mhz: float) -> float:
    return 40 + 160 * mhz / 2000


def form(name: str, **coefficients: float) -> dict[str, Any]:
    """A fitted form as in a calibration file, exact: its coefficients have no variance."""
    size = len(coefficients)
    return {
        "form": name,
        "reference_mhz": 2000.0,
        "coefficients": coefficients,
        "covariance": [[0.0] * size for _ in range(size)],
        "constants": {},
        "residual_sd": 0.0,
        "degrees_of_freedom": 3,
        "errors": {
            "points": 5,
            "clocks": 5,
            "fit_mape": 0.0,
            "worst": 0.0,
            "holdout_mape": 0.0,
            "candidates": {name: 0.0},
        },
        "diagnostics": {
            "durbin_watson": None,
            "normality_p": None,
            "constant_variance_p": None,
        },
    }


def curves(phase: str, time: dict[str, Any], power: dict[str, Any]) -> dict[str, Any]:
    """One phase's curves as in a calibration file."""
    prefill = phase == "prefill"
    return {
        "model": "tiny",
        "engine": "hand",
        "phase": phase,
        "time": time,
        "power": power,
        "domain": {
            "sm_mhz": [1000.0, 2000.0],
            "batch": [1.0, 1.0],
            "prompt_tokens": [1.0, 4096.0] if prefill else None,
            "context_tokens": None if prefill else [1.0, 8192.0],
        },
        "points": {
            "sm_mhz": [1000.0],
            "batch": [1.0],
            "prompt_tokens": [1024.0],
            "context_tokens": [0.0 if prefill else 1024.0],
            "time_s": [1.0],
            "power_w": [1.0],
        },
        "governor_limit_w": None,
        "origin": _made_up(),
    }


def document() -> dict[str, Any]:
    """The calibration as its file holds it."""
    return {
        "schema": "phasewatt-calibration",
        "schema_version": 1,
        "name": "tiny",
        "gpu": {
            "name": "Tiny GPU",
            "sm_mhz_step": 250.0,
            "power_limit_w": 320.0,
            "idle_power_w": 50.0,
            "origins": {"power_limit_w": _made_up(), "idle_power_w": _made_up()},
        },
        "curves": [
            curves(
                "prefill",
                form("a+b/f", a_s=1 / 1024, b_s=3 / 1024),
                form("linear", p0_w=50.0, c_w=300.0),
            ),
            curves(
                "decode",
                form("a+b/f", a_s=3 / 8, b_s=1 / 8),
                form("linear", p0_w=40.0, c_w=160.0),
            ),
        ],
        "provenance": {
            "kind": "assumed",
            "source": MADE_UP,
            "method": "none",
            "date": "2026-11-01",
            "licence": "Apache-2.0",
            "software": {},
            "command": "none",
            "notes": [],
        },
    }


def calibration() -> Calibration:
    """The calibration, read from its file's text."""
    return parse(json.dumps(document()), "tiny.json")


def uncertain() -> Calibration:
    """The same with a covariance, as a fit to noisy points would leave."""
    written = document()
    for each in written["curves"]:
        for fitted in (each["time"], each["power"]):
            values = list(fitted["coefficients"].values())
            fitted["covariance"] = np.diag(np.square(np.multiply(values, 0.02))).tolist()
            fitted["residual_sd"] = 0.01
    return parse(json.dumps(written), "uncertain.json")


def random_calibration(rng: np.random.Generator) -> Calibration:
    """Curves of the shapes that GPUs have, with an overlap, a knee and a power limit at random."""
    written = document()
    written["gpu"]["sm_mhz_step"] = float(rng.choice([15.0, 50.0, 250.0]))
    written["gpu"]["power_limit_w"] = float(rng.uniform(250, 500))
    for each in written["curves"]:
        scale = 1 / 1024 if each["phase"] == "prefill" else 1.0
        each["time"] = form(
            "p-norm",
            a_s=float(scale * rng.uniform(0, 1)),
            b_s=float(scale * rng.uniform(0.1, 1)),
            p=float(rng.uniform(1, 8)),
        )
        each["power"] = form(
            "voltage-knee",
            p0_w=float(rng.uniform(20, 100)),
            c_w=float(rng.uniform(20, 250)),
            knee=float(rng.uniform(0.4, 1.0)),
            slope=float(rng.uniform(0, 3)),
        )
    return parse(json.dumps(written), "random.json")


def trace(arrival_s: Any, prompt_tokens: Any, output_tokens: Any) -> Trace:
    """A trace of the given columns."""
    return Trace(
        name="tiny",
        arrival_s=np.asarray(arrival_s, dtype=np.float64),
        prompt_tokens=np.asarray(prompt_tokens, dtype=np.int64),
        output_tokens=np.asarray(output_tokens, dtype=np.int64),
        source=Source("made up", "Apache-2.0", "synthetic"),
    )


def random_trace(rng: np.random.Generator, n: int, mean_gap_s: float) -> Trace:
    """A trace of ``n`` queries with exponential gaps and lengths of up to 2048 and 64 tokens."""
    return trace(
        np.cumsum(rng.exponential(mean_gap_s, n)),
        rng.integers(1, 2049, n),
        rng.integers(0, 65, n),
    )


def _made_up() -> dict[str, str]:
    return {"kind": "assumed", "source": MADE_UP}
