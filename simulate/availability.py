"""Fleets that sleep, scale and break, as a user writes them.

In: what follows ``--autoscale``, ``--sleep-after``, ``--mtbf`` and their like. Out: values that a
scenario embeds, with defaults that say where they are from.
"""

from collections.abc import Mapping
from typing import Any

from phasewatt.errors import BadOption
from simulate.fleet import Faults, Scaling, Sleep
from simulate.metrics import parse_seconds

START_UP_S = 82.0
"""Assumed unless given: Llama-3.1-8B in vLLM on an L40S with weights, kernels and graphs cached,
the steps at tensorfuse.io/docs/blogs/reducing_gpu_cold_start added up; nothing cached, 294 s."""

IDLE_S = 300.0
"""How long a replica has nothing to do before it is stopped, unless given: the Kubernetes
autoscaler's ``--horizontal-pod-autoscaler-downscale-stabilization`` is 5 minutes."""

WAKE_S = 1.0
"""Assumed unless given: vLLM's sleep mode wakes in 0.1 to 6 s, by model and GPU
(blog.vllm.ai, 2025-10-26)."""

SLEEP_SHARE = 72 / 122
"""Assumed of sleeping power over idle power unless given: an H100 draws 72 W bare and 122 W with a
CUDA context (sgl-project/sglang issue 27567)."""


def scaling_of(given: Mapping[str, Any], counted: bool) -> tuple[Scaling, int | None] | None:
    """Return what ``--autoscale MIN:MAX[,target=X][,idle=TIME]`` and ``--start-up`` say, and MAX.

    Where how many replicas there are is ``counted`` elsewhere, MAX is left out.

    Raises:
        BadOption: it is written otherwise, or ``--start-up`` stands alone.
    """
    text, start_up = given["autoscale"], given["start_up"]
    if text is None:
        if start_up is not None:
            raise BadOption("--start-up belongs to --autoscale: expected both")
        return None
    expected = "MIN, where --group or --batching say how many at most," if counted else "MIN:MAX"
    wrong = BadOption(
        f"--autoscale: found {text!r}; expected {expected} with 1 <= MIN <= MAX, then perhaps "
        "target=REQUESTS and idle=TIME, with commas"
    )
    span, *more = text.split(",")
    least, *most = span.split(":")
    if len(most) == counted or not all(part.isdecimal() for part in (least, *most)):
        raise wrong
    if not 1 <= int(least) <= int(most[0] if most else least):
        raise wrong
    named = dict(part.partition("=")[::2] for part in more)
    if len(named) < len(more) or set(named) - {"target", "idle"}:
        raise wrong
    target = None
    if "target" in named:
        try:
            target = float(named["target"])
        except ValueError:
            raise wrong from None
        if not 0 < target < float("inf"):
            raise wrong
    idle_s = parse_seconds("--autoscale idle", named["idle"]) if "idle" in named else IDLE_S
    start_up_s = START_UP_S if start_up is None else parse_seconds("--start-up", start_up)
    return Scaling(int(least), target, idle_s, start_up_s), int(most[0]) if most else None


def sleep_of(given: Mapping[str, Any]) -> Sleep | None:
    """Return what ``--sleep-after``, ``--sleep-power-w`` and ``--wake-time`` say.

    Raises:
        BadOption: a time is none, or ``--sleep-after`` is missing.
    """
    after, power_w, wake = given["sleep_after"], given["sleep_power_w"], given["wake_time"]
    if after is None:
        for option, value in (("--sleep-power-w", power_w), ("--wake-time", wake)):
            if value is not None:
                raise BadOption(f"{option} belongs to --sleep-after: expected both")
        return None
    if power_w is not None and not 0 <= power_w < float("inf"):
        raise BadOption(f"--sleep-power-w: found {power_w:g}; expected 0 or more")
    return Sleep(
        parse_seconds("--sleep-after", after),
        power_w,
        WAKE_S if wake is None else parse_seconds("--wake-time", wake),
    )


def faults_of(given: Mapping[str, Any]) -> Faults | None:
    """Return what ``--mtbf``, ``--mttr`` and ``--retries`` say.

    Raises:
        BadOption: a time is none, or one of the first two is missing.
    """
    mtbf, mttr, retries = given["mtbf"], given["mttr"], given["retries"]
    if mtbf is None or mttr is None:
        found = {"--mtbf": mtbf, "--mttr": mttr, "--retries": retries}
        for option, value in found.items():
            if value is not None:
                raise BadOption(f"{option} alone: expected --mtbf TIME and --mttr TIME")
        return None
    if retries is not None and retries < 0:
        raise BadOption(f"--retries: found {retries}; expected 0 or more")
    return Faults(
        parse_seconds("--mtbf", mtbf), parse_seconds("--mttr", mttr), retries, given["seed"]
    )
