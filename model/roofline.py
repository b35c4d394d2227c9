"""The physically structured forms of time: launches, bytes and flops, each with its clock response.

In: rates and clock shares of a GPU and an engine, the demands of a model. Out: seconds for every
batch, length and clock together; so one fit covers them all, and models that nobody measured.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, product

import numpy as np
import scipy

from model.shape import Coefficient, Coefficients, Form, Inputs, Parts
from model.work import Array


class Launch(StrEnum):
    """What becomes of the time that launching a step's kernels takes.

    The host's own time knows no clock of the GPU. Kernels that a graph replays start one after the
    other on the device, and part of that latency goes by its clock: ``CLOCKED``.
    """

    SERIAL = "serial launch"
    CLOCKED = "clocked launch"
    OVERLAPPED = "overlapped launch"
    NONE = "no launch"


class Extra(StrEnum):
    """Terms that a roofline may have beyond weights, KV cache and flops."""

    ATTENTION = "attention"
    TILES = "tiles"
    ACTIVATIONS = "activations"
    WALK = "walk"
    PROMPTS = "prompts"


@dataclass(frozen=True)
class Roofline:
    """Which terms a roofline has.

    Attributes:
        launch: what becomes of launch time.
        one_bandwidth: whether weights and KV cache share a bandwidth and its clock share.
        streams: whether the KV cache and activations pass through kernels of their own, one after
            the other with products with weights, rather than beside them.
        overlap: whether memory and compute may overlap.
        extras: further terms. ``ATTENTION`` gives attention a throughput of its own; ``TILES``
            computes products with weights for some more tokens than there are, since few tokens
            do not fill the tiles and waves of a matrix product; ``ACTIVATIONS`` reads and writes
            activations; ``WALK`` takes a latency for each cached token of a sequence, which no
            batch shortens; ``PROMPTS`` takes one for each prompt, whose attention does not fill
            its tiles.
    """

    launch: Launch = Launch.SERIAL
    one_bandwidth: bool = False
    overlap: bool = True
    extras: frozenset[Extra] = frozenset()
    streams: bool = False

    @property
    def name(self) -> str:
        """The name of the form, such as "roofline + attention"."""
        marks = [] if self.launch is Launch.SERIAL else [str(self.launch)]
        marks += ["one bandwidth"] * self.one_bandwidth
        marks += ["no overlap"] * (not self.overlap)
        marks += ["streams"] * self.streams
        base = f"roofline ({', '.join(marks)})" if marks else "roofline"
        return " + ".join([base, *(extra for extra in Extra if extra in self.extras)])


def roofline(terms: Roofline) -> Form:
    """Return the time form that has ``terms``."""
    columns = _columns(terms)
    coefficients = _coefficients(terms)
    names = [c.name for c in coefficients]

    def parts(c: Coefficients, at: Inputs) -> Parts:
        value = dict(zip(names, c, strict=True))
        amounts = _amounts(at)
        slow = 1 / at.clock - 1
        spent = {part: np.zeros_like(slow) for part in ("launch", "memory", "compute", "stream")}
        if Extra.TILES in terms.extras:
            unfilled = value["tile_tokens"] * amounts["gemm_flops_per_token"]
            amounts["gemm_flops"] = amounts["gemm_flops"] + unfilled
        for column in columns:
            each_s = amounts[column.amount] * value[column.rate]
            if column.rate != "launch_s":
                each_s = amounts[column.amount] / value[column.rate]
            if column.share is not None:
                each_s = each_s * (1 + value[column.share] * slow)
            spent[column.part] = spent[column.part] + each_s
        return Parts(spent["launch"], spent["memory"], spent["compute"], spent["stream"])

    def total(c: Coefficients, spent: Parts) -> Array:
        device_s = spent.memory_s + spent.compute_s
        if terms.overlap:
            device_s = _p_norm(spent.memory_s, spent.compute_s, c[-1])
        device_s = device_s + spent.stream_s
        if terms.launch is Launch.OVERLAPPED:
            return _p_norm(spent.launch_s, device_s, np.asarray(_QUEUE_SHARPNESS))
        return spent.launch_s + device_s

    def evaluate(c: Coefficients, at: Inputs) -> Array:
        return total(c, parts(c, at))

    def starts(target: Array, at: Inputs) -> list[list[float]]:
        solved = _first(terms, _amounts(at), target, at.clock)
        solved["tile_tokens"] = _FIRST_TILE
        overlaps = (1.02, 2.5) if terms.overlap else (1.0,)
        return [[({**solved, "overlap": p})[name] for name in names] for p in overlaps]

    return Form(
        name=terms.name,
        formula=_formula(terms),
        coefficients=coefficients,
        evaluate=evaluate,
        starts=starts,
        varies_with_work=True,
        parts=parts,
        total=total,
    )


@dataclass(frozen=True)
class _Column:
    """One term: what it takes time for, and that time's rate, clock share and part, by name."""

    amount: str
    rate: str
    share: str | None
    part: str


_QUEUE_SHARPNESS = 8.0
"""Launches run ahead of the device, so the slower of both sets the pace: a p-norm close to it."""

_LEAST_SHARE = 1e-3
"""A term that the start leaves out begins at this share of a step, so that a fit can find it."""


def _columns(terms: Roofline) -> list[_Column]:
    weights = ("memory_bytes_per_s", "memory_clock_share")
    cache = weights
    if not terms.one_bandwidth:
        weights = ("weight_bytes_per_s", "weight_clock_share")
        cache = ("kv_bytes_per_s", "kv_clock_share")
    share = "launch_clock_share" if terms.launch is Launch.CLOCKED else None
    beside = "stream" if terms.streams else "memory"
    columns = []
    if terms.launch is not Launch.NONE:
        columns.append(_Column("launches", "launch_s", share, "launch"))
    columns.append(_Column("weight_bytes", *weights, "memory"))
    columns.append(_Column("kv_bytes", *cache, beside))
    if Extra.ACTIVATIONS in terms.extras:
        share = "activation_clock_share"
        columns.append(_Column("activation_bytes", "activation_bytes_per_s", share, beside))
    if Extra.WALK in terms.extras:
        columns.append(_Column("kv_walks", "walked_tokens_per_s", cache[1], beside))
    gemm, attention = "flops_per_s", "flops_per_s"
    if Extra.ATTENTION in terms.extras:
        gemm, attention = "gemm_flops_per_s", "attention_flops_per_s"
    for amount, rate in (("gemm_flops", gemm), ("attention_flops", attention)):
        columns.append(_Column(amount, rate, "compute_clock_share", "compute"))
    if Extra.PROMPTS in terms.extras:
        prompts = ("attended_prompts", "prompts_per_s", "compute_clock_share", "compute")
        columns.append(_Column(*prompts))
    return columns


def _amounts(at: Inputs) -> dict[str, Array]:
    return {**vars(at.demand), "gemm_flops_per_token": at.constants["gemm_flops_per_token"]}


def _coefficients(terms: Roofline) -> tuple[Coefficient, ...]:
    columns = _columns(terms)
    rates = [_RATES[rate] for rate in dict.fromkeys(column.rate for column in columns)]
    shares = dict.fromkeys(column.share for column in columns if column.share is not None)
    tiles = [_TILE] if Extra.TILES in terms.extras else []
    overlap = [_OVERLAP] if terms.overlap else []
    return (*rates, *tiles, *(_share(name) for name in shares), *overlap)


def _rate(name: str, unit: str, meaning: str, lower: float, upper: float) -> Coefficient:
    return Coefficient(name, unit, lower, upper, meaning, reciprocal=True)


_RATES = {
    c.name: c
    for c in (
        Coefficient("launch_s", "s", 0.0, 1.0, "launch of one kernel"),
        _rate("memory_bytes_per_s", "B/s", "weights and KV cache read", 1e8, 1e14),
        _rate("weight_bytes_per_s", "B/s", "weights read", 1e8, 1e14),
        _rate("kv_bytes_per_s", "B/s", "KV cache read", 1e8, 1e14),
        _rate("activation_bytes_per_s", "B/s", "activations read and written", 1e8, 1e14),
        _rate("walked_tokens_per_s", "1/s", "cached tokens of one sequence walked", 1e3, 1e13),
        _rate("flops_per_s", "1/s", "floating-point operations", 1e9, 1e17),
        _rate("gemm_flops_per_s", "1/s", "operations of products with weights", 1e9, 1e17),
        _rate("attention_flops_per_s", "1/s", "operations of attention", 1e9, 1e17),
        _rate("prompts_per_s", "1/s", "prompts that one layer attends to", 1e1, 1e13),
    )
}
"""Rates at the reference clock. The upper bounds are far above any hardware: a rate that rests on
one belongs to a term that the points do not show."""

EXTRA_AMOUNTS: Mapping[str, str] = {
    "attention_flops_per_s": "attention_flops",
    "tile_tokens": "gemm_flops",
    "activation_bytes_per_s": "activation_bytes",
    "walked_tokens_per_s": "kv_walks",
    "prompts_per_s": "attended_prompts",
}
"""What the extra terms are measured by, and what of a step's demand each belongs to: where steps
ask for it and it is not told, its term is not shown."""

_TILE = Coefficient("tile_tokens", "1", 0.0, 4096.0, "tokens that unfilled tiles add to a step")

_FIRST_TILE = 32.0

_OVERLAP = Coefficient("overlap", "1", 1.0, 12.0, "overlap of memory and compute time: 1 is none")


_LEAST_COMPUTE_SHARE = 0.3
"""The SM clock sets the pace of products. One of 8192 x 8192 in bfloat16 moved by 0.54 of it on an
H100 between 1500 and 1980 MHz, and by 0.76 near 1500 (November 2026). Fits that find less take for
the clock's doing that loads which draw more power run at lower ones."""


def _share(name: str) -> Coefficient:
    what = name.removesuffix("_clock_share")
    meaning = f"share of {what} time that grows as the clock falls"
    least = _LEAST_COMPUTE_SHARE if what == "compute" else 0.0
    return Coefficient(name, "1", least, 1.0, meaning, assumed=(0.5, 0.29))


def _p_norm(first: Array, second: Array, p: Array) -> Array:
    largest = np.maximum(np.maximum(first, second), 1e-300)
    least = np.minimum(first, second)
    return np.asarray(largest * (1 + (least / largest) ** p) ** (1 / p))


def _first(
    terms: Roofline, amounts: dict[str, Array], target: Array, clock: Array
) -> dict[str, float]:
    """Return rates and shares to begin from."""
    columns = _columns(terms)
    if terms.launch is not Launch.OVERLAPPED:
        return _additive(columns, amounts, target, clock)
    # No step is faster than its launches; steps that are clearly slower tell of the device.
    launch_s = float(np.min(target / amounts["launches"]))
    slower = target > _CLEARLY * launch_s * amounts["launches"]
    if np.sum(slower) < 2 * len(columns):
        slower = np.ones(target.size, dtype=np.bool_)
    kept = {name: np.broadcast_to(amount, target.shape)[slower] for name, amount in amounts.items()}
    return {**_additive(columns[1:], kept, target[slower], clock[slower]), "launch_s": launch_s}


_CLEARLY = 1.2


def _additive(
    columns: Sequence[_Column], amounts: dict[str, Array], target: Array, clock: Array
) -> dict[str, float]:
    """Return rates and shares that solve the form without overlap, which is linear in costs."""
    taken: dict[str, Array] = {}
    shares: dict[str, str | None] = {}
    for column in columns:
        taken[column.rate] = taken.get(column.rate, 0.0) + np.asarray(amounts[column.amount])
        shares[column.rate] = column.share
    design, owners = [], []
    for rate, amount in taken.items():
        design.append(amount / target)
        owners.append((rate, False))
        if shares[rate] is not None:
            design.append(amount / (clock * target))
            owners.append((rate, True))
    matrix = np.column_stack(design)
    scale = np.maximum(np.linalg.norm(matrix, axis=0), 1e-300)
    costs = scipy.optimize.nnls(matrix / scale, np.ones(target.size))[0] / scale
    found = dict.fromkeys(taken, 0.0)
    clocked = dict.fromkeys(found, 0.0)
    for (rate, grows), cost in zip(owners, costs.tolist(), strict=True):
        found[rate] += cost
        clocked[rate] += cost if grows else 0.0
    solved: dict[str, float] = {}
    for rate, amount in taken.items():
        typical = float(np.median(target / np.maximum(amount, 1e-300)))
        least = max(_LEAST_SHARE * typical, 1e-300)
        cost = max(found[rate], least) if np.any(amount) else 0.0
        solved[rate] = cost if rate == "launch_s" else (1 / cost if cost else math.inf)
        share = shares[rate]
        if share is not None and share not in solved:
            known = found[rate] > least
            grown = clocked[rate] / found[rate] if known else 0.5
            solved[share] = float(np.clip(grown, 0.02, 0.98))
    return solved


def _formula(terms: Roofline) -> str:
    weights, cache = "weights/bw", "KV/bw"
    if not terms.one_bandwidth:
        weights, cache = "weights/bw_w", "KV/bw_kv"
    beside = [cache]
    beside += ["activations/bw_a"] * (Extra.ACTIVATIONS in terms.extras)
    beside += ["walk"] * (Extra.WALK in terms.extras)
    memory = " + ".join([weights] if terms.streams else [weights, *beside])
    compute = "gemm/F + attention/F" if Extra.ATTENTION in terms.extras else "flops/F"
    compute += " + prompts" if Extra.PROMPTS in terms.extras else ""
    if Extra.TILES in terms.extras:
        compute += ", gemm for tile_tokens more"
    device = f"(({memory})^p + ({compute})^p)^(1/p)" if terms.overlap else f"{memory} + {compute}"
    device = " + ".join([device, *(beside if terms.streams else [])])
    clocked = terms.launch in (Launch.CLOCKED, Launch.NONE)
    shared = f"each term {'' if clocked else 'but launches '}times 1 - s + s/x"
    if terms.launch is Launch.NONE:
        return f"T = {device}, {shared}"
    if terms.launch is Launch.OVERLAPPED:
        return f"T = max(launches, {device}), {shared}"
    return f"T = launches + {device}, {shared}"


_EXTRAS = [frozenset(some) for n in range(len(Extra) + 1) for some in combinations(Extra, n)]

_STRUCTURES: tuple[Roofline, ...] = tuple(
    Roofline(launch, one, overlap, extras, streams)
    for launch, one, overlap in product(Launch, (False, True), (True, False))
    for streams in (False, True)
    for extras in _EXTRAS
)

ROOFLINES: dict[Roofline, Form] = {terms: roofline(terms) for terms in _STRUCTURES}
"""The form of every combination of terms."""

ROOFLINE_FORMS: tuple[Form, ...] = tuple(ROOFLINES.values())
"""Time of one step of any batch and length; x = f / f_ref."""
