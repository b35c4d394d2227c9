"""One replica on several GPUs: each layer is split over them, and every GPU waits for all.

In: a calibration of one GPU, how many there are, the links between them. Out: a calibration of all
of them as one. A stated model, not a measurement: assumed until somebody measures.

Each GPU has a part of the heads, of the MLP's columns and of the vocabulary, as in Megatron-LM
(Shoeybi et al., arXiv 1909.08053, section 3): its weights, KV cache, flops and most activations
are divided, its kernels and the streams of the hidden state are not. Each layer ends its attention
and its MLP with an all-reduce of the hidden states of the step's tokens. Nothing else is exchanged.
"""

from dataclasses import dataclass, replace

from model.calibration import Calibration
from model.curves import Curves
from model.exchange import EXCHANGE_S, EXCHANGE_S_PER_TOKEN
from model.fitted import FittedForm
from model.geometry import Geometry
from model.gpu import Gpu
from model.provenance import Kind, Origin
from phasewatt.errors import BadCalibration

LINK_GB_PER_S = 450.0
"""Assumed unless given: NVLink of an H100 SXM, 900 GB/s both ways (NVIDIA's data sheet)."""

LATENCY_S = 6.6e-6
HOP_S = 0.6e-6
"""Assumed: what an all-reduce of a small message takes, and each hop of its ring over NVLink, in
NCCL's own table of costs (``src/graph/tuning.cc``, ``baseLat`` and ``hwLat`` of ring and LL)."""

ALL_REDUCES_PER_LAYER = 2

_BYTES_PER_VALUE = 2
_HIDDEN_STREAMS = 15
"""How often a token's hidden state is streamed, as in :meth:`model.geometry.Geometry.constants`."""


@dataclass(frozen=True)
class Links:
    """What joins the GPUs of one replica.

    Attributes:
        gb_per_s: bandwidth of each GPU's links in one direction, in 10^9 bytes a second.
        latency_s: what an all-reduce of nothing takes, hops left out.
    """

    gb_per_s: float = LINK_GB_PER_S
    latency_s: float = LATENCY_S


def all_reduce_s(message_bytes: float, gpus: int, links: Links) -> float:
    """Return the seconds of one all-reduce in a ring of ``gpus``.

    2 (n - 1) hops, in which each GPU sends 2 (n - 1) / n of the message (Patarasuk and Yuan,
    J. Parallel Distrib. Comput. 69, 2009).
    """
    sent_bytes = 2 * (gpus - 1) / gpus * message_bytes
    return links.latency_s + 2 * (gpus - 1) * HOP_S + sent_bytes / (1e9 * links.gb_per_s)


def tensor_parallel(calibration: Calibration, gpus: int, links: Links) -> Calibration:
    """Return ``calibration`` with ``gpus`` GPUs as one, for those models that can be split.

    Power, its limits and idle power are those of all GPUs together, and so is the memory. Clocks
    are the same on all.

    Raises:
        BadCalibration: none of its models can be split so.
    """
    if gpus == 1:
        return calibration
    wide = {g.name: _spread(g, gpus) for g in calibration.geometries if not _why_not(g, gpus)}
    found, refused = [], []
    for curves in calibration.curves:
        reason = _why_not_curves(curves, calibration.geometry_of(curves.model), gpus)
        if reason:
            refused.append(reason)
        else:
            geometry = calibration.geometry_of(curves.model)
            assert geometry is not None
            found.append(_split(curves, geometry, wide[curves.model], gpus, links))
    if not found:
        raise BadCalibration(f"--tensor-parallel {gpus}: {refused[0]}")
    return replace(
        calibration,
        gpu=_together(calibration.gpu, gpus),
        curves=tuple(found),
        geometries=tuple(wide.get(g.name, g) for g in calibration.geometries),
    )


def _why_not(geometry: Geometry, gpus: int) -> str:
    heads, groups = geometry.num_attention_heads, geometry.num_key_value_heads
    if heads % gpus or geometry.intermediate_size % gpus:
        return (
            f"{geometry.name} has {heads} heads and an MLP of {geometry.intermediate_size}; "
            "expected a number of GPUs that divides both"
        )
    if groups % gpus and gpus % groups:
        return f"{geometry.name} has {groups} key-value heads; expected a divisor or a multiple"
    return ""


def _why_not_curves(curves: Curves, geometry: Geometry | None, gpus: int) -> str:
    form = curves.time.form
    if curves.time.definition.total is None or not curves.power.definition.needs_activity:
        return (
            f"{curves.phase} of {curves.model} has time form {form!r}, which knows nothing of "
            "bytes and flops; expected structured curves, which calibrate fits to several batches"
        )
    if "overlapped launch" in form:
        return (
            f"{curves.phase} of {curves.model} in {curves.engine} has time form {form!r}, where "
            "launches hide what an exchange takes; expected an engine that launches graphs"
        )
    if geometry is None:
        return f"the calibration does not tell the shape of {curves.model}"
    return _why_not(geometry, gpus)


def _spread(geometry: Geometry, gpus: int) -> Geometry:
    """Return ``geometry`` with key-value heads for every GPU: where there are too few, copies."""
    return replace(geometry, num_key_value_heads=max(geometry.num_key_value_heads, gpus))


def _split(curves: Curves, geometry: Geometry, wide: Geometry, gpus: int, links: Links) -> Curves:
    whole, all_parts = geometry.constants(), wide.constants()
    part = {key: all_parts[key] / whole[key] / gpus for key in _DIVIDED}
    layers = geometry.num_hidden_layers
    stays = layers * _HIDDEN_STREAMS * geometry.hidden_size * _BYTES_PER_VALUE
    activations = all_parts["activation_bytes_per_token"]
    part["activation_bytes_per_token"] = (stays + (activations - stays) / gpus) / whole[
        "activation_bytes_per_token"
    ]
    token_bytes = float(geometry.hidden_size * _BYTES_PER_VALUE)
    all_reduces = ALL_REDUCES_PER_LAYER * layers / curves.time.scale
    latency_s = all_reduce_s(0.0, gpus, links)
    constants = {key: part.get(key, 1.0) * each for key, each in curves.time.constants.items()}
    constants[EXCHANGE_S] = all_reduces * latency_s
    constants[EXCHANGE_S_PER_TOKEN] = all_reduces * (
        all_reduce_s(token_bytes, gpus, links) - latency_s
    )
    limit_w = curves.governor_limit_w
    power: FittedForm = replace(curves.power, scale=gpus * curves.power.scale)
    return replace(
        curves,
        time=replace(curves.time, constants=constants),
        power=power,
        governor_limit_w=None if limit_w is None else gpus * limit_w,
        origin=_assumed(gpus, curves.origin),
    )


_DIVIDED = (
    "weight_bytes",
    "kv_bytes_per_token",
    "gemm_flops_per_token",
    "head_flops_per_sequence",
    "attention_flops_per_pair",
)


def _together(gpu: Gpu, gpus: int) -> Gpu:
    return replace(
        gpu,
        power_limit_w=gpus * gpu.power_limit_w,
        idle_power_w=None if gpu.idle_power_w is None else gpus * gpu.idle_power_w,
        memory_bytes=None if gpu.memory_bytes is None else gpus * gpu.memory_bytes,
    )


def _assumed(gpus: int, origin: Origin) -> Origin:
    return replace(
        origin,
        kind=Kind.ASSUMED,
        source=f"{gpus} GPUs of a tensor-parallel replica, from one GPU: {origin.source}",
    )
