"""From the log of a campaign to what a calibration is fitted from.

In: a log. Out: a :class:`calibrate.measurements.Study`: points filed under the clock that was
achieved, steps that GEMMs steered with the power that is their own, and what a reader must know.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calibrate.gpu import Kind as GpuKind
from calibrate.heat import Leakage, leakage
from calibrate.log import BadLog, Header, Log, Measured, read_log
from calibrate.measure import Z_95, Measurement
from calibrate.measurements import Measurements, Study
from calibrate.steer import GIVE_UP, Mixtures, StepPowers, step_powers
from calibrate.sweep import Strategy
from model.gpu import Gpu
from model.provenance import Kind, Origin, Provenance
from model.work import Array

SM_MHZ_STEP = 15.0
"""Distance between the SM clocks of NVIDIA GPUs from Pascal to Blackwell, if none are listed."""


def study_of_log(path: Path) -> Study:
    """Return the study that the log in ``path`` holds so far.

    Raises:
        BadLog: it is no log, is broken, or holds no measurement yet.
    """
    log = read_log(path)
    if not log.measured:
        raise BadLog(f"{path}: holds no measured point yet; run the same command again to resume")
    return study_of(log)


def study_of(log: Log) -> Study:
    """Return the study of a log that holds a measurement."""
    records, header = log.measured, log.header
    limit_w = header.power_limit.enforced_w
    if math.isnan(limit_w):
        limit_w = max(record.measurement.power_w.value for record in records)
    warmth = leakage([record.measurement for record in records], limit_w)
    powers = powers_of(records, warmth, limit_w)
    return Study(
        name=header.gpu.name,
        gpu=_gpu(log, limit_w),
        provenance=_provenance(log, warmth, powers),
        measurements=_columns(records, powers),
        geometries=header.sweep.shapes,
    )


def powers_of(records: tuple[Measured, ...], warmth: Leakage, limit_w: float) -> StepPowers:
    """Return the power of every record's step alone, at one temperature and its achieved clock."""
    points = list(dict.fromkeys(record.cell.point for record in records))
    found = [record.measurement for record in records]
    power_w, power_error_w = warmth.at_reference(
        _array([m.power_w.value for m in found]),
        _array([m.power_w.error for m in found]),
        _array([m.temperature_c for m in found]),
    )
    mixtures = Mixtures(
        step=np.array([points.index(record.cell.point) for record in records], dtype=np.int64),
        step_time_s=_array([m.time_s.value for m in found]),
        gemm_time_s=_array([m.gemm_time_s.value for m in found]),
        sm_mhz=_array([m.sm_mhz for m in found]),
        power_w=power_w,
        power_error_w=power_error_w,
    )
    return step_powers(mixtures, limit_w)


def _columns(records: tuple[Measured, ...], powers: StepPowers) -> Measurements:
    points = [record.cell.point for record in records]
    found = [record.measurement for record in records]
    return Measurements(
        model=np.array([point.model for point in points]),
        engine=np.array([point.engine.value for point in points]),
        phase=np.array([point.phase.value for point in points]),
        dtype=np.array([point.dtype for point in points]),
        sm_mhz=_array([m.sm_mhz for m in found]),
        mem_mhz=_array([m.memory_mhz for m in found]),
        batch=_array([point.batch for point in points]),
        prompt_tokens=_array([point.prompt_tokens for point in points]),
        context_tokens=_array([point.context_tokens for point in points]),
        time_s=_array([m.time_s.value for m in found]),
        power_w=powers.power_w,
        time_error=_time_errors(found),
        power_error=_error_in_a_fit(powers),
        stock=np.array([r.cell.sm_mhz is None and r.cell.gemm_ratio == 0 for r in records]),
    )


_SHARED_FREEDOM = 4.0
"""Degrees of freedom with which the scatter of all points speaks for the scatter of one."""


def _time_errors(found: list[Measurement]) -> Array:
    """Return relative standard errors of times; the scatter of all points speaks for each.

    Two windows of a point say little about how far a third would lie from them.
    """
    counts = _array([len(m.windows) for m in found])
    own = _array([float(np.var([w.time_s / m.time_s.value for w in m.windows])) for m in found])
    squares = counts * own
    freedom = counts - 1
    shared = squares.sum() / max(freedom.sum(), 1.0)
    variance = (squares + _SHARED_FREEDOM * shared) / (freedom + _SHARED_FREEDOM)
    told = _array([m.time_s.error / m.time_s.value for m in found])
    within = np.where(freedom > 0, 0.0, told)
    return np.asarray(np.maximum(np.sqrt(variance / counts), within))


def _error_in_a_fit(powers: StepPowers) -> Array:
    """Return relative errors of power as a fit that takes rows for independent must see them.

    Steered steps share the error of the GEMM's power. Averaging over n of them does not lessen it,
    so each carries it sqrt(n) times.
    """
    told = np.isfinite(powers.power_w)
    sharing = max(int(np.sum(told & (powers.shared_error > 0))), 1)
    widened = powers.power_error**2 + (sharing - 1) * powers.shared_error**2
    return np.where(told, np.sqrt(np.where(told, widened, 0.0)), np.nan)


def _gpu(log: Log, limit_w: float) -> Gpu:
    header, kind = log.header, _kind(log.header)
    told = "NVML, the limit in force during the campaign"
    seen = "highest power seen; the driver tells no limit"
    limit_told = not math.isnan(header.power_limit.enforced_w)
    steps = np.diff(header.clocks.sm_mhz)
    origins = {
        "power_limit_w": Origin(kind, told) if limit_told else Origin(Kind.ASSUMED, seen),
        "sm_mhz_step": Origin(kind, "NVML, the clocks that the driver lists")
        if steps.size
        else Origin(Kind.ASSUMED, "NVIDIA GPUs from Pascal to Blackwell step so"),
    }
    idle_w = None
    if header.gpu.memory_bytes:
        origins["memory_bytes"] = Origin(kind, "NVML, size of the device memory")
    if header.clocks.sm_mhz:
        origins["sm_mhz_max"] = origins["sm_mhz_step"]
    if log.idle:
        idle_w = float(np.mean([record.window.power_w for record in log.idle]))
        origins["idle_power_w"] = Origin(
            kind, f"mean of {len(log.idle)} windows with a model loaded and nothing to do"
        )
    return Gpu(
        name=header.gpu.name,
        sm_mhz_step=float(np.median(steps)) if steps.size else SM_MHZ_STEP,
        power_limit_w=limit_w,
        idle_power_w=idle_w,
        origins=origins,
        sm_mhz_max=float(header.clocks.sm_mhz[-1]) if header.clocks.sm_mhz else None,
        memory_bytes=float(header.gpu.memory_bytes) or None,
    )


def _provenance(log: Log, warmth: Leakage, powers: StepPowers) -> Provenance:
    header = log.header
    return Provenance(
        kind=_kind(header),
        source=f"calibrate run on {header.gpu.name}, {header.gpu.uuid}",
        method=f"clocks: {header.strategy} ({header.strategy_reason}); energy from counter edges "
        f"where there is a counter; {len(log.measured)} points in random order, each repeated to "
        f"a half-width of {header.sweep.precision:.1%}; power told at {warmth.reference_c:.0f} C, "
        f"by {warmth.w_per_k:.2f} +- {1.96 * warmth.error_w_per_k:.2f} W/K",
        date=header.date,
        licence="not stated: the figures are those of whoever ran the command",
        software={"driver": header.gpu.driver, **log.software},
        command=header.command,
        notes=_notes(log, powers),
    )


def _kind(header: Header) -> Kind:
    return Kind.TWIN if header.gpu.kind is GpuKind.TWIN else Kind.MEASURED


def _notes(log: Log, powers: StepPowers) -> tuple[str, ...]:
    """Return what somebody who reads the figures must know, one sentence each."""
    found = [record.measurement for record in log.measured]
    notes = []
    if log.header.gpu.kind is GpuKind.TWIN:
        notes.append("a simulated GPU with an invented truth: no figure here describes hardware")
    verdicts = [m.clock for m in found if m.clock is not None and not m.clock.held]
    for reason in sorted({verdict.reason for verdict in verdicts}):
        count = sum(verdict.reason == reason for verdict in verdicts)
        notes.append(
            f"{count} of {len(found)} points did not hold the clock that was locked ({reason}) and "
            "are filed under the achieved clock"
        )
    sources = {m.energy_source for m in found}
    if len(sources) > 1 or any(source != "energy counter" for source in sources):
        notes.append(f"energy comes from {' and '.join(sorted(sources))}")
    unsteady = sum(not m.steady for m in found)
    if unsteady:
        notes.append(f"{unsteady} of {len(found)} points never became steady")
    precision = log.header.sweep.precision
    wide = sum(
        Z_95 * max(m.time_s.error / m.time_s.value, m.power_w.error / m.power_w.value) > precision
        for m in found
    )
    if wide:
        notes.append(f"{wide} of {len(found)} points stayed above the precision asked for")
    if log.header.strategy is Strategy.STEER:
        silent = int(np.isnan(powers.power_w).sum())
        notes.append(
            "power of steered steps follows from the energy balance of mixtures with GEMMs "
            f"(docs/steering.md); {silent} of {len(found)} points tell time only, as their power "
            f"is unsure by more than {GIVE_UP:.0%}"
        )
    too_large = sum(record.cause == "memory" for record in log.skipped)
    if too_large:
        notes.append(f"{too_large} points did not fit into the GPU's memory")
    return tuple(notes)


def _array(values: Sequence[float]) -> Array:
    return np.array(values, dtype=np.float64)
