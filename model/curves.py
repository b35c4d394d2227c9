"""Time and power of one phase of one model on one GPU, against work and SM clock.

In: fitted coefficients with their covariance. Out: seconds and watts, their intervals, and whether
a point lies inside the range that was measured.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, InstanceOf, model_validator
from pydantic.dataclasses import dataclass

from model.activity import ACTIVITY_FORMS
from model.extension import Extension, extended_sd, extended_value
from model.fitted import FittedForm, Normals
from model.forms import POWER_FORMS, TIME_FORMS
from model.provenance import STRICT, Origin
from model.roofline import ROOFLINE_FORMS
from model.shape import Activity, Inputs, Parts
from model.work import Array, Phase, Work
from phasewatt.errors import OutOfRange

_CLOCK_TOLERANCE_MHZ = 1e-6


@dataclass(frozen=True, config=STRICT)
class Domain:
    """The ranges that were measured, each (lowest, highest), both included."""

    sm_mhz: tuple[float, float]
    batch: tuple[float, float]
    prompt_tokens: tuple[float, float] | None
    context_tokens: tuple[float, float] | None

    @model_validator(mode="after")
    def _ascending(self) -> "Domain":
        for name, span in vars(self).items():
            if span is not None and not 0 <= span[0] <= span[1]:
                raise ValueError(
                    f"{name} is {span[0]:g} to {span[1]:g}; expected the lower end first, 0 or more"
                )
        return self


@dataclass(frozen=True, config=STRICT)
class Points:
    """The measured points behind a pair of curves, as columns of equal length."""

    sm_mhz: tuple[float, ...]
    batch: tuple[float, ...]
    prompt_tokens: tuple[float, ...]
    context_tokens: tuple[float, ...]
    time_s: tuple[float, ...]
    power_w: tuple[float, ...]

    @model_validator(mode="after")
    def _same_length(self) -> "Points":
        columns = (
            self.batch,
            self.prompt_tokens,
            self.context_tokens,
            self.time_s,
            self.power_w,
        )
        if {len(column) for column in columns} != {len(self.sm_mhz)}:
            raise ValueError("columns of points differ in length")
        return self

    def work(self, phase: Phase) -> Work:
        """Return the points' work as steps of ``phase``."""
        if phase is Phase.PREFILL:
            return Work.prefill(self.batch, self.prompt_tokens)
        return Work.decode(self.batch, self.context_tokens)


@dataclass(frozen=True, config=STRICT)
class Curves:
    """Time and power of one phase of one model in one engine on one GPU.

    ``governor_limit_w`` is the power at which the untouched GPU was seen to hold this load, where
    that is below its nominal power limit; None where the nominal limit holds. ``below`` says how
    the curves go on below the measured clocks, where ``domain`` reaches that far; files have none.
    """

    model: str
    engine: str
    phase: Phase
    time: FittedForm
    power: FittedForm
    domain: Domain
    points: Points
    governor_limit_w: float | None
    origin: Origin
    below: InstanceOf[Extension] | None = Field(default=None, exclude=True, repr=False)

    @model_validator(mode="after")
    def _fitting_together(self) -> "Curves":
        for name, fitted, others in (
            ("time", self.time, (*POWER_FORMS, *ACTIVITY_FORMS)),
            ("power", self.power, (*TIME_FORMS, *ROOFLINE_FORMS)),
        ):
            if fitted.definition in others:
                raise ValueError(f"{name} has form {fitted.form!r}, which is not one of {name}")
        if self.governor_limit_w is not None and self.governor_limit_w <= 0:
            raise ValueError(f"governor_limit_w is {self.governor_limit_w:g}; expected more than 0")
        if self.power.definition.needs_activity and self.time.definition.parts is None:
            raise ValueError(
                f"power form {self.power.form!r} needs a roofline of time, not {self.time.form!r}"
            )
        return self

    @property
    def measured_mhz(self) -> tuple[float, float]:
        """The lowest and the highest clock that was measured."""
        low, high = self.domain.sm_mhz
        return (low if self.below is None else self.below.edge_mhz), high

    def as_measured(self) -> "Curves":
        """Return the curves as far as they were measured."""
        return replace(self, domain=replace(self.domain, sm_mhz=self.measured_mhz), below=None)

    @property
    def power_varies(self) -> bool:
        """Whether power depends on the step."""
        return self.power.definition.varies_with_work

    def time_s(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the time of each step in seconds; ``sm_mhz`` broadcasts against the work."""
        return self._time_value(self._inputs(self.time, work, sm_mhz))

    def power_w(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the mean power during each step in watts."""
        return self.power_of(work)(sm_mhz)

    def power_of(self, work: Work) -> Callable[[ArrayLike], Array]:
        """Return the power of ``work`` as a function of the SM clock alone."""
        return self.power_by(work, self._activity(work))

    def power_by(self, work: Work, activity: Activity | None) -> Callable[[ArrayLike], Array]:
        """Return the power of ``work``, which ``activity`` keeps the GPU busy with, likewise."""

        def power_w(sm_mhz: ArrayLike) -> Array:
            at = self._inputs(self.power, work, sm_mhz)
            return self._power_value(replace(at, activity=activity))

        return power_w

    def parts(self, work: Work, sm_mhz: ArrayLike) -> Parts | None:
        """Return what the time of each step is made of; None where the form does not know.

        Below the measured clocks that is what it is made of at the lowest of them.
        """
        if self.time.definition.parts is None:
            return None
        at = self._inputs(self.time, work, np.maximum(sm_mhz, self.measured_mhz[0]))
        return self.time.definition.parts(tuple(self.time.theta), at)

    def energy_j(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the energy of each step in joules: time times mean power."""
        return self.time_s(work, sm_mhz) * self.power_w(work, sm_mhz)

    def time_relative_sd(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the standard deviation of log time of a newly measured step."""
        at = self._inputs(self.time, work, sm_mhz)
        return np.asarray(np.hypot(self._time_sd(at), self.time.residual_sd))

    def power_relative_sd(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the standard deviation of log power of a newly measured step."""
        at = self._power_inputs(work, sm_mhz)
        return np.asarray(np.hypot(self._power_sd(at), self.power.residual_sd))

    def time_interval_s(
        self, work: Work, sm_mhz: ArrayLike, level: float = 0.95
    ) -> tuple[Array, Array]:
        """Return the prediction interval of a newly measured step time, (low, high) in seconds."""
        value, sd = self.time_s(work, sm_mhz), self.time_relative_sd(work, sm_mhz)
        return _interval(value, self.time.reach(level) * sd)

    def power_interval_w(
        self, work: Work, sm_mhz: ArrayLike, level: float = 0.95
    ) -> tuple[Array, Array]:
        """Return the prediction interval of a newly measured power, (low, high) in watts."""
        value, sd = self.power_w(work, sm_mhz), self.power_relative_sd(work, sm_mhz)
        return _interval(value, self.power.reach(level) * sd)

    def require_clock(self, sm_mhz: ArrayLike) -> None:
        """Raise :class:`OutOfRange` unless every clock lies inside the calibrated domain."""
        clocks = np.asarray(sm_mhz, dtype=np.float64)
        low, high = self.domain.sm_mhz
        outside = (clocks < low - _CLOCK_TOLERANCE_MHZ) | (clocks > high + _CLOCK_TOLERANCE_MHZ)
        if np.any(outside):
            found = float(clocks[outside].ravel()[0])
            raise OutOfRange(
                f"{self.phase} clock {found:g} MHz is outside the calibrated range of "
                f"{self.model}: expected {low:g} to {high:g} MHz"
            )

    def require_batch(self, batch: float) -> None:
        """Raise :class:`OutOfRange` unless ``batch`` lies inside the calibrated domain."""
        low, high = self.domain.batch
        if not low <= batch <= high:
            wanted = f"batch {low:g}" if low == high else f"batch {low:g} to {high:g}"
            raise OutOfRange(
                f"{self.phase} of {self.model} was not measured at batch {batch:g}: "
                f"expected {wanted}"
            )

    def drawn(self, normal: Normals) -> "Curves":
        """Return the curves with coefficients drawn from their covariance."""
        return replace(
            self,
            time=self.time.drawn(normal),
            power=self.power.drawn(normal),
            below=None if self.below is None else self.below.drawn(self.phase, normal),
        )

    def _time_value(self, at: Inputs) -> Array:
        if self.below is None:
            return self.time.value(at)
        return extended_value(self.time, at, self.below.edge_mhz, self.below.time)

    def _power_value(self, at: Inputs) -> Array:
        if self.below is None:
            return self.power.value(at)
        return extended_value(self.power, at, self.below.edge_mhz, self.below.power)

    def _time_sd(self, at: Inputs) -> Array:
        if self.below is None:
            return self.time.relative_sd(at)
        return extended_sd(self.time, at, self.below.edge_mhz, self.below.time)

    def _power_sd(self, at: Inputs) -> Array:
        if self.below is None:
            return self.power.relative_sd(at)
        return extended_sd(self.power, at, self.below.edge_mhz, self.below.power)

    def _inputs(self, form: FittedForm, work: Work, sm_mhz: ArrayLike) -> Inputs:
        clock = np.asarray(sm_mhz, dtype=np.float64) / form.reference_mhz
        return Inputs(clock, work, self.phase, form.constants)

    def _power_inputs(self, work: Work, sm_mhz: ArrayLike) -> Inputs:
        return replace(self._inputs(self.power, work, sm_mhz), activity=self._activity(work))

    def _activity(self, work: Work) -> Activity | None:
        return self.time.activity(work) if self.power.definition.needs_activity else None


def _interval(value: Array, reach: Array) -> tuple[Array, Array]:
    return value * np.exp(-reach), value * np.exp(reach)
