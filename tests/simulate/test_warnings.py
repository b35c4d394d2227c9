"""What is extrapolated, assumed or saturated is said; what is not, is not."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import tiny

from model.calibration import parse
from phasewatt.errors import BadOption
from simulate.compare import compare
from simulate.scenario import Arrivals, Scenario
from traces import window

QUIET = Scenario((), "fixed:1500", replicas=1, switch_latency_s=0.05, draws=0)
CALM = tiny.trace([0, 100], [64, 64], [4, 4])


def warnings(trace, scenario=QUIET, calibration=None):
    return list(compare(trace, calibration or tiny.calibration(), scenario).warnings)


def changed(change):
    written = tiny.document()
    change(written)
    return parse(json.dumps(written), "changed.json")


def measured_idle(written):
    written["gpu"]["origins"]["idle_power_w"] = {"kind": "measured", "source": "a meter"}


def test_nothing_to_say():
    assert warnings(CALM, calibration=changed(measured_idle)) == []


def test_prompts_and_contexts_beyond_the_measured_ones():
    trace = tiny.trace([0, 100, 200, 300], [4096, 4097, 8000, 64], [1, 1, 200, 4])
    assert warnings(trace, calibration=changed(measured_idle)) == [
        "extrapolated: 50% of prompts lie outside the 1 to 4,096 tokens at which prefill of tiny "
        "was measured",
        "extrapolated: 50% of decodes reach contexts beyond the 1 to 8,192 tokens at which tiny "
        "was measured",
    ]


def test_prompts_alone_do_not_decode():
    trace = tiny.trace([0, 100], [4000, 4000], [1, 0])
    assert warnings(trace, calibration=changed(measured_idle)) == []


def test_idle_power():
    made_up = "assumed: idle power of 50 W (made up to be worked out by hand)"
    assert warnings(CALM) == [made_up]
    assert warnings(CALM, replace(QUIET, idle_power_w=33.0)) == [
        "assumed: idle power of 33 W, as given"
    ]
    unknown = changed(lambda written: written["gpu"].update(idle_power_w=None))
    with pytest.raises(BadOption) as error:
        warnings(CALM, calibration=unknown)
    assert str(error.value) == (
        "the calibration holds no idle power for Tiny GPU: pass --idle-power-w WATTS"
    )
    assert warnings(CALM, replace(QUIET, idle_power_w=33.0), unknown)


def test_the_switch_latency_is_assumed_unless_given_or_unused():
    calibration = changed(measured_idle)
    assumed = replace(QUIET, baseline="min-energy", switch_latency_s=0.02)
    assert warnings(CALM, assumed, calibration) == [
        "assumed: a clock switch stalls its replica for 20 ms (--switch-latency)"
    ]
    assert warnings(CALM, replace(assumed, switch_latency_s=0.03), calibration) == []
    assert warnings(CALM, replace(assumed, baseline="fixed:1500"), calibration) == []


def test_a_twin_is_named():
    def twin(written):
        measured_idle(written)
        written["provenance"]["kind"] = "twin"

    assert warnings(CALM, calibration=changed(twin)) == [
        "the calibration was measured on a simulated GPU (twin), not on hardware"
    ]


def test_a_saturated_fleet():
    calibration = changed(measured_idle)
    rush = tiny.trace(np.arange(200) * 4.0, [1024] * 200, [9] * 200)
    (line,) = warnings(rush, calibration=calibration)
    assert line.startswith("fixed:1500: the fleet is saturated (")
    assert line.endswith("its latencies depend on the length of the trace; add replicas")
    assert warnings(rush, replace(QUIET, replicas=5), calibration) == []
    assert warnings(rush, replace(QUIET, arrivals=Arrivals.OFFLINE), calibration) == []


def test_rows_that_were_skipped():
    source = replace(CALM.source, skipped=(("row: expected 3 fields as in the header", 2),))
    assert warnings(replace(CALM, source=source), calibration=changed(measured_idle)) == [
        "trace: 2 broken rows were skipped"
    ]


def test_a_long_time_before_the_first_request():
    calibration = changed(measured_idle)
    late = tiny.trace([86400, 86500], [64, 64], [4, 4])
    assert warnings(late, calibration=calibration) == [
        "the first request arrives at 86,400 s and the fleet idles until then: leave that out "
        "with --window"
    ]
    assert warnings(window(late, 86400, math.inf), calibration=calibration) == []
    assert warnings(late, replace(QUIET, arrivals=Arrivals.OFFLINE), calibration) == []
