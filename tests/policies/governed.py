"""What a governor is made from, in tests."""

import tiny

from model.calibration import Calibration
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
