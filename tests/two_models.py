"""Two models on the GPU of :mod:`tiny`: that one, and one that is slower and draws more."""

import copy
import json

import tiny

from model.calibration import Calibration, parse

SLOWER = 4
"""How much longer the huge model takes than the tiny one; it draws 30 W more in both phases."""

GROUPS = ("small=tiny:1", "large=huge:1")


def calibration() -> Calibration:
    """Curves of the models ``tiny`` and ``huge``."""
    written = tiny.document()
    for each in copy.deepcopy(written["curves"]):
        each["model"] = "huge"
        for name in each["time"]["coefficients"]:
            each["time"]["coefficients"][name] *= SLOWER
        each["power"]["coefficients"]["p0_w"] += 30.0
        written["curves"].append(each)
    return parse(json.dumps(written), "two.json")
