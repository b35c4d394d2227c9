"""What one engine step does: the argument of every curve.

In: batch sizes and token counts. Out: :class:`Work`, whose fields are arrays, one entry per step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Phase(StrEnum):
    """The two phases of LLM inference."""

    PREFILL = "prefill"
    DECODE = "decode"


@dataclass(frozen=True)
class Work:
    """Engine steps as columns; every field is a float array of the same (broadcast) shape.

    Attributes:
        prefill_batch: sequences whose prompt tokens this step computes.
        prefill_tokens: prompt tokens that this step computes, summed over its sequences.
        attended_pairs: query-key pairs that those tokens attend to, summed.
        decode_batch: sequences for which this step generates one token.
        context_tokens: tokens in the KV caches of those sequences, summed.
    """

    prefill_batch: Array
    prefill_tokens: Array
    attended_pairs: Array
    decode_batch: Array
    context_tokens: Array

    @staticmethod
    def prefill(batch: ArrayLike, prompt_tokens: ArrayLike) -> "Work":
        """Return steps that each compute ``batch`` whole prompts of ``prompt_tokens`` tokens."""
        sequences, prompt = _broadcast(batch, prompt_tokens)
        none = np.zeros_like(sequences)
        pairs = sequences * prompt * (prompt + 1) / 2
        return Work(sequences, sequences * prompt, pairs, none, none)

    @staticmethod
    def decode(batch: ArrayLike, context_tokens: ArrayLike) -> "Work":
        """Return steps that generate one token for each of ``batch`` sequences.

        ``context_tokens`` is the number of tokens in the KV cache of *each* sequence.
        """
        sequences, context = _broadcast(batch, context_tokens)
        none = np.zeros_like(sequences)
        return Work(none, none, none, sequences, sequences * context)

    @staticmethod
    def stacked(parts: Sequence["Work"]) -> "Work":
        """Return the steps of all ``parts``, each of shape (n_i,), one after another."""
        columns = [[getattr(part, field.name) for part in parts] for field in fields(Work)]
        return Work(*map(np.concatenate, columns))

    @property
    def shape(self) -> tuple[int, ...]:
        """The common shape of the columns."""
        return self.prefill_tokens.shape

    def alone(self) -> "tuple[Work, Work]":
        """Return what the prefill and what the decode of each step would be alone."""
        none = np.zeros_like(self.prefill_tokens)
        prefill = Work(self.prefill_batch, self.prefill_tokens, self.attended_pairs, none, none)
        return prefill, Work(none, none, none, self.decode_batch, self.context_tokens)

    def at(self, index: ArrayLike | slice) -> "Work":
        """Return the steps at ``index`` along the first axis."""
        chosen = index if isinstance(index, slice) else np.asarray(index)
        return Work(
            self.prefill_batch[chosen],
            self.prefill_tokens[chosen],
            self.attended_pairs[chosen],
            self.decode_batch[chosen],
            self.context_tokens[chosen],
        )

    def expanded(self) -> "Work":
        """Return the same steps with a trailing axis of length one, to broadcast against clocks."""
        return Work(
            self.prefill_batch[..., None],
            self.prefill_tokens[..., None],
            self.attended_pairs[..., None],
            self.decode_batch[..., None],
            self.context_tokens[..., None],
        )


def _broadcast(first: ArrayLike, second: ArrayLike) -> tuple[Array, Array]:
    one, two = np.broadcast_arrays(
        np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    )
    return one.copy(), two.copy()
