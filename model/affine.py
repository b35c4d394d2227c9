"""The prices of structured curves, fast: the parts of a time are affine in what a step counts.

In: curves whose time knows its parts and whose power knows what is busy. Out: the same prices as
:class:`model.pricing.CurvePrices`, from a few products with matrices that are worked out once.
"""

import copy

import numpy as np

from model.activity import LEAST_VOLTAGE, switching
from model.curves import Curves
from model.gpu import Gpu, Load
from model.mixed import MixedCurves, mixed_curves
from model.pricing import CurvePrices, Priced, Step, StepPrices
from model.shape import Coefficients, Inputs, Parts
from model.single import MixedSingle, Single
from model.work import Array, Phase, Work

_AMOUNT = 2.0**40
"""Far more of anything than a step asks for, so that no constant drowns what it costs."""

_NEWTON_STEPS = 3
"""From a start within 1e-3, each step squares the error; the curve is convex."""

_GRID = np.linspace(0.0, 2.0, 2001)
"""Relative clocks at which the voltage curve is tabled, to start from."""

_COUNTED = np.arange(4096.0)
"""The numbers of steps that follow each other; runs are seldom longer."""


class AffinePrices:
    """Prices steps as :class:`model.pricing.CurvePrices` does, to rounding.

    The curves must be structured, and both phases' power must have the voltage curve of one GPU
    (:func:`is_affine`).
    """

    def __init__(self, prefill: Curves, decode: Curves, gpu: Gpu, cap_w: float | None) -> None:
        mixed = MixedCurves(prefill, decode)
        self._by_curves = CurvePrices(prefill, decode, gpu, cap_w, mixed)
        self._gpu = gpu
        self._prefill, self._decode = _Affine(prefill), _Affine(decode)
        self._forms: dict[tuple[bool, bool], _Affine | _Mixed] = {
            (True, False): self._prefill,
            (False, True): self._decode,
            (True, True): self._prefill if mixed.shared else _Mixed(self._prefill, self._decode),
        }
        self._kinds: dict[tuple[bool, bool], Load] = {
            (True, False): prefill,
            (False, True): decode,
            (True, True): mixed,
        }
        self._loads = self._limits(cap_w)

    def price(self, step: Step, steps: int, asked_mhz: float) -> Priced:
        """Return what ``step`` costs; see :meth:`model.pricing.StepPrices.price`.

        What cannot hold is left to the curves, which say why.
        """
        if steps == 1:
            return self._single(step, asked_mhz)
        kind = step.prefill_tokens > 0, step.decode_batch > 0
        low_mhz, high_mhz, limit_w = self._loads[kind]
        form, voltage = self._forms[kind], self._prefill
        parts = form.parts(step, steps)
        static_w, dynamic_w = form.powers_w(parts)
        target = min(_at_least(low_mhz, step, asked_mhz), high_mhz)
        power_w = static_w + dynamic_w * voltage.switching(target)
        over = power_w > limit_w
        held: float | Array = target
        if over.any():
            at_bottom_w = static_w + dynamic_w * voltage.switching(low_mhz)
            if np.any(at_bottom_w > limit_w):
                return self._by_curves.price(step, steps, asked_mhz)
            held = np.full(steps, target)
            held[over] = voltage.clock_mhz((limit_w - static_w[over]) / dynamic_w[over])
            power_w = np.where(over, limit_w, power_w)
        if target < low_mhz or (high_mhz < asked_mhz < np.inf and not over.all()):
            return self._by_curves.price(step, steps, asked_mhz)
        return Priced(form.time_s(parts, held), power_w, np.full(steps, held))

    def _single(self, step: Step, asked_mhz: float) -> Priced:
        kind = step.prefill_tokens > 0, step.decode_batch > 0
        low_mhz, high_mhz, limit_w = self._loads[kind]
        single, voltage = self._forms[kind].single, self._prefill
        parts = single.parts(step)
        static_w, dynamic_w = single.level(parts)
        held = min(_at_least(low_mhz, step, asked_mhz), high_mhz)
        power_w = static_w + dynamic_w * voltage.switching(held)
        over = power_w > limit_w
        if held < low_mhz or (over and static_w + dynamic_w * voltage.switching(low_mhz) > limit_w):
            return self._by_curves.price(step, 1, asked_mhz)
        if over:
            held = voltage.single.clock_mhz((limit_w - static_w) / dynamic_w)
            power_w = limit_w
        elif high_mhz < asked_mhz < np.inf:
            return self._by_curves.price(step, 1, asked_mhz)
        return Priced(np.array([single.time_s(parts, held)]), np.array([power_w]), np.array([held]))

    def at_clocks(self, step: Step, steps: int, sm_mhz: Array) -> Priced:
        """Return what ``step`` costs at clocks that hold, whatever the power limit."""
        form = self._forms[step.prefill_tokens > 0, step.decode_batch > 0]
        parts = form.parts(step, steps)
        static_w, dynamic_w = form.powers_w(parts)
        power_w = static_w + dynamic_w * self._prefill.switching_at(sm_mhz)
        return Priced(form.time_s(parts, sm_mhz), power_w, sm_mhz)

    def lowest_mhz(self, step: Step) -> float:
        """Return the lowest clock at which such a step was calibrated."""
        return self._loads[step.prefill_tokens > 0, step.decode_batch > 0][0]

    def capped(self, cap_w: float) -> "AffinePrices":
        """Return the prices under another power limit in watts."""
        other = copy.copy(self)
        other._by_curves = self._by_curves.capped(cap_w)
        other._loads = self._limits(cap_w)
        return other

    def _limits(self, cap_w: float | None) -> dict[tuple[bool, bool], tuple[float, float, float]]:
        return {
            key: (*load.domain.sm_mhz, self._gpu.limit_w(load, cap_w))
            for key, load in self._kinds.items()
        }

    def prefill_time_share(self, step: Step, sm_mhz: float) -> float:
        """Return the part of a mixed step that is prefill's."""
        prefill, decode = step.alone()
        mine, other = self._prefill.single, self._decode.single
        prefill_s = mine.time_s(mine.parts(prefill), sm_mhz)
        decode_s = other.time_s(other.parts(decode), sm_mhz)
        return prefill_s / (prefill_s + decode_s)


def _at_least(low_mhz: float, step: Step, asked_mhz: float) -> float:
    """Return the clock that a step is set to; see :meth:`model.pricing.StepPrices.price`."""
    return max(asked_mhz, low_mhz) if step.prefill_tokens and step.decode_batch else asked_mhz


def prices_of(
    prefill: Curves, decode: Curves, gpu: Gpu, cap_w: float | None, mixes: bool
) -> StepPrices:
    """Return the fastest prices of these curves; with ``mixes``, of mixed steps too.

    Raises:
        BadCalibration: the curves cannot price mixed steps, and steps may mix.
    """
    mixed = mixed_curves(prefill, decode) if mixes else None
    if is_affine(prefill, decode):
        return AffinePrices(prefill, decode, gpu, cap_w)
    return CurvePrices(prefill, decode, gpu, cap_w, mixed)


def is_affine(prefill: Curves, decode: Curves) -> bool:
    """Whether :class:`AffinePrices` can price these curves."""
    if any(
        curves.time.definition.total is None or not curves.power.definition.needs_activity
        for curves in (prefill, decode)
    ):
        return False
    mine, other = _Affine(prefill), _Affine(decode)
    return mine.voltage == other.voltage


class _Affine:
    """One phase's curves: parts of a time as matrices over what a step counts."""

    def __init__(self, curves: Curves) -> None:
        time, power = curves.time, curves.power
        total = time.definition.total
        assert total is not None
        self._total = total
        self._theta: Coefficients = tuple(time.theta)
        self.time_scale, self.time_mhz = time.scale, time.reference_mhz
        self.matrix = _matrix(curves)
        value = power.coefficients
        self._power_scale = power.scale
        self._static_w = value["static_w"], value.get("memory_static_w", 0.0)
        self._dynamic_w = value["memory_dynamic_w"], value["compute_dynamic_w"]
        self.voltage = power.reference_mhz, value["voltage_slope"], value.get("knee", 0.0)
        self._power_mhz, self._slope, self._knee = self.voltage
        self._switching_of_grid = self._switching(_GRID)
        self._known: dict[float, float] = {}
        self._growth: dict[int, Array] = {}
        self.single = Single(curves, self.matrix, _GRID, self._switching_of_grid)

    def parts(self, step: Step, steps: int) -> Array:
        """Return the parts of a time at x = 1, and what each gains as 1 / x does, (8, steps)."""
        return _counted(self.matrix, self._growth, step, steps)

    def time_s(self, parts: Array, sm_mhz: float | Array) -> Array:
        """Return the time of steps with ``parts`` at ``sm_mhz``, shape (steps,)."""
        return self.time_scale * self.total_s(parts, self.time_mhz / sm_mhz - 1)

    def total_s(self, parts: Array, slow: float | Array) -> Array:
        """Return the time of steps with ``parts`` where 1 / x is 1 + ``slow``, before any scale."""
        return self._total(self._theta, Parts(*(parts[:4] + slow * parts[4:])))

    def powers_w(self, parts: Array) -> tuple[Array, Array]:
        """Return static power and what multiplies :meth:`switching`, each (steps,)."""
        return self.powers_of(parts, self._total(self._theta, Parts(*parts[:4])))

    def powers_of(self, parts: Array, whole_s: Array) -> tuple[Array, Array]:
        """Return the powers of steps with ``parts`` that take ``whole_s`` at x = 1."""
        memory, compute = (parts[1] + parts[3]) / whole_s, parts[2] / whole_s
        static_w, memory_static_w = self._static_w
        memory_w, compute_w = self._dynamic_w
        return (
            self._power_scale * (static_w + memory_static_w * memory),
            self._power_scale * (memory_w * memory + compute_w * compute),
        )

    def switching(self, sm_mhz: float) -> float:
        """Return x V(x)^2 at one clock."""
        if sm_mhz not in self._known:
            self._known[sm_mhz] = float(self._switching(np.asarray(sm_mhz / self._power_mhz)))
        return self._known[sm_mhz]

    def switching_at(self, sm_mhz: Array) -> Array:
        """Return x V(x)^2 at each clock."""
        return self._switching(sm_mhz / self._power_mhz)

    def clock_mhz(self, switched: Array) -> Array:
        """Return the clocks at which :meth:`switching` takes the values ``switched``."""
        x = np.interp(switched, self._switching_of_grid, _GRID)
        for _ in range(_NEWTON_STEPS):
            x = x - (self._switching(x) - switched) / self._switching_slope(x)
        return np.asarray(x * self._power_mhz)

    def _switching_slope(self, x: Array) -> Array:
        voltage = 1 - self._slope * (1 - np.maximum(x, self._knee))
        level = (x <= self._knee) | (voltage <= LEAST_VOLTAGE)
        held = np.maximum(voltage, LEAST_VOLTAGE)
        return np.asarray(held * (held + np.where(level, 0.0, 2 * self._slope) * x))

    def _switching(self, x: Array) -> Array:
        return switching(x, np.asarray(self._slope), np.asarray(self._knee))


class _Mixed:
    """Steps of both phases whose coefficients differ; see :class:`model.mixed.MixedCurves`.

    Counts that are prefill's cost what prefill says, those of decode what decode says.
    """

    def __init__(self, prefill: _Affine, decode: _Affine) -> None:
        self._prefill, self._decode = prefill, decode
        mine, other = prefill.time_scale * prefill.matrix, decode.time_scale * decode.matrix
        # Of decode's reference clock, 1 / x is 1 where that of prefill's is ``ratio``.
        ratio = decode.time_mhz / prefill.time_mhz
        other = np.vstack([other[:4] + (ratio - 1) * other[4:], ratio * other[4:]])
        whole = np.hstack([mine[:, :4], other[:, 4:]])
        mine[:, 4:] = other[:, 1:4] = 0.0
        self._matrix = np.vstack([whole, mine, other])
        self._growth: dict[int, Array] = {}
        self.single = MixedSingle(prefill.single, decode.single, self._matrix)

    def parts(self, step: Step, steps: int) -> Array:
        """Return the parts of the step, of its prefill and its decode alone; prefill's share.

        Shape (25, steps): 8 rows each, as of one phase, and the share of tokens.
        """
        parts = _counted(self._matrix, self._growth, step, steps)
        share = step.prefill_tokens / (step.prefill_tokens + step.decode_batch)
        return np.vstack([parts, np.full((1, parts.shape[1]), share)])

    def time_s(self, parts: Array, sm_mhz: float | Array) -> Array:
        """Return the time of steps with ``parts`` at ``sm_mhz``, shape (steps,)."""
        return self._bounded_s(parts, self._prefill.time_mhz / sm_mhz - 1)

    def powers_w(self, parts: Array) -> tuple[Array, Array]:
        """Return static power and what multiplies x V(x)^2, each (steps,)."""
        whole_s, share = self._bounded_s(parts, 0.0), parts[24]
        mine, other = (each.powers_of(parts, whole_s) for each in (self._prefill, self._decode))
        return (
            share * mine[0] + (1 - share) * other[0],
            share * mine[1] + (1 - share) * other[1],
        )

    def _bounded_s(self, parts: Array, slow: float | Array) -> Array:
        whole_s = self._prefill.total_s(parts[:8], slow)
        prefill_s = self._prefill.total_s(parts[8:16], slow)
        decode_s = self._decode.total_s(parts[16:24], slow)
        return np.clip(whole_s, np.maximum(prefill_s, decode_s), prefill_s + decode_s)


def _counted(matrix: Array, growth_of: dict[int, Array], step: Step, steps: int) -> Array:
    """Return what ``matrix`` comes to for each repetition of ``step``, (rows, steps).

    ``growth_of`` keeps, by batch, what a repetition adds.
    """
    batch = step.decode_batch
    walk = step.context_tokens / batch if batch else 0.0
    first = matrix @ np.array([1.0, *step, walk])
    if steps == 1:
        return np.asarray(first[:, None])
    growth = growth_of.get(batch)
    if growth is None:
        growth = growth_of[batch] = (matrix[:, 5] * batch + matrix[:, 6])[:, None]
    counted = _COUNTED[:steps] if steps <= _COUNTED.size else np.arange(float(steps))
    return np.asarray(first[:, None] + growth * counted)


def _matrix(curves: Curves) -> Array:
    """Return what each part costs per count of a step and per walked context, shape (8, 7).

    Rows: launch, memory, compute and streams at x = 1, then what each gains as 1 / x rises by 1.
    Columns: 1, the five counts of :class:`Step`, context tokens per decoding sequence.
    """
    form, theta = curves.time.definition, tuple(curves.time.theta)
    assert form.parts is not None
    counts = np.zeros((7, 5))
    counts[1:6] = _AMOUNT * np.eye(5)
    counts[6] = [0, 0, 0, 2, _AMOUNT]
    work = Work(*counts.T)
    rows = []
    for clock in (1.0, 0.5):
        at = Inputs(np.full(7, clock), work, Phase.DECODE, curves.time.constants)
        parts = form.parts(theta, at)
        found = np.stack([np.broadcast_to(p, (7,)) for p in vars(parts).values()])
        constant = found[:, :1]
        each = (found[:, 1:6] - constant) / _AMOUNT
        # With no batch or a batch of one, every token of the context is walked; of two, half.
        halved = (found[:, 6:] - constant - 2 * each[:, 3:4]) / _AMOUNT
        walk = 2 * (each[:, 4:5] - halved)
        each[:, 4:5] -= walk
        rows.append(np.hstack([constant, each, walk]))
    return np.vstack([rows[0], rows[1] - rows[0]])
