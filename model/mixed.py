"""Engine steps that are prefill and decode at once: chunks of prompts beside decoding sequences.

In: the curves of both phases. Out: time and power of the combined :class:`model.work.Work`, which
is one step, not two: weights are read once, and memory and compute overlap as the forms say.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from model.curves import Curves, Domain
from model.work import Array, Work
from phasewatt.errors import BadCalibration


@dataclass(frozen=True)
class MixedCurves:
    """Time and power of mixed steps; :func:`mixed_curves` makes it.

    Both phases' forms price the whole step. Where a calibration gives them the same coefficients,
    as structured fits do when they can, that is one figure. Where it does not, the step lies
    between both by the share of its tokens that are prefill: an assumption, exact at either end.
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
        share = prefill_share(work)
        mine, other = self.prefill.time_s(work, sm_mhz), self.decode.time_s(work, sm_mhz)
        return share * mine + (1 - share) * other

    def power_w(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the mean power during each step in watts."""
        return self.power_of(work)(sm_mhz)

    def power_relative_sd(self, work: Work, sm_mhz: ArrayLike) -> Array:
        """Return the standard deviation of log power of a newly measured step: the larger phase's.

        Shape: that of the work, broadcast against the clocks.
        """
        mine = self.prefill.power_relative_sd(work, sm_mhz)
        return np.asarray(np.maximum(mine, self.decode.power_relative_sd(work, sm_mhz)))

    def power_of(self, work: Work) -> Callable[[ArrayLike], Array]:
        """Return the power of ``work`` as a function of the SM clock alone."""
        mine = self.prefill.power_of(work)
        if self.shared:
            return mine
        other, share = self.decode.power_of(work), prefill_share(work)
        return lambda sm_mhz: share * mine(sm_mhz) + (1 - share) * other(sm_mhz)

    def require_clock(self, sm_mhz: ArrayLike) -> None:
        """Raise :class:`OutOfRange` unless every clock lies inside both calibrated domains."""
        self.prefill.require_clock(sm_mhz)
        self.decode.require_clock(sm_mhz)


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
