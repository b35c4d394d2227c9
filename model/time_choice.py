"""Choose the roofline that tells the time of an engine's steps, and what it tells of the GPU.

In: rows of measured times. Out: a :class:`model.choice.Choice`, and rates of the device.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from model.choice import Choice, Field
from model.roofline import ROOFLINES, Extra, Launch, Roofline
from model.structured import Rows, Sharing, Solution, Structure
from model.work import Phase

_HOSTED = frozenset({"eager"})


def choose_time(rows: Rows, reference_mhz: float) -> Choice:
    """Choose the roofline of ``rows``, all of one engine, and who shares its coefficients.

    Sharing goes from all steps to each phase to each model and phase, and stops where the
    measurements' own error is reached; terms that several models share are added one at a time
    while they help.

    Raises:
        BadTable: the rows determine none.
    """
    field = Field(rows, reference_mhz)
    for streams in (False, True):
        # Each begins anew: terms that help only together with streams would be given up beside it.
        field.add(_by_streams(rows, reference_mhz, streams))
        if field.noise_is_reached():
            break
    return field.choice(f"time of {', '.join(dict.fromkeys(b.engine for b in rows.blocks))}")


def is_hosted(engine: str) -> bool:
    """Return whether launches of ``engine`` wait for the host, whose time knows no GPU clock."""
    return engine in _HOSTED


def device_rates(solution: Solution) -> dict[str, tuple[float, float]]:
    """Return what a solution of time tells of the GPU itself, for engines whose host hides it.

    Both engines multiply by the same weights: bytes are told by decode, operations by prefill,
    where the engine has both, and so is how much of their time goes by the clock. Attention and
    the KV cache are the engine's own.
    """
    names = solution.structure.form.names
    found: dict[str, tuple[float, float]] = {}
    for block, one in enumerate(solution.rows.blocks):
        values = dict(zip(names, solution.coefficients(block).tolist(), strict=True))
        for name in _DEVICE_RATES[one.phase]:
            rate = values.get(name, values.get(_FALLBACKS.get(name, name)))
            if rate is not None:
                found[name] = rate, _ALIKE * rate
        for name in _DEVICE_SHARES[one.phase]:
            if name in values:
                found[name] = values[name], _SHARES_ALIKE
    return found


_DEVICE_RATES = {
    Phase.DECODE: ("memory_bytes_per_s", "weight_bytes_per_s"),
    Phase.PREFILL: ("flops_per_s", "gemm_flops_per_s", "activation_bytes_per_s"),
}

_DEVICE_SHARES = {
    Phase.DECODE: ("memory_clock_share", "weight_clock_share"),
    Phase.PREFILL: ("compute_clock_share", "activation_clock_share"),
}

_FALLBACKS = {
    "memory_bytes_per_s": "weight_bytes_per_s",
    "weight_bytes_per_s": "memory_bytes_per_s",
    "flops_per_s": "gemm_flops_per_s",
    "gemm_flops_per_s": "flops_per_s",
}

_ALIKE = 0.05
"""Relative standard deviation of one engine's rates about another's on the same GPU.

Assumed: both call the same products. Fits of eager steps alone found weights within 1%, activations
within 2% and operations within 7% of those of captured graphs on an H100 (November 2026)."""

_SHARES_ALIKE = 0.1
"""Standard deviation of one engine's clock shares about another's on the same GPU (assumed)."""


def _by_streams(rows: Rows, reference_mhz: float, streams: bool) -> Field:
    """Return the rooflines with or without ``streams`` that were tried on ``rows``."""
    field = Field(rows, reference_mhz)
    hosted = all(is_hosted(block.engine) for block in rows.blocks)
    launches = tuple(one for one in Launch if not (hosted and one is Launch.CLOCKED))
    # A cache that grows by copying is read, written and read again: weights are read once.
    one_bandwidth = (False,) if hosted else (False, True)
    for sharing in (Sharing.ALL, Sharing.PHASE, Sharing.MODEL):
        best = _best_terms(field, sharing, launches, one_bandwidth, streams)
        if best is None:
            continue
        # What becomes of launches is the engine's: a finer sharing does not change it.
        launches = (best.launch,) if best.launch is Launch.NONE else (best.launch, Launch.NONE)
        field.attempt(Structure(ROOFLINES[replace(best, overlap=False)], sharing))
        if field.noise_is_reached():
            break
    return field


def _best_terms(
    field: Field,
    sharing: Sharing,
    launches: Sequence[Launch],
    one_bandwidth: Sequence[bool],
    streams: bool,
) -> Roofline | None:
    """Return the terms that lead when added one at a time, with launches chosen before and after.

    None where the rows determine none.
    """

    def plain(extras: frozenset[Extra]) -> list[Roofline]:
        return [
            Roofline(launch, one, True, extras, streams)
            for launch, one in product(launches, one_bandwidth)
        ]

    best = field.best(plain(frozenset()), sharing)
    if best is None or sharing is Sharing.MODEL:
        return best
    while not field.noise_is_reached():
        extras = [extra for extra in Extra if extra not in best.extras]
        richer = [replace(best, extras=best.extras | {extra}) for extra in extras]
        better = field.best([best, *richer], sharing) or best
        if better == best:
            break
        best = better
    if best.extras and not field.noise_is_reached():
        return field.best(plain(best.extras), sharing)
    return best
