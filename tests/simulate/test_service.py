"""What serving one query costs is the sum over its steps, each at its own context."""

import json

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from model import forms
from model.calibration import parse
from model.forms import Form
from model.shape import Coefficient
from model.work import Phase
from phasewatt.errors import OutOfRange
from policies import PhaseClocks
from simulate.service import Lengths, serve_alone

CLOCK = 1500.0
AT_CLOCK = PhaseClocks("test", dict.fromkeys(Phase, CLOCK))
FREE = (Coefficient("a", "s", 0, np.inf, ""), Coefficient("b", "s", 0, np.inf, ""))
GROWING_TIME = Form(
    "growing-time",
    "T = (a + b context / 1024) / x",
    FREE,
    lambda c, at: (c[0] + c[1] * at.work.context_tokens / 1024) / at.clock,
    lambda target, at: [[1.0, 1.0]],
    varies_with_work=True,
)
GROWING_POWER = Form(
    "growing-power",
    "P = (a + b context / 1024) x",
    FREE,
    lambda c, at: (c[0] + c[1] * at.work.context_tokens / 1024) * at.clock,
    lambda target, at: [[1.0, 1.0]],
    varies_with_work=True,
)


@pytest.fixture(scope="module")
def growing():
    """The tiny calibration with decode steps that slow down and draw more as contexts grow."""
    with pytest.MonkeyPatch.context() as patch:
        for form in (GROWING_TIME, GROWING_POWER):
            patch.setitem(forms.FORMS, form.name, form)
        written = tiny.document()
        decode = written["curves"][1]
        decode["time"] = tiny.form("growing-time", a=0.25, b=0.5)
        decode["power"] = tiny.form("growing-power", a=100.0, b=64.0)
        yield parse(json.dumps(written), "growing.json")


def cost(calibration, prompts, outputs, governor=AT_CLOCK):
    curves = {phase: calibration.curves_of("tiny", phase) for phase in Phase}
    lengths = Lengths(np.array(prompts), np.array(outputs))
    return serve_alone(lengths, curves, calibration.gpu, governor)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 4096), st.integers(0, 400)), min_size=1, max_size=9))
def test_flat_curves(lengths):
    prompts, outputs = zip(*lengths, strict=True)
    service = cost(tiny.calibration(), prompts, outputs)
    prefill, decode = service[Phase.PREFILL], service[Phase.DECODE]
    steps = [max(output - 1, 0) for output in outputs]
    assert prefill.time_s == pytest.approx([tiny.prefill_s(p, CLOCK) for p in prompts])
    assert decode.time_s == pytest.approx([tiny.decode_s(m, CLOCK) for m in steps])
    assert prefill.power_w.tolist() == [tiny.prefill_w(CLOCK)] * len(lengths)
    assert decode.power_w == pytest.approx([tiny.decode_w(CLOCK) if m else 0.0 for m in steps])
    assert decode.sm_mhz == pytest.approx([CLOCK if m else 0.0 for m in steps])
    for phase in service.values():
        assert phase.requested_mhz.tolist() == [CLOCK] * len(lengths)


def test_curves_that_grow_with_context_are_summed_over_every_step(growing):
    prompts, outputs = [1, 1000, 4000, 512], [2, 500, 500, 1]
    decode = cost(growing, prompts, outputs)[Phase.DECODE]
    x = CLOCK / 2000
    for query, (prompt, output) in enumerate(zip(prompts, outputs, strict=True)):
        time_s = energy_j = 0.0
        for context in range(prompt + 1, prompt + output):
            step_s = (0.25 + 0.5 * context / 1024) / x
            time_s += step_s
            energy_j += step_s * (100 + 64 * context / 1024) * x
        assert decode.time_s[query] == pytest.approx(time_s, rel=1e-12)
        # Energy is quadratic in the context: a sum and an integral differ by 1/12 a step.
        assert decode.time_s[query] * decode.power_w[query] == pytest.approx(energy_j, rel=1e-6)


def test_a_power_limit_lowers_the_clock_step_by_step(growing):
    # The limit of 320 W binds at 2000 MHz from a context of 3520 on, half way through this decode:
    # four nodes are not exact over such a kink.
    asked = PhaseClocks("test", dict.fromkeys(Phase, float("inf")))
    prompt, output = 2520, 2001
    decode = cost(growing, [prompt], [output], asked)[Phase.DECODE]
    time_s = energy_j = clock_s = 0.0
    for context in range(prompt + 1, prompt + output):
        dynamic_w = 100 + 64 * context / 1024
        x = min(1.0, 320 / dynamic_w)
        step_s = (0.25 + 0.5 * context / 1024) / x
        time_s += step_s
        energy_j += step_s * dynamic_w * x
        clock_s += step_s * 2000 * x
    assert decode.time_s[0] == pytest.approx(time_s, rel=5e-3)
    assert decode.power_w[0] == pytest.approx(energy_j / time_s, rel=5e-3)
    assert decode.sm_mhz[0] == pytest.approx(clock_s / time_s, rel=5e-3)
    assert np.isinf(decode.requested_mhz[0])


def test_batch_one_must_have_been_measured():
    written = tiny.document()
    written["curves"][1]["domain"]["batch"] = [8.0, 64.0]
    with pytest.raises(OutOfRange) as error:
        cost(parse(json.dumps(written), "batched.json"), [64], [4])
    assert str(error.value) == (
        "decode of tiny was not measured at batch 1: expected batch 8 to 64"
    )


def test_a_typical_step_has_the_median_lengths():
    typical = Lengths(np.array([10, 20, 90]), np.array([0, 5, 11])).typical()
    assert typical[Phase.PREFILL].prefill_tokens.tolist() == [20.0]
    # Four steps after a prompt of 20 tokens run at contexts of 21 to 24.
    assert typical[Phase.DECODE].context_tokens.tolist() == [22.5]
