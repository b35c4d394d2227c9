"""What a form is: a named shape with coefficients, and what it is evaluated on.

In: steps of work. Out: the nouns :class:`Form`, :class:`Coefficient` and :class:`Inputs`; the
forms themselves live in :mod:`model.forms` and :mod:`model.roofline`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from model.geometry import Demand, demand_of
from model.work import Array, Phase, Work


@dataclass(frozen=True)
class Coefficient:
    """One free number of a form: its name, unit, physical bounds and meaning.

    ``reciprocal`` says that the form is nearly linear in its inverse (a rate divides an amount),
    so that fits solve for that; ``of_gpu`` that it belongs to the GPU, not to what runs on it.
    ``assumed`` is the mean and standard deviation to take where nothing was measured that could
    tell it: the clock never moved.
    """

    name: str
    unit: str
    lower: float
    upper: float
    meaning: str
    reciprocal: bool = False
    of_gpu: bool = False
    assumed: tuple[float, float] | None = None


@dataclass(frozen=True)
class Activity:
    """What keeps the GPU busy: shares of the step's time at the reference clock, shape (n,)."""

    memory: Array
    compute: Array


@dataclass(frozen=True)
class Parts:
    """What a step's time is made of, each in seconds, shape (n,).

    They add up to the step's time or more: memory and compute may overlap. Streams are memory time
    of kernels of their own, such as those of attention and norms, which overlap nothing.
    """

    launch_s: Array
    memory_s: Array
    compute_s: Array
    stream_s: Array


@dataclass(frozen=True)
class Inputs:
    """What a form is evaluated on.

    Attributes:
        clock: SM clock divided by the form's reference clock, shape (n,).
        work: the steps, each column of shape (n,).
        phase: the phase that the steps belong to.
        constants: fixed numbers of the form, such as bytes of weights; each one number, or where
            steps of several models are stacked, one a step, shape (n,).
        activity: what keeps the GPU busy, for power forms that need it.
    """

    clock: Array
    work: Work
    phase: Phase
    constants: Mapping[str, float | Array]
    activity: Activity | None = None

    @cached_property
    def demand(self) -> Demand:
        """What the steps ask of the GPU; a fit asks for it again and again."""
        return demand_of(self.constants, self.work)

    @property
    def units(self) -> Array:
        """How often the step repeats its unit of work: tokens in prefill, one step in decode."""
        if self.phase is Phase.PREFILL:
            return self.work.prefill_tokens
        return np.ones_like(self.work.decode_batch)


Coefficients = tuple[Array, ...]


@dataclass(frozen=True)
class Form:
    """A named shape: its coefficients, how it is evaluated, and where a fit may start.

    ``evaluate(coefficients, inputs)`` broadcasts: coefficients of shape (draws, 1) against inputs
    of shape (n,) give (draws, n). ``starts(target, inputs)`` proposes coefficient vectors.
    ``varies_with_work`` says whether the value depends on the step beyond its units of work;
    ``needs_activity`` whether :attr:`Inputs.activity` must be given; ``parts`` splits a time into
    what it is made of, where the form knows, and ``total`` puts a time together from its parts.
    """

    name: str
    formula: str
    coefficients: tuple[Coefficient, ...]
    evaluate: Callable[[Coefficients, Inputs], Array]
    starts: Callable[[Array, Inputs], list[list[float]]]
    varies_with_work: bool = False
    needs_activity: bool = False
    parts: Callable[[Coefficients, Inputs], Parts] | None = None
    total: Callable[[Coefficients, Parts], Array] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the coefficients, in order."""
        return tuple(c.name for c in self.coefficients)

    def activity(
        self, coefficients: Coefficients, constants: Mapping[str, float | Array], work: Work
    ) -> Activity:
        """Return the shares of each step's time that memory and compute take at x = 1.

        The form must be one that knows the parts of a time; such forms read the phase from the
        work.
        """
        assert self.parts is not None
        assert self.total is not None
        at = Inputs(np.ones(work.shape), work, Phase.DECODE, constants)
        parts = self.parts(coefficients, at)
        whole_s = self.total(coefficients, parts)
        memory_s = parts.memory_s + parts.stream_s
        return Activity(memory_s / whole_s, parts.compute_s / whole_s)
