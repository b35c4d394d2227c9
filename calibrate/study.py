"""From the logs of campaigns to what a calibration is fitted from.

In: a log, or several of one kind of GPU. Out: a :class:`calibrate.measurements.Study`: points filed
under the clock that was achieved, steps that GEMMs steered with the power that is their own, and
what a reader must know.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibrate.gpu import Kind as GpuKind
from calibrate.heat import Leakage, leakage
from calibrate.hosted import disturbances, is_launched, told
from calibrate.log import BadLog, Header, Log, Measured, read_log
from calibrate.measure import Z_95, Measurement
from calibrate.measurements import Measurements, Study
from calibrate.steer import GIVE_UP, Mixtures, StepPowers, step_powers
from calibrate.sweep import Strategy
from model.gpu import Gpu
from model.host import HostPower
from model.provenance import Kind, Origin, Provenance
from model.work import Array

SM_MHZ_STEP = 15.0
"""Distance between the SM clocks of NVIDIA GPUs from Pascal to Blackwell, if none are listed."""


def study_of_logs(paths: Sequence[Path]) -> Study:
    """Return the study that the logs in ``paths`` hold so far, all of one kind of GPU.

    Raises:
        BadLog: one is no log, is broken, holds no measurement yet, or is of another kind of GPU.
    """
    logs = [read_log(path) for path in paths]
    first = logs[0].header
    for path, log in zip(paths, logs, strict=True):
        if not log.measured:
            raise BadLog(
                f"{path}: holds no measured point yet; run the same command again to resume"
            )
        if not told(log):
            raise BadLog(
                f"{path}: holds only eager points of an older phasewatt, without times of "
                "undisturbed steps; expected some: run its command again with another --log"
            )
        if _kind_of_gpu(log.header) != _kind_of_gpu(first):
            found, expected = (
                f"{name} with a limit of {limit_w:g} W"
                for name, limit_w, _ in (_kind_of_gpu(log.header), _kind_of_gpu(first))
            )
            raise BadLog(f"{path}: found {found}; expected {expected}, as in {paths[0]}")
    return study_of(*logs)


def _kind_of_gpu(header: Header) -> tuple[str, float, tuple[int, ...]]:
    limit_w = header.power_limit.enforced_w
    return header.gpu.name, 0.0 if math.isnan(limit_w) else limit_w, header.clocks.sm_mhz


def study_of(*logs: Log) -> Study:
    """Return the study of logs that hold a measurement each, all of one kind of GPU.

    Points that several logs hold are repeats of one kind of step.
    """
    machines = _by_machine(logs)
    records = tuple(record for machine in machines for record in machine)
    limit_w = logs[0].header.power_limit.enforced_w
    if math.isnan(limit_w):
        limit_w = max(record.measurement.power_w.value for record in records)
    warmth = leakage([record.measurement for record in records], limit_w)
    powers = StepPowers.joined([powers_of(machine, warmth, limit_w) for machine in machines])
    return Study(
        name=logs[0].header.gpu.name,
        gpu=_gpu(logs, limit_w),
        provenance=_provenance(logs, records, warmth, powers),
        measurements=_columns(records, powers),
        geometries={name: shape for log in logs for name, shape in log.header.sweep.shapes.items()},
        believed={} if powers.voltage_slope is None else {"voltage_slope": powers.voltage_slope},
        host=_host(logs),
    )


def _by_machine(logs: Sequence[Log]) -> list[tuple[Measured, ...]]:
    """Return the records of each GPU that the logs are of, as nothing disturbed their hosts.

    What a GEMM draws at a clock is a GPU's own: two of a kind differ by percents, which the energy
    balance of a step beside five times its time in GEMMs would show six times as large.
    """
    machines: dict[str, tuple[Measured, ...]] = {}
    for log in logs:
        machines[log.header.gpu.uuid] = (*machines.get(log.header.gpu.uuid, ()), *told(log))
    return list(machines.values())


def powers_of(records: tuple[Measured, ...], warmth: Leakage, limit_w: float) -> StepPowers:
    """Return the power of every record's step alone, at one temperature and its achieved clock.

    The records are those of one GPU. Steps that the host launches have no steady time of their own
    beside GEMMs: their mixtures tell time only, and nothing of the GEMM.
    """
    balanced = np.array([_is_balanced(record) for record in records])
    records = tuple(record for record in records if _is_balanced(record))
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
    return step_powers(mixtures, limit_w).among(balanced)


def _is_balanced(record: Measured) -> bool:
    return record.cell.gemm_ratio == 0 or not is_launched(record)


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
        time_error=_time_errors(found, np.array([point.engine.value for point in points])),
        power_error=_error_in_a_fit(powers),
        stock=np.array([r.cell.sm_mhz is None and r.cell.gemm_ratio == 0 for r in records]),
    )


SINGLE_WINDOW = 0.003
"""Relative scatter of times from run to run, which a point's single window does not show.

Assumed; the same steps on two H100 differed by 0 to 1.9% (November 2026)."""

_SHARED_FREEDOM = 4.0
"""Degrees of freedom with which the scatter of all points speaks for the scatter of one."""


def _time_errors(found: list[Measurement], engine: NDArray[np.str_]) -> Array:
    """Return relative standard errors of times; the scatter of an engine's points speaks for each.

    Two windows of a point say little about how far a third would lie from them. What launches a
    step scatters it: steps of a busy host by far more than captured ones.
    """
    counts = _array([len(m.windows) for m in found])
    own = _array([float(np.var([w.time_s / m.time_s.value for w in m.windows])) for m in found])
    squares = counts * own
    freedom = counts - 1
    shared = np.empty_like(squares)
    for each in np.unique(engine):
        mine = engine == each
        shared[mine] = squares[mine].sum() / max(freedom[mine].sum(), 1.0)
    variance = (squares + _SHARED_FREEDOM * shared) / (freedom + _SHARED_FREEDOM)
    told = _array([m.time_s.error / m.time_s.value for m in found])
    within = np.where(freedom > 0, 0.0, np.hypot(told, SINGLE_WINDOW))
    return np.asarray(np.maximum(np.sqrt(variance / counts), within))


def _error_in_a_fit(powers: StepPowers) -> Array:
    """Return relative errors of power as a fit that takes rows for independent must see them.

    Steered steps share the error of the GEMM's power. Averaging over n of them does not lessen it,
    so each carries it sqrt(n) times.
    """
    told = np.isfinite(powers.power_w)
    sharing = max(int(np.sum(told & (powers.shared_error > 0))), 1)
    own, shared = (np.where(told, each, 0.0) for each in (powers.power_error, powers.shared_error))
    return np.where(told, np.sqrt(own**2 + (sharing - 1) * shared**2), np.nan)


def _gpu(logs: Sequence[Log], limit_w: float) -> Gpu:
    header, kind = logs[0].header, _kind(logs[0].header)
    idle = [record for log in logs for record in log.idle]
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
    if idle:
        idle_w = float(np.mean([record.window.power_w for record in idle]))
        origins["idle_power_w"] = Origin(
            kind, f"mean of {len(idle)} windows with a model loaded and nothing to do"
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


def _host(logs: Sequence[Log]) -> HostPower | None:
    """Return the host's power, where idle windows and points tell it.

    One GPU was at work while points were measured; each further one is taken to add as much.
    """
    idle = [record.host_w for log in logs for record in log.idle if record.host_w is not None]
    busy = [record.host_w for log in logs for record in log.measured if record.host_w is not None]
    gpus = max((log.header.host_gpus or 0 for log in logs), default=0)
    if not idle or not busy or not gpus:
        return None
    idle_w = float(np.mean(idle))
    more_w = max(float(np.mean(busy)) - idle_w, 0.0)
    return HostPower(
        idle_w,
        idle_w + gpus * more_w,
        gpus,
        Origin(
            Kind.MEASURED,
            f"RAPL: packages and memory, {len(idle)} windows with nothing to do and {len(busy)} "
            f"points on one GPU of the {gpus} that NVML lists; without fans, network and losses",
        ),
    )


def _provenance(
    logs: Sequence[Log], records: Sequence[Measured], warmth: Leakage, powers: StepPowers
) -> Provenance:
    header = logs[0].header
    clocks = {f"{log.header.strategy} ({log.header.strategy_reason})": None for log in logs}
    uuids = dict.fromkeys(log.header.gpu.uuid for log in logs)
    versions = [{"driver": log.header.gpu.driver, **log.software} for log in logs]
    return Provenance(
        kind=_kind(header),
        source=f"calibrate run on {header.gpu.name}, {', '.join(uuids)}",
        method=f"clocks: {', '.join(clocks)}; energy from counter edges where there is a counter; "
        f"{len(records)} points in random order, each repeated to a half-width of "
        f"{header.sweep.precision:.1%}; power told at {warmth.reference_c:.0f} C, by "
        f"{warmth.w_per_k:.2f} +- {1.96 * warmth.error_w_per_k:.2f} W/K",
        date=", ".join(dict.fromkeys(log.header.date for log in logs)),
        licence="not stated: the figures are those of whoever ran the command",
        software=_all_versions(versions),
        command="\n".join(dict.fromkeys(log.header.command for log in logs)),
        notes=_notes(logs, records, powers),
    )


def _all_versions(versions: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return every version that was used of each piece of software."""
    names = dict.fromkeys(name for each in versions for name in each)
    return {
        name: ", ".join(dict.fromkeys(each[name] for each in versions if name in each))
        for name in names
    }


def _kind(header: Header) -> Kind:
    return Kind.TWIN if header.gpu.kind is GpuKind.TWIN else Kind.MEASURED


def _notes(logs: Sequence[Log], records: Sequence[Measured], powers: StepPowers) -> tuple[str, ...]:
    """Return what somebody who reads the figures must know, one sentence each."""
    found = [record.measurement for record in records]
    notes = []
    if logs[0].header.gpu.kind is GpuKind.TWIN:
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
    notes += _hosted_notes(logs)
    unsteady = sum(not r.measurement.steady for r in records if not is_launched(r))
    if unsteady:
        notes.append(f"{unsteady} of {len(found)} points never became steady")
    precision = logs[0].header.sweep.precision
    wide = sum(
        Z_95 * max(m.time_s.error / m.time_s.value, m.power_w.error / m.power_w.value) > precision
        for m in found
    )
    if wide:
        notes.append(f"{wide} of {len(found)} points stayed above the precision asked for")
    if any(log.header.strategy is Strategy.STEER for log in logs):
        silent = int(np.isnan(powers.power_w).sum())
        notes.append(
            "power of steered steps follows from the energy balance of mixtures with GEMMs "
            f"(docs/steering.md); {silent} of {len(found)} points tell time only, as their power "
            f"is unsure by more than {GIVE_UP:.0%}"
        )
    too_large = sum(skip.cause == "memory" for log in logs for skip in log.skipped)
    if too_large:
        notes.append(f"{too_large} points did not fit into the GPU's memory")
    return tuple(notes)


def _hosted_notes(logs: Sequence[Log]) -> list[str]:
    """Return what must be known of steps that the host launches."""
    notes = []
    found = disturbances(logs)
    if found:
        longer = ", ".join(f"{one.longer[0]:.0%} on {one.machine}" for one in found)
        notes.append(
            "eager: times and powers are of steps that nothing disturbed on their host; with the "
            f"others, steps of the middle point took longer by {longer}"
        )
    untold = sum(len(log.measured) - len(told(log)) for log in logs)
    if untold:
        notes.append(
            f"{untold} eager points are left out, which do not tell undisturbed steps: those of "
            "older logs, and those that took longer than a larger step"
        )
    return notes


def _array(values: Sequence[float]) -> Array:
    return np.array(values, dtype=np.float64)
