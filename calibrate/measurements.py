"""Measured points of one GPU as columns: what a fit reads, whoever measured.

In: columns, from a user's table (:mod:`calibrate.table`) or from a campaign's log. Out: a
validated :class:`Study`, the points with the GPU and the provenance that they belong to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.geometry import Geometry
from model.gpu import Gpu
from model.host import HostPower
from model.provenance import Provenance
from model.work import Array, Phase, Work

Strings = NDArray[np.str_]


@dataclass(frozen=True)
class Measurements:
    """Measured points as columns of shape (n,); a repeat of a point is a row of its own.

    Attributes:
        model, engine, phase: names; phase is "prefill" or "decode".
        dtype: "bfloat16", "float16" or "" where nobody told.
        sm_mhz: SM clock that was achieved under load.
        mem_mhz: memory clock; NaN where nobody told.
        batch: sequences in the step.
        prompt_tokens: tokens of each prompt in prefill; 0 in decode.
        context_tokens: tokens in the KV cache of each sequence in decode; 0 in prefill.
        time_s: time of one step.
        power_w: mean board power while the step repeats.
        time_error, power_error: relative standard errors of both; NaN where nobody told.
        stock: whether the clock was the untouched governor's own choice under this load alone.
    """

    model: Strings
    engine: Strings
    phase: Strings
    dtype: Strings
    sm_mhz: Array
    mem_mhz: Array
    batch: Array
    prompt_tokens: Array
    context_tokens: Array
    time_s: Array
    power_w: Array
    time_error: Array
    power_error: Array
    stock: NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.time_s.size)

    def rows(self, chosen: NDArray[np.bool_]) -> "Measurements":
        """Return the points where the boolean array ``chosen`` is true."""
        return Measurements(**{name: column[chosen] for name, column in vars(self).items()})

    def work(self, phase: Phase) -> Work:
        """Return the points' work as steps of ``phase``, shape (n,)."""
        if phase is Phase.PREFILL:
            return Work.prefill(self.batch, self.prompt_tokens)
        return Work.decode(self.batch, self.context_tokens)


@dataclass(frozen=True)
class Study:
    """Everything that a calibration is fitted from.

    ``geometries`` are the shapes of models by name, where :data:`model.geometry.GEOMETRIES` does
    not hold them; ``believed`` is what else was found of the GPU's own coefficients of power: mean
    and standard deviation by name; ``host`` is the power of the node around the GPU, if measured.
    """

    name: str
    gpu: Gpu
    provenance: Provenance
    measurements: Measurements
    geometries: Mapping[str, Geometry] = field(default_factory=dict)
    believed: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    host: HostPower | None = None
