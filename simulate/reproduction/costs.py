"""What one query costs under a governor, and what queries cost that are routed by their pattern.

In: a calibration, a policy as it is typed. Out: seconds and joules of both phases.
"""

from dataclasses import dataclass

from model.calibration import Calibration
from model.work import Phase, Work
from policies import Setting, make_governor
from policies.governor import settled_mhz
from simulate.reproduction.published import engine, prompt_tokens
from simulate.reproduction.tables import Paper


@dataclass(frozen=True)
class Cost:
    """Seconds and joules of the phases of one query, or of one batch of them."""

    prefill_s: float
    decode_s: float
    prefill_j: float
    decode_j: float

    @property
    def time_s(self) -> float:
        """Both phases."""
        return self.prefill_s + self.decode_s

    @property
    def energy_j(self) -> float:
        """Both phases."""
        return self.prefill_j + self.decode_j

    @property
    def edp(self) -> float:
        """Energy times delay."""
        return self.energy_j * self.time_s


def paper_cost(
    paper: Paper, calibration: Calibration, model: str, policy: str, batch: int = 1
) -> Cost:
    """Return what the paper's mean query costs on its published calibration under ``policy``.

    Joules of batch 1 are the paper's; those of other batches, and all seconds, are in units of
    the query at the baseline clock.
    """
    prompt, steps = prompt_tokens(paper), paper.tokens_per_query
    curves = {phase: calibration.curves_of(model, phase, engine(batch)) for phase in Phase}
    work = {
        Phase.PREFILL: Work.prefill([float(batch)], [float(prompt)]),
        Phase.DECODE: Work.decode([float(batch)], [float(prompt)]),
    }
    setting = Setting(calibration.gpu, curves, work, 0.0)
    governor = make_governor(policy, setting)
    times, energies = [], []
    for phase, repeats in ((Phase.PREFILL, 1), (Phase.DECODE, steps)):
        held = settled_mhz(governor, phase, work[phase], calibration.gpu, curves[phase])
        time_s = repeats * float(curves[phase].time_s(work[phase], held)[0])
        times.append(time_s)
        energies.append(time_s * float(curves[phase].power_w(work[phase], held)[0]))
    return Cost(times[0], times[1], energies[0], energies[1])
