"""What points whose steps the host launches tell of the step itself, whatever disturbed the host.

In: a log. Out: its measured points; those of ``eager`` with the time of undisturbed steps and the
power without the waiting of the others, as if nothing had disturbed any.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibrate.estimate import Estimate, pooled
from calibrate.log import Log, Measured
from calibrate.measure import Measurement, WindowFigures
from calibrate.undisturbed import BAND, without_waiting
from model.time_choice import is_hosted


@dataclass(frozen=True)
class Disturbance:
    """How much longer steps took on one machine than those that nothing disturbed.

    Attributes:
        machine: the GPU, by the first characters of its UUID.
        points: points whose steps the host launched.
        longer: mean over undisturbed time, less one: of the middle point and of the most disturbed.
        moved: how far mean times, and undisturbed ones, moved between windows of a point: medians
            over the points that were disturbed; None where none was.
        idle_w: power of the board with a model loaded and nothing to do.
        waiting_w: power while it waited for its host: energy that steps of one window took more
            than those of another, over the time that they were longer; None where nothing tells.
    """

    machine: str
    points: int
    longer: tuple[float, float]
    moved: tuple[float, float] | None
    idle_w: float | None
    waiting_w: float | None


def told(log: Log) -> tuple[Measured, ...]:
    """Return the measured points of ``log`` that tell of their step, as they are without waiting.

    Points of ``eager`` are left out that tell nothing of undisturbed steps: those of older logs,
    and those that took longer than a larger step did, whose host was disturbed from end to end.
    """
    idle_w = float(np.mean([idle.window.power_w for idle in log.idle])) if log.idle else np.nan
    found = []
    for record in log.measured:
        if not is_launched(record):
            found.append(record)
        elif record.measurement.undisturbed_s is not None and np.isfinite(idle_w):
            found.append(replace(record, measurement=_alone(record.measurement, idle_w)))
    return tuple(record for record in found if not _is_outdone(record, found))


def is_launched(record: Measured) -> bool:
    """Return whether the host launched every kernel of the point's steps."""
    return is_hosted(record.cell.point.engine)


def disturbances(logs: Sequence[Log]) -> tuple[Disturbance, ...]:
    """Return how launched steps were disturbed on each machine, where logs tell it."""
    found: dict[str, list[Measurement]] = {}
    idle_w: dict[str, list[float]] = {}
    for log in logs:
        machine = log.header.gpu.uuid[:12]
        idle_w.setdefault(machine, []).extend(idle.window.power_w for idle in log.idle)
        launched = [record.measurement for record in log.measured if is_launched(record)]
        for measured in launched:
            if measured.undisturbed_s is not None:
                found.setdefault(machine, []).append(measured)
    return tuple(
        _disturbance(
            machine, measured, float(np.mean(idle_w[machine])) if idle_w[machine] else None
        )
        for machine, measured in found.items()
    )


def _disturbance(machine: str, found: Sequence[Measurement], idle_w: float | None) -> Disturbance:
    longer, moved = [], []
    energy_waiting, waiting = 0.0, 0.0
    for measured in found:
        columns = [(w.time_s, w.undisturbed_s, w.power_w) for w in measured.windows]
        time_s, own_s, power_w = np.array(columns, dtype=np.float64).T
        longer.append(float(time_s.mean() / own_s.mean()) - 1)
        if longer[-1] > _DISTURBED and len(columns) > 1:
            moved.append((float(np.ptp(time_s) / time_s.min()), float(np.ptp(own_s) / own_s.min())))
        if measured.gemms_per_step == 0:
            # Large steps take more energy and scatter more: each point weighs by its own.
            energy_j = time_s * power_w / np.mean(time_s * power_w)
            waited_s = (time_s - own_s) / np.mean(time_s * power_w)
            energy_waiting += float(np.sum((waited_s - waited_s.mean()) * energy_j))
            waiting += float(np.sum((waited_s - waited_s.mean()) ** 2))
    middle = np.median(moved, axis=0) if moved else None
    return Disturbance(
        machine,
        len(found),
        (float(np.median(longer)), max(longer)),
        None if middle is None else (float(middle[0]), float(middle[1])),
        idle_w,
        energy_waiting / waiting if waiting else None,
    )


_DISTURBED = 0.01
"""Steps of a point that took longer by less were not disturbed: its scatter is the GPU's own."""


def _is_outdone(record: Measured, others: Sequence[Measured]) -> bool:
    """Return whether a larger step at the same clock took clearly less time."""
    cell, time_s = record.cell, record.measurement.time_s.value
    return is_launched(record) and any(
        _like(other) == _like(record)
        and other.cell.point.batch >= cell.point.batch
        and other.cell.point.prompt_tokens >= cell.point.prompt_tokens
        and other.cell.point.context_tokens >= cell.point.context_tokens
        and time_s > (1 + BAND) * other.measurement.time_s.value
        for other in others
    )


def _like(record: Measured) -> object:
    """Return what steps have in common that the larger of takes the longer time."""
    sizeless = replace(record.cell.point, batch=0, prompt_tokens=0, context_tokens=0)
    return replace(record.cell, point=sizeless)


def _alone(measured: Measurement, idle_w: float) -> Measurement:
    """Return ``measured`` as if every step of it had been an undisturbed one.

    Beside GEMMs the power stays the mixture's.
    """
    time_s = measured.undisturbed_s
    assert time_s is not None
    windows = tuple(_window_alone(window, idle_w) for window in measured.windows)
    measured = replace(measured, time_s=time_s, windows=windows)
    if measured.gemms_per_step:
        return measured
    power = pooled([w.power_w for w in windows], [w.power_error_w for w in windows])
    energy_j = time_s.value * power.value
    relative = np.hypot(time_s.error / time_s.value, power.error / power.value)
    energy = Estimate(energy_j, energy_j * float(relative))
    return replace(measured, power_w=power, energy_j=energy)


def _window_alone(window: WindowFigures, idle_w: float) -> WindowFigures:
    assert window.undisturbed_s is not None
    time_s, own_s = np.array(window.time_s), np.array(window.undisturbed_s)
    power_w, error_w = without_waiting(time_s, own_s, np.array(window.power_w), idle_w)
    longer = window.time_s / window.undisturbed_s
    return replace(
        window,
        time_s=window.undisturbed_s,
        power_w=float(power_w),
        power_error_w=float(np.hypot(longer * window.power_error_w, error_w)),
    )
