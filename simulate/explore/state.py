"""The state of the page: what its sliders say, and the words that say the same.

In: words, or where sliders stand. Out: the one from the other.
"""

import re
from dataclasses import dataclass
from typing import Any

from policies import parse_policy
from simulate.metrics import Slo, parse_slo
from simulate.words import Words

_BY_HAND = re.compile(r"phase-aware:prefill=([\d.]+),decode=([\d.]+)")


@dataclass(frozen=True)
class Hand:
    """Clocks set by hand, in MHz, one for each phase."""

    prefill_mhz: float
    decode_mhz: float


@dataclass(frozen=True)
class State:
    """Where the controls stand; what they do not say stays as the page was started with.

    Attributes:
        policy: a policy by name, or clocks set by hand.
        selection: what chooses models where clocks are set by hand, ``single:MODEL``; empty: none.
        model: model of the calibration; None takes its first.
        engine: engine of the calibration; None takes the model's first.
        batching: as after ``--batching``.
        rate_scale: how many times as fast requests arrive.
        replicas: fleet size; None: the fewest that keep up.
        ttft_s: limit of the time to the first token; None: none.
        tpot_s: limit of the time per token after it; None: none.
        limit: how many of the trace's requests are replayed, from the first; None: all.
    """

    policy: str | Hand
    selection: str
    model: str | None
    engine: str | None
    batching: str
    rate_scale: float
    replicas: int | None
    ttft_s: float | None
    tpot_s: float | None
    limit: int | None

    @property
    def written(self) -> str:
        """The policy as after ``--policy``."""
        if isinstance(self.policy, str):
            return self.policy
        clocks = f"prefill={self.policy.prefill_mhz:g},decode={self.policy.decode_mhz:g}"
        return f"{self.selection}{'+' if self.selection else ''}phase-aware:{clocks}"


def state_of(words: Words) -> State:
    """Return the state in which a page that was started with ``words`` begins.

    Raises:
        BadOption: objectives or replicas that are none.
    """
    slo = Slo() if words["slo"] is None else parse_slo(words["slo"])
    replicas = str(words["replicas"])
    first = parse_policy(words["policies"][0])
    clocks = _BY_HAND.fullmatch(first.governor)
    return State(
        policy=first.text if clocks is None else Hand(float(clocks[1]), float(clocks[2])),
        selection=first.selection or "",
        model=words["model"],
        engine=words["engine"],
        batching=words["batching"],
        rate_scale=1.0 if words["rate_scale"] is None else words["rate_scale"],
        replicas=int(replicas) if replicas.isdecimal() else None,
        ttft_s=slo.ttft_s,
        tpot_s=slo.tpot_s,
        limit=words["limit"],
    )


def words_of(state: State, started: Words) -> dict[str, Any]:
    """Return the words that say ``state`` on a page that was started with ``started``.

    No coefficients are drawn: an interval takes twenty replays more.
    """
    words = {
        **started,
        "policies": (state.written,),
        "model": state.model,
        "engine": state.engine,
        "batching": state.batching,
        "slo": _slo(state, started),
        "limit": state.limit,
        "draws": 0,
    }
    if state.rate_scale != 1 or started["rate_scale"] is not None:
        words["rate_scale"] = state.rate_scale
    if says_replicas(state.batching, started):
        words["replicas"] = "auto" if state.replicas is None else str(state.replicas)
    return words


def says_replicas(batching: str, started: Words) -> bool:
    """Return whether ``--replicas`` says how large the fleet is, and nothing else does."""
    elsewhere = started["groups"] or started["autoscale"] or batching.startswith("disaggregated")
    return not elsewhere


def _slo(state: State, started: Words) -> str | None:
    limits = []
    if state.ttft_s is not None:
        limits.append(f"ttft={state.ttft_s:.10g}s")
    if state.tpot_s is not None:
        limits.append(f"tpot={1e3 * state.tpot_s:.10g}ms")
    e2e_s = None if started["slo"] is None else parse_slo(started["slo"]).e2e_s
    if e2e_s is not None:
        limits.append(f"e2e={e2e_s:.10g}s")
    return ",".join(limits) or None
