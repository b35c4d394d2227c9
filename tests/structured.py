"""A calibration whose curves are structured, so that mixed steps have a price; all invented.

A small transformer on one GPU with clocks of 500, 600 ... 2000 MHz, a limit that long prefills
meet, and coefficients that both phases share or not.
"""

import json
from typing import Any

import numpy as np
import tiny

from model.calibration import Calibration, parse
from model.geometry import Geometry
from model.roofline import ROOFLINES, Extra, Launch, Roofline

SHAPE = Geometry("tiny", 4, 512, 8, 2, 64, 1408, 32000, False)

RATES = {
    "launch_s": 4e-6,
    "memory_bytes_per_s": 3e10,
    "weight_bytes_per_s": 3e10,
    "kv_bytes_per_s": 2e10,
    "activation_bytes_per_s": 8e10,
    "walked_tokens_per_s": 5e6,
    "flops_per_s": 4e12,
    "gemm_flops_per_s": 4e12,
    "attention_flops_per_s": 1e12,
    "tile_tokens": 24.0,
    "prompts_per_s": 4e5,
    "launch_clock_share": 0.4,
    "memory_clock_share": 0.3,
    "weight_clock_share": 0.3,
    "kv_clock_share": 0.5,
    "activation_clock_share": 0.6,
    "compute_clock_share": 0.9,
    "overlap": 2.5,
}

POWERS = {
    "voltage_slope": 0.6,
    "knee": 0.5,
    "static_w": 80.0,
    "memory_static_w": 40.0,
    "memory_dynamic_w": 120.0,
    "compute_dynamic_w": 260.0,
}

PLAIN = Roofline()


def calibration(
    terms: Roofline = PLAIN,
    decode_faster: float = 1.0,
    limit_w: float = 340.0,
    memory_bytes: float | None = None,
    kv_free: bool = False,
    **powers: float,
) -> Calibration:
    """The calibration; decode's rates are ``decode_faster`` times those of prefill.

    With ``kv_free``, contexts cost nothing, so that decode steps of one batch all cost the same.
    """
    written = tiny.document()
    written["gpu"] |= {"power_limit_w": limit_w, "sm_mhz_step": 100.0}
    if memory_bytes is not None:
        written["gpu"]["memory_bytes"] = memory_bytes
    written["geometries"] = [vars(SHAPE)]
    for each in written["curves"]:
        faster = decode_faster if each["phase"] == "decode" else 1.0
        found: dict[str, Any] = {}
        for coefficient in ROOFLINES[terms].coefficients:
            value = RATES[coefficient.name]
            found[coefficient.name] = value * faster if coefficient.reciprocal else value
        free = {"kv_bytes_per_token": 0.0, "attention_flops_per_pair": 0.0} if kv_free else {}
        each["time"] = tiny.form(terms.name, **found) | {"constants": SHAPE.constants() | free}
        each["power"] = tiny.form("activity", **(POWERS | powers))
        each["domain"] |= {"batch": [1.0, 64.0], "sm_mhz": [500.0, 2000.0]}
    return parse(json.dumps(written), "structured.json")


def random_terms(rng: np.random.Generator) -> Roofline:
    """Any structure of a roofline."""
    extras = frozenset(extra for extra in Extra if rng.integers(2))
    launch = list(Launch)[rng.integers(len(Launch))]
    one, overlap, streams = (bool(rng.integers(2)) for _ in range(3))
    return Roofline(launch, one, overlap, extras, streams)
