"""Engine steps that are prefill and decode at once: chunks of prompts beside decoding sequences.

In: the curves of both phases. Out: time and power of the combined :class:`model.work.Work`, which
is one step, not two: weights are read once, and memory and compute overlap as the forms say.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from model.curves import Curves, Domain
from model.fitted import FittedForm
from model.shape import Activity, Inputs, Parts
from model.work import Array, Phase, Work
from phasewatt.errors import BadCalibration


@dataclass(frozen=True)
class MixedCurves:
    """Time and power of mixed steps; :func:`mixed_curves` makes it.

    Where a calibration gives both phases the same coefficients, as structured fits do when they
    can, one form prices the whole step. Where it does not, each phase prices what it was fitted to:
    to the parts of prefill's time for its work come those of decode's beyond a step of nothing,
    whose launches and weights are there already. They overlap as prefill's do, and take no less
    time than either phase alone and no more than both. Power follows from what these parts keep
    busy, between both phases' powers by the share of tokens that are prefill: assumed. With the
    same coefficients all of that comes to one form's price.
    """

    prefill: Curves
    decode: Curves

    @property
    def model(self) -> str:
        """The model that runs."""
        return self.prefill.model

    @property
    def phase(self) -> str:
        """What kind of step it is."""
        return "a mixed step"

    @property
    def domain(self) -> Domain:
        """Prefill's ranges, at clocks where both phases were measured."""
        spans = self.prefill.domain.sm_mhz, self.decode.domain.sm_mhz
        low, high = max(s[0] for s in spans), min(s[1] for s in spans)
        own = self.prefill.domain
        return Domain((low, high), own.batch, own.prompt_tokens, own.context_tokens)

    @property
    def governor_limit_w(self) -> float | None:
        """The power to which the untouched GPU holds prefill."""
        return self.prefill.governor_limit_w

    @property
    def power_varies(self) -> bool:
        """Whether power depends on the step: it does."""
        return True

    @property
    def shared(self) -> bool:
        """Whether both phases have the same coefficients."""
        return all(
            mine.same_coefficients(other) and mine.scale == other.scale
            for mine, other in (
                (self.prefill.time, self.decode.time),
                (self.prefill.power, self.decode.power),
            )
        )

    def time_s(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the time of each step in seconds; ``sm_mhz`` broadcasts against the work."""
        if self.shared:
            return self.prefill.time_s(work, sm_mhz)
        clock_mhz = np.asarray(sm_mhz, dtype=np.float64)
        measured_mhz = np.maximum(clock_mhz, self._edge_mhz)
        _, time_s = self._measured(work, measured_mhz)
        if np.all(clock_mhz >= measured_mhz):
            return time_s
        # Below, a mixed step slows down as both phases do, each by its part.
        at_edge, below = self._alone_s(work, measured_mhz), self._alone_s(work, clock_mhz)
        slower = (below[0] + below[1]) / (at_edge[0] + at_edge[1])
        return _bounded(time_s * slower, *below)

    def power_w(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the mean power during each step in watts."""
        return self.power_of(work)(sm_mhz)

    def power_relative_sd(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the standard deviation of log power of a newly measured step: the larger phase's.

        Shape: that of the work, broadcast against the clocks.
        """
        prefill, decode = (work, work) if self.shared else work.alone()
        mine = self.prefill.power_relative_sd(prefill, sm_mhz)
        return np.asarray(np.maximum(mine, self.decode.power_relative_sd(decode, sm_mhz)))

    def power_of(self, work: Work) -> Callable[[ArrayLike], Array]:
        """Return the power of ``work`` as a function of the SM clock alone."""
        if self.shared:
            return self.prefill.power_of(work)
        parts, time_s = self._measured(work, np.asarray(self.prefill.time.reference_mhz))
        busy = Activity((parts.memory_s + parts.stream_s) / time_s, parts.compute_s / time_s)
        mine, other = self.prefill.power_by(work, busy), self.decode.power_by(work, busy)
        share = prefill_share(work)
        return lambda sm_mhz: share * mine(sm_mhz) + (1 - share) * other(sm_mhz)

    def require_clock(self, sm_mhz: ArrayLike) -> None:
        """Raise :class:`OutOfRange` unless every clock lies inside both calibrated domains."""
        self.prefill.require_clock(sm_mhz)
        self.decode.require_clock(sm_mhz)

    @property
    def _edge_mhz(self) -> float:
        """The clock below which either phase's curves are transferred."""
        below = self.prefill.below, self.decode.below
        return max((each.edge_mhz for each in below if each is not None), default=0.0)

    def _alone_s(self, work: Work, sm_mhz: Array) -> tuple[Array, Array]:
        """Return the times that each step's prefill and its decode would take alone."""
        prefill, decode = work.alone()
        return self.prefill.time_s(prefill, sm_mhz), self.decode.time_s(decode, sm_mhz)

    def _measured(self, work: Work, sm_mhz: Array) -> tuple[Parts, Array]:
        """Return the parts of each step's time, and that time, at clocks that were measured."""
        prefill, decode = work.alone()
        mine = _parts_s(self.prefill.time, prefill, sm_mhz)
        other = _parts_s(self.decode.time, decode, sm_mhz)
        nothing = _parts_s(self.decode.time, decode.alone()[0], sm_mhz)
        parts = Parts(*(m + (o - n) for m, o, n in zip(mine, other, nothing, strict=True)))
        total = self.prefill.time.definition.total
        assert total is not None
        time_s = total(tuple(self.prefill.time.theta), parts)
        return parts, _bounded(time_s, *self._alone_s(work, sm_mhz))


def mixed_curves(prefill: Curves, decode: Curves) -> MixedCurves:
    """Return what prices steps of both phases of one model.

    Raises:
        BadCalibration: the forms describe one phase at a time, and no step of both.
    """
    for curves in (prefill, decode):
        if curves.time.definition.parts is None or not curves.power.definition.needs_activity:
            raise BadCalibration(
                f"{curves.phase} of {curves.model} has time form {curves.time.form!r} and power "
                f"form {curves.power.form!r}, which cannot price a step of both phases; expected "
                "structured curves, which calibrate fits to several batches and lengths"
            )
    return MixedCurves(prefill, decode)


def prefill_share(work: Work) -> Array:
    """Return the share of each step's tokens that are prefill, 0 to 1, of the work's shape."""
    tokens = work.prefill_tokens + work.decode_batch
    return np.asarray(work.prefill_tokens / np.maximum(tokens, 1))


def _parts_s(time: FittedForm, work: Work, sm_mhz: Array) -> list[Array]:
    """Return the parts of each step's time as the form has them, in their order."""
    assert time.definition.parts is not None
    at = Inputs(sm_mhz / time.reference_mhz, work, Phase.DECODE, time.constants)
    parts = time.definition.parts(tuple(time.theta), at)
    return [time.scale * part for part in vars(parts).values()]


def _bounded(time_s: Array, prefill_s: Array, decode_s: Array) -> Array:
    """Return ``time_s``, no less than either phase takes alone and no more than both."""
    return np.clip(time_s, np.maximum(prefill_s, decode_s), prefill_s + decode_s)
