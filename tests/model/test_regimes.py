"""Every step has the regime that its parts and its clock say; boundaries lie where it changes."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from structured_rows import REFERENCE_MHZ, coefficients

from model.activity import ACTIVITY_FORMS
from model.curves import Curves, Domain, Points
from model.fitted import Diagnostics, FitErrors, FittedForm
from model.forms import FORMS
from model.geometry import GEOMETRIES
from model.gpu import Gpu
from model.provenance import Kind, Origin
from model.regimes import (
    COMPUTE_ABOVE,
    LAUNCH_SHARE,
    MEMORY_BELOW,
    Regime,
    batch_boundaries,
    elasticity,
    length_boundaries,
    regimes,
)
from model.roofline import ROOFLINES, Roofline
from model.work import Phase, Work

GPU = Gpu("invented", 15.0, 700.0, 70.0, {}, sm_mhz_max=REFERENCE_MHZ)
DOMAIN = Domain((300.0, REFERENCE_MHZ), (1.0, 512.0), (16.0, 16384.0), (16.0, 16384.0))


def fitted(form, theta, constants):
    zero = tuple((0.0,) * len(theta) for _ in theta)
    return FittedForm(
        form.name,
        REFERENCE_MHZ,
        dict(zip(form.names, map(float, theta), strict=True)),
        zero,
        constants,
        0.01,
        20,
        FitErrors(1, 1, 0.0, 0.0, 0.0, {}),
        Diagnostics(None, None, None),
    )


def structured(phase, model="llama-3.1-8b", **changes):
    time = fitted(
        ROOFLINES[Roofline()],
        coefficients(ROOFLINES[Roofline()], **changes),
        GEOMETRIES[model].constants(),
    )
    power = fitted(ACTIVITY_FORMS[0], coefficients(ACTIVITY_FORMS[0], **changes), {})
    return curves_of(phase, time, power)


def curves_of(phase, time, power):
    return Curves(
        "llama-3.1-8b",
        "invented",
        phase,
        time,
        power,
        DOMAIN,
        Points((), (), (), (), (), ()),
        None,
        Origin(Kind.ASSUMED, "invented"),
    )


def test_a_step_of_mostly_launches_is_launch_bound():
    curves = structured(Phase.DECODE, launch_s=100e-6)
    work = Work.decode([1.0, 512.0], [128.0, 16384.0])
    launch_s = curves.parts(work, REFERENCE_MHZ).launch_s
    share = launch_s / curves.time_s(work, REFERENCE_MHZ)
    assert share[0] > LAUNCH_SHARE > share[1]
    found = regimes(curves, GPU, work, REFERENCE_MHZ)
    assert found[0] == Regime.LAUNCH_BOUND
    assert found[1] != Regime.LAUNCH_BOUND


def test_elasticity_sorts_memory_from_compute():
    memory = structured(Phase.DECODE, weight_clock_share=0.05, kv_clock_share=0.05)
    work = Work.decode([1.0], [512.0])
    assert elasticity(memory, work, 1500.0)[0] < MEMORY_BELOW
    assert regimes(memory, GPU, work, 1500.0)[0] == Regime.MEMORY_BOUND
    compute = structured(Phase.PREFILL, compute_dynamic_w=100.0)
    work = Work.prefill([4.0], [4096.0])
    assert elasticity(compute, work, 1500.0)[0] > COMPUTE_ABOVE
    assert regimes(compute, GPU, work, 1500.0)[0] == Regime.COMPUTE_BOUND


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.0), (1.0, 1.0)])
def test_elasticity_of_pure_memory_is_its_clock_share_at_the_top(share, expected):
    changes = {"weight_clock_share": share, "kv_clock_share": share, "launch_s": 0.0}
    curves = structured(Phase.DECODE, flops_per_s=1e17, overlap=1.0, **changes)
    found = elasticity(curves, Work.decode([1.0], [512.0]), 1700.0)
    assert found[0] == pytest.approx(expected, abs=2e-3)


def test_a_load_that_the_cap_slows_is_power_capped_and_one_below_it_is_not():
    curves = structured(Phase.PREFILL)
    work = Work.prefill([8.0], [4096.0])
    held = GPU.settle(REFERENCE_MHZ, curves, work)
    assert held[0] < REFERENCE_MHZ
    assert regimes(curves, GPU, work, REFERENCE_MHZ)[0] == Regime.POWER_CAPPED
    assert regimes(curves, GPU, work, float(held[0]) - 20)[0] != Regime.POWER_CAPPED


def test_a_load_that_no_clock_was_seen_above_is_capped_where_the_highest_would_draw_too_much():
    whole = structured(Phase.PREFILL)
    large, small = Work.prefill([8.0], [4096.0]), Work.prefill([1.0], [16.0])
    held = GPU.settle(REFERENCE_MHZ, whole, large)
    seen = replace(whole, domain=replace(DOMAIN, sm_mhz=(300.0, float(held[0]) - 20)))
    for work, expected in ((large, True), (small, False)):
        assert (regimes(seen, GPU, work, np.inf)[0] == Regime.POWER_CAPPED) == expected
        assert regimes(seen, GPU, work, 1000.0)[0] != Regime.POWER_CAPPED


def test_the_untouched_gpu_is_not_capped_merely_because_no_lock_was_asked():
    curves = structured(Phase.DECODE)
    work = Work.decode([1.0], [512.0])
    assert regimes(curves, GPU, work, np.inf)[0] == regimes(curves, GPU, work, REFERENCE_MHZ)[0]


@pytest.mark.parametrize("requested_mhz", [900.0, REFERENCE_MHZ])
def test_regimes_change_at_boundaries_and_nowhere_else(requested_mhz):
    prefill = structured(Phase.PREFILL, launch_s=3e-6)
    decode = structured(Phase.DECODE, weight_clock_share=0.1, kv_clock_share=0.1, launch_s=40e-6)
    for boundaries, at in (
        (
            length_boundaries(prefill, GPU, requested_mhz, 1),
            lambda n: regimes(prefill, GPU, Work.prefill([1.0], [n]), requested_mhz)[0],
        ),
        (
            batch_boundaries(decode, GPU, requested_mhz, 512),
            lambda n: regimes(decode, GPU, Work.decode([n], [512.0]), requested_mhz)[0],
        ),
    ):
        assert boundaries
        for boundary in boundaries:
            assert at(boundary.size * 0.999) == boundary.before
            assert at(boundary.size * 1.001) == boundary.after
        for one, two in pairwise(boundaries):
            assert one.after == two.before
            assert one.size < two.size


def test_a_domain_of_one_size_has_no_boundary():
    curves = structured(Phase.DECODE)
    single = replace(curves, domain=replace(DOMAIN, batch=(1.0, 1.0)))
    assert batch_boundaries(single, GPU, 1500.0, 512) == ()


def test_plain_forms_have_regimes_too():
    time = fitted(FORMS["a+b/f"], [0.009, 0.001], {})
    power = fitted(FORMS["linear"], [100.0, 300.0], {})
    curves = curves_of(Phase.DECODE, time, power)
    work = Work.decode([1.0, 8.0], [512.0, 512.0])
    assert curves.parts(work, 1500.0) is None
    assert list(regimes(curves, GPU, work, 1500.0)) == [Regime.MEMORY_BOUND] * 2
    # T = a + b/x loses b/x / T percent a percent.
    expected = (0.001 / 0.75) / (0.009 + 0.001 / 0.75)
    assert elasticity(curves, work, 1500.0) == pytest.approx(expected, rel=1e-6)


def test_regimes_of_many_steps_come_at_once():
    curves = structured(Phase.DECODE)
    work = Work.decode(np.ones(1000), np.linspace(16, 16384, 1000))
    assert regimes(curves, GPU, work, REFERENCE_MHZ).shape == (1000,)
