"""A fingerprint of what a trace says, whatever it is called and wherever it came from.

In: a trace. Out: SHA-256 over its columns.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traces.trace import PER_MODEL, TEXT_COLUMNS, Trace


def digest(trace: Trace) -> str:
    """Return ``sha256:...`` over all columns of ``trace``; equal queries have equal digests."""
    hashed = hashlib.sha256()
    for name, content in _columns(trace):
        hashed.update(f"{name}:{len(content)}:".encode())
        hashed.update(content)
    return f"sha256:{hashed.hexdigest()}"


def _columns(trace: Trace) -> Iterator[tuple[str, bytes]]:
    yield "arrival_s", trace.arrival_s.astype("<f8").tobytes()
    yield "prompt_tokens", trace.prompt_tokens.astype("<i8").tobytes()
    yield "output_tokens", trace.output_tokens.astype("<i8").tobytes()
    for column in TEXT_COLUMNS:
        texts = getattr(trace, column)
        if texts is not None:
            yield f"{column} lengths", _lengths(pc.binary_length(texts))
            yield column, "".join(texts.fill_null("").to_pylist()).encode()
    for column in PER_MODEL:
        for model, values in sorted(getattr(trace, column).items()):
            yield f"{column} {model}", np.asarray(values).astype("<f8").tobytes()
    if trace.priority is not None:
        yield "priority", trace.priority.astype("<i8").tobytes()
    if trace.block_hashes is not None:
        yield "block_hashes lengths", _lengths(pc.list_value_length(trace.block_hashes))
        yield "block_hashes", _integers(trace.block_hashes.flatten())


def _lengths(lengths: pa.Array) -> bytes:
    return _integers(lengths.fill_null(-1))


def _integers(values: pa.Array) -> bytes:
    return np.asarray(values.to_numpy(zero_copy_only=False)).astype("<i8").tobytes()
