"""What users were promised, and what governors that keep it have in common.

In: objectives on TTFT and TPOT, and what steps are expected to take. Out: :class:`Promised`.
"""

from dataclasses import dataclass

from model.work import Array, Phase, Work
from phasewatt.errors import BadPolicy
from policies.forecast import Forecast, clocks_within
from policies.governor import Governor, Setting


@dataclass(frozen=True)
class Objectives:
    """Objectives in seconds; infinite where there is none."""

    ttft_s: float
    tpot_s: float

    @staticmethod
    def of(name: str, setting: Setting) -> "Objectives":
        """Return the objectives of ``setting`` for the policy called ``name``.

        Raises:
            BadPolicy: it has none on TTFT or TPOT.
        """
        if setting.ttft_s is None and setting.tpot_s is None:
            raise BadPolicy(
                f"policy {name}: found no objective; expected --slo with ttft=, tpot= or both"
            )
        inf = float("inf")
        return Objectives(
            inf if setting.ttft_s is None else setting.ttft_s,
            inf if setting.tpot_s is None else setting.tpot_s,
        )


@dataclass(frozen=True, kw_only=True)
class Promised:
    """A governor that keeps ``objectives`` by what ``forecast`` expects of steps.

    ``pressed`` is what it does where requests wait for long; fleets are sized for that.
    """

    name: str
    forecast: Forecast
    objectives: Objectives
    pressed: Governor
    cap_w: float | None = None
    idle_mhz: float | None = None
    coupled: bool = False

    def request_mhz(self, phase: Phase, work: Work) -> Array:
        """Return for each step the lowest clock that keeps the promise, shape (n,).

        Nobody has waited, and nothing switches.
        """
        limit_s = self.objectives.ttft_s if phase is Phase.PREFILL else self.objectives.tpot_s
        return clocks_within(self.forecast, limit_s, phase, work)
