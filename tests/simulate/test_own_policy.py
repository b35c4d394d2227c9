"""A policy in a file of the user's own, all the way through a replay."""

import numpy as np
import pytest
import tiny

from phasewatt.errors import BadPolicy
from simulate import serving
from simulate.compare import compare
from simulate.scenario import Scenario

BY_LENGTH = '''
import numpy as np

class ByLength:
    """A clock for each prompt length: short prompts run slowly."""

    name, cap_w, idle_mhz = "by-length", None, 1250.0

    def __init__(self, argument, setting):
        self.decode_mhz = float(argument)

    def request_mhz(self, phase, work):
        if phase == "decode":
            return self.decode_mhz
        return np.clip(np.round(work.prefill_tokens), 1000.0, 1800.0)
'''


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(BY_LENGTH)
    return f"{path}:ByLength"


def test_every_query_runs_at_its_own_clock(policy):
    trace = tiny.trace([0, 100, 200], [500, 1300, 2048], [5, 5, 5])
    scenario = Scenario((), f"{policy}:1500", replicas=1, switch_latency_s=0.25, draws=0)
    outcome = compare(trace, tiny.calibration(), scenario).results[0].outcome
    clocks = (1000.0, 1300.0, 1800.0)
    prefills_s = [tiny.prefill_s(p, mhz) for p, mhz in zip((500, 1300, 2048), clocks, strict=True)]
    # Each replica rests at 1250 MHz, so each prefill and each decode changes the clock.
    assert outcome.ttft_s == pytest.approx([0.25 + s for s in prefills_s])
    assert outcome.e2e_s == pytest.approx([0.5 + s + tiny.decode_s(4, 1500) for s in prefills_s])
    assert outcome.replayed.prefill_j == pytest.approx(
        [s * tiny.prefill_w(mhz) for s, mhz in zip(prefills_s, clocks, strict=True)]
    )


def test_forced_clocks_cost_the_same_priced_together_or_one_by_one(policy, monkeypatch):
    trace = tiny.random_trace(np.random.default_rng(8), 150, 8.0)
    scenario = Scenario((), f"{policy}:1100", replicas=2, min_dwell_s=30.0, draws=0)

    def replayed():
        return compare(trace, tiny.calibration(), scenario).results[0].outcome.replayed

    few = replayed()
    monkeypatch.setattr(serving, "_COLUMNS_AT_MOST", 0)
    none = replayed()
    # The dwell does force clocks that nobody asked for.
    assert len(set(few.intervals.sm_mhz[few.intervals.state == 3])) > 20
    for column in ("start_s", "finish_s", "prefill_j", "decode_j", "switching_j"):
        assert getattr(few, column) == pytest.approx(getattr(none, column), rel=1e-12)


@pytest.mark.parametrize("clock", ["nan", "-5", "0"])
def test_a_clock_that_is_none_is_refused_in_one_line(policy, clock):
    scenario = Scenario((), f"{policy}:{clock}", replicas=1, draws=0)
    with pytest.raises(BadPolicy) as error:
        compare(tiny.trace([0], [64], [4]), tiny.calibration(), scenario)
    assert str(error.value) == (
        f"policy by-length: asked for a decode clock of {float(clock)!r}; expected MHz above 0, "
        "or inf for no lock, one for each step"
    )
