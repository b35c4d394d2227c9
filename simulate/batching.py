"""Batching modes as values: one request at a time, in batches of a size, or iteration by iteration.

In: what follows ``--batching`` and its options. Out: frozen values that a scenario embeds, and the
:class:`Limits` that a scheduler works within.
"""

from dataclasses import dataclass, field, replace

from model.calibration import Calibration
from phasewatt.errors import BadOption

BLOCK_TOKENS = 16
"""Tokens of one KV-cache block: vLLM's default ``--block-size`` on CUDA."""

MEMORY_SHARE = 0.9
"""Share of GPU memory that an engine may use: vLLM's default ``--gpu-memory-utilization``."""

BYTES_PER_VALUE = 2
"""Of weights and KV cache: bfloat16 or float16, as calibrations are measured."""

MAX_BATCHED_TOKENS = 8192
MAX_SEQUENCES = 1024
"""What vLLM V1 sets for its server on GPUs with 70 GiB and more (not A100), in
``EngineArgs.get_batch_defaults``; 2048 and 256 on others."""

LINK_GB_PER_S = 50.0
"""Assumed unless given: a 400 Gb/s port, such as NDR InfiniBand, at its nominal rate."""

UNLIMITED = 1 << 60


@dataclass(frozen=True)
class Alone:
    """One request at a time."""

    mode: str = field(default="none", init=False)

    @property
    def words(self) -> str:
        """How a report puts it."""
        return "one request at a time"


@dataclass(frozen=True)
class Static:
    """Up to ``size`` waiting requests are prefilled together and decoded until the longest ends."""

    size: int
    mode: str = field(default="static", init=False)

    @property
    def words(self) -> str:
        """How a report puts it."""
        return f"batches of up to {self.size}"


@dataclass(frozen=True)
class Continuous:
    """Requests join and leave between steps, as in vLLM V1.

    Attributes:
        max_batched_tokens: tokens that one step computes at most.
        max_sequences: requests that run at once at most.
        kv_blocks: KV-cache blocks of a replica; None reckons them from the GPU's memory.
    """

    max_batched_tokens: int = MAX_BATCHED_TOKENS
    max_sequences: int = MAX_SEQUENCES
    kv_blocks: int | None = None
    mode: str = field(default="continuous", init=False)

    @property
    def words(self) -> str:
        """How a report puts it."""
        blocks = "?" if self.kv_blocks is None else f"{self.kv_blocks:,}"
        return (
            f"continuous batching: up to {self.max_sequences:,} requests and "
            f"{self.max_batched_tokens:,} tokens a step, {blocks} KV-cache blocks"
        )


@dataclass(frozen=True)
class Disaggregated:
    """One pool of replicas prefills, another decodes; both batch as ``engine`` says.

    Attributes:
        prefill_replicas: replicas that prefill.
        decode_replicas: replicas that decode.
        link_gb_per_s: bandwidth between the pools, in 10^9 bytes a second.
        engine: limits of each replica.
    """

    prefill_replicas: int
    decode_replicas: int
    link_gb_per_s: float = LINK_GB_PER_S
    engine: Continuous = field(default_factory=Continuous)
    mode: str = field(default="disaggregated", init=False)

    @property
    def words(self) -> str:
        """How a report puts it."""
        return (
            f"{self.prefill_replicas} prefilling and {self.decode_replicas} decoding over a link "
            f"of {self.link_gb_per_s:g} GB/s; {self.engine.words}"
        )


Batching = Alone | Static | Continuous | Disaggregated


@dataclass(frozen=True)
class Limits:
    """What a scheduler may do.

    Attributes:
        batched_tokens: tokens that one step computes at most.
        sequences: requests that run at once at most.
        kv_blocks: KV-cache blocks that they may hold.
        refills: whether requests join others that run, or only an empty replica.
    """

    batched_tokens: int
    sequences: int
    kv_blocks: int
    refills: bool


def parse_batching(
    text: str,
    max_batched_tokens: int | None = None,
    max_sequences: int | None = None,
    kv_blocks: int | None = None,
    link_gb_per_s: float | None = None,
) -> Batching:
    """Read ``none``, ``static:N``, ``continuous`` or ``disaggregated:P:D``.

    The first three numbers belong to the latter two, the link to the last.

    Raises:
        BadOption: another mode, a number below 1, or a number that its mode does not have.
    """
    given = {
        "--max-batched-tokens": max_batched_tokens,
        "--max-num-seqs": max_sequences,
        "--kv-blocks": kv_blocks,
    }
    mode, _, size = text.partition(":")
    for option, number in given.items():
        if number is not None and number < 1:
            raise BadOption(f"{option}: found {number}; expected 1 or more")
        if number is not None and mode not in ("continuous", "disaggregated"):
            raise BadOption(f"{option} belongs to --batching continuous; found {text!r}")
    if link_gb_per_s is not None and mode != "disaggregated":
        raise BadOption(f"--link-gb-per-s belongs to --batching disaggregated; found {text!r}")
    if link_gb_per_s is not None and not 0 < link_gb_per_s < float("inf"):
        raise BadOption(f"--link-gb-per-s: found {link_gb_per_s:g}; expected more than 0")
    if text == "none":
        return Alone()
    if mode == "static" and size.isdecimal() and int(size) >= 1:
        return Static(int(size))
    pools = size.split(":")
    disaggregated = mode == "disaggregated" and len(pools) == 2
    if disaggregated:
        disaggregated = all(pool.isdecimal() and int(pool) >= 1 for pool in pools)
    if text != "continuous" and not disaggregated:
        raise BadOption(
            f"--batching: found {text!r}; expected none, static:N, continuous or disaggregated:P:D"
        )
    tokens = MAX_BATCHED_TOKENS if max_batched_tokens is None else max_batched_tokens
    sequences = min(MAX_SEQUENCES, tokens) if max_sequences is None else max_sequences
    if sequences > tokens:
        raise BadOption(
            f"--max-num-seqs: found {sequences}; expected at most --max-batched-tokens, {tokens}, "
            "since each running request takes a token of every step"
        )
    engine = Continuous(tokens, sequences, kv_blocks)
    if not disaggregated:
        return engine
    link = LINK_GB_PER_S if link_gb_per_s is None else link_gb_per_s
    return Disaggregated(int(pools[0]), int(pools[1]), link, engine)


def with_blocks(batching: Batching, calibration: Calibration, model: str) -> Batching:
    """Return ``batching`` with the KV-cache blocks of ``model`` reckoned where none are given.

    They fill what weights leave of :data:`MEMORY_SHARE` of the GPU's memory; what activations need
    is not counted.

    Raises:
        BadOption: nobody knows the memory or the model's shape, or the weights do not fit.
    """
    if isinstance(batching, Disaggregated):
        engine = with_blocks(batching.engine, calibration, model)
        assert isinstance(engine, Continuous)
        return replace(batching, engine=engine)
    if not isinstance(batching, Continuous) or batching.kv_blocks is not None:
        return batching
    geometry, memory_bytes = calibration.geometry_of(model), calibration.gpu.memory_bytes
    if geometry is None or memory_bytes is None:
        unknown = f"the memory of {calibration.gpu.name}" if geometry else f"the shape of {model}"
        raise BadOption(
            f"the calibration does not tell {unknown}, so its KV cache cannot be reckoned: "
            f"pass --kv-blocks N, in blocks of {BLOCK_TOKENS} tokens"
        )
    weight_bytes = geometry.parameters * BYTES_PER_VALUE
    block_bytes = BLOCK_TOKENS * geometry.kv_bytes_per_token(BYTES_PER_VALUE)
    blocks = int((MEMORY_SHARE * memory_bytes - weight_bytes) // block_bytes)
    if blocks < 1:
        raise BadOption(
            f"the weights of {model} take {weight_bytes / 1e9:.1f} GB and leave no KV cache in "
            f"{MEMORY_SHARE:.0%} of {memory_bytes / 1e9:.1f} GB: pass --kv-blocks N to try anyway"
        )
    return replace(batching, kv_blocks=blocks)


def limits_of(batching: Static | Continuous | Disaggregated) -> Limits:
    """Return what a scheduler may do under ``batching``, whose blocks must be known."""
    if isinstance(batching, Static):
        return Limits(UNLIMITED, batching.size, UNLIMITED, refills=False)
    if isinstance(batching, Disaggregated):
        return limits_of(batching.engine)
    assert batching.kv_blocks is not None
    return Limits(
        batching.max_batched_tokens, batching.max_sequences, batching.kv_blocks, refills=True
    )
