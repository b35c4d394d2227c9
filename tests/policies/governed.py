"""What a governor is made from, in tests: tiny curves, or curves drawn at random."""

import json

import numpy as np
import tiny

from model.calibration import Calibration, parse
from model.work import Phase, Work
from policies import Setting

TYPICAL = {
    Phase.PREFILL: Work.prefill([1.0], [1024.0]),
    Phase.DECODE: Work.decode([1.0], [1024.0]),
}


def setting(calibration: Calibration | None = None, max_slowdown: float = 0.1) -> Setting:
    known = tiny.calibration() if calibration is None else calibration
    curves = {phase: known.curves_of("tiny", phase) for phase in Phase}
    return Setting(known.gpu, curves, TYPICAL, max_slowdown)


def random_calibration(rng: np.random.Generator) -> Calibration:
    """Curves of the shapes that GPUs have, with an overlap, a knee and a power limit at random."""
    written = tiny.document()
    written["gpu"]["sm_mhz_step"] = float(rng.choice([15.0, 50.0, 250.0]))
    written["gpu"]["power_limit_w"] = float(rng.uniform(250, 500))
    for each in written["curves"]:
        scale = 1 / 1024 if each["phase"] == "prefill" else 1.0
        each["time"] = tiny.form(
            "p-norm",
            a_s=float(scale * rng.uniform(0, 1)),
            b_s=float(scale * rng.uniform(0.1, 1)),
            p=float(rng.uniform(1, 8)),
        )
        each["power"] = tiny.form(
            "voltage-knee",
            p0_w=float(rng.uniform(20, 100)),
            c_w=float(rng.uniform(20, 250)),
            knee=float(rng.uniform(0.4, 1.0)),
            slope=float(rng.uniform(0, 3)),
        )
    return parse(json.dumps(written), "random.json")
