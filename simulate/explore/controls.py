"""The controls of the page: sliders and lists, and the state that they stand for.

In: what may be chosen, and where to begin. Out: widgets, each a root of the page under its name.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bokeh.models import (
    CategoricalSlider,
    CheckboxGroup,
    InlineStyleSheet,
    Select,
    Slider,
    Widget,
)

from model.work import Phase
from simulate.explore.choices import MOST_REPLICAS, Choices, Clocks, nearest
from simulate.explore.state import Hand, State

BY_HAND = "clocks set by hand"
NO_LIMIT = "no limit"

BAR = "#3a92c8"
"""The part of a slider that is full: 3:1 on light and on dark grounds."""


class Controls:
    """The widgets by name; ``state`` is what they say."""

    def __init__(
        self,
        choices: Choices,
        begin: State,
        clocks_of: Callable[[State, Phase], Clocks],
        style: InlineStyleSheet,
    ) -> None:
        """Build the widgets; ``clocks_of`` says which clocks the model of a state can be set to."""
        self._choices, self._clocks_of, self._state = choices, clocks_of, begin
        self._quiet = False
        self._counts_itself = choices.counts_itself
        self._tell: Callable[[], None] = lambda: None
        self._clocks = {phase: clocks_of(begin, phase) for phase in Phase}
        common = {"stylesheets": [style], "sizing_mode": "stretch_width"}

        def slider(name: str, title: str, values: list[str]) -> CategoricalSlider:
            return CategoricalSlider(
                **{**common, **_named(name, title)}, title=title, categories=values, value=values[0]
            )

        def listed(name: str, title: str, values: list[str]) -> Select:
            return Select(**{**common, **_named(name, title)}, title=title, options=values)

        self.policy = listed("policy", "policy", [BY_HAND, *choices.policies])
        self.model = listed("model", "model", list(choices.engines))
        self.engine = listed("engine", "engine", [])
        self.batching = listed("batching", "batching", list(choices.batchings))
        self.clock = {
            phase: Slider(
                **{**common, **_named(phase.value, f"{phase} clock, MHz")},
                **_range(phase, self._clocks[phase]),
                value=self._clocks[phase].all_mhz[-1],
                format="0,0",
                bar_color=BAR,
            )
            for phase in Phase
        }
        self.load = slider(
            *("load", "load, times the rate of the trace"),
            [f"{x:g}" for x in choices.loads] or ["all at once"],
        )
        self.replicas = Slider(
            **{**common, **_named("replicas", "replicas")},
            **{"title": "replicas", "start": 1, "end": MOST_REPLICAS, "step": 1, "value": 1},
            bar_color=BAR,
        )
        self.fewest = CheckboxGroup(
            **{**common, **_named("fewest", "size of the fleet")},
            labels=["the fewest replicas that keep up"],
        )
        self.ttft = slider(
            *("ttft", "TTFT limit, s"), [*(f"{x:g}" for x in choices.ttft_s), NO_LIMIT]
        )
        self.tpot = slider(
            *("tpot", "TPOT limit, ms"), [*(f"{1e3 * x:g}" for x in choices.tpot_s), NO_LIMIT]
        )
        self.requests = slider(
            *("requests", "requests replayed"), [f"{n:,}" for n in choices.requests]
        )
        self.go(begin)
        self._listen()

    @property
    def state(self) -> State:
        """What the controls say."""
        return self._state

    @property
    def counts_itself(self) -> bool:
        """Whether nobody has said how many requests to replay."""
        return self._counts_itself

    @property
    def widgets(self) -> tuple[Widget, ...]:
        """All controls, in the order of the page."""
        return (
            *(self.policy, self.model, self.engine, self.batching),
            *self.clock.values(),
            *(self.load, self.replicas, self.fewest, self.ttft, self.tpot, self.requests),
        )

    def on_move(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` whenever a user has moved a control."""
        self._tell = tell

    def go(self, state: State) -> None:
        """Show ``state``; that is no user's move."""
        models, choices = list(self._choices.engines), self._choices
        model = state.model or (models[0] if models else "")
        engines = list(choices.engines.get(model, ()))
        self._state = state
        self._say(self.policy, value=state.policy if isinstance(state.policy, str) else BY_HAND)
        self._say(self.model, value=model)
        engine = state.engine or (engines[0] if engines else "")
        self._say(self.engine, options=engines, value=engine)
        self._say(self.batching, value=state.batching)
        self._rerange()
        if isinstance(state.policy, Hand):
            self._say(self.clock[Phase.PREFILL], value=state.policy.prefill_mhz)
            self._say(self.clock[Phase.DECODE], value=state.policy.decode_mhz)
        if choices.loads:
            self._say(self.load, value=f"{state.rate_scale:g}")
        if state.replicas is not None:
            end = max(self.replicas.end, state.replicas)
            self._say(self.replicas, end=end, value=state.replicas)
        self._say(self.fewest, active=[0] if state.replicas is None else [])
        self._say(self.ttft, value=NO_LIMIT if state.ttft_s is None else f"{state.ttft_s:g}")
        self._say(self.tpot, value=NO_LIMIT if state.tpot_s is None else f"{1e3 * state.tpot_s:g}")
        self._say(self.requests, value=self._requests(state.limit))
        self._enable()

    def follow(self, held_mhz: dict[Phase, float], replicas: int, limit: int | None) -> None:
        """Show what was chosen: the clocks that held, the fleet's size, how much was replayed."""
        self._state = replace(self._state, limit=limit)
        self._say(self.requests, value=self._requests(limit))
        if isinstance(self._state.policy, str):
            for phase, slider in self.clock.items():
                self._say(slider, value=nearest(self._clocks[phase].all_mhz, held_mhz[phase]))
        if self._state.replicas is None:
            self._say(self.replicas, end=max(self.replicas.end, replicas), value=replicas)

    def _listen(self) -> None:
        def moved(change: Callable[[State], State]) -> Callable[[str, Any, Any], None]:
            def on_change(_name: str, _old: Any, _new: Any) -> None:
                if self._quiet:
                    return
                self._state = change(self._state)
                self._enable()
                self._tell()

            return on_change

        self.policy.on_change("value", moved(self._with_policy))
        self.model.on_change("value", moved(self._with_model))
        self.engine.on_change("value", moved(self._with_engine))
        self.batching.on_change(
            "value", moved(lambda state: replace(state, batching=self.batching.value))
        )
        for slider in self.clock.values():
            slider.on_change("value", moved(self._by_hand))
        self.load.on_change(
            "value", moved(lambda state: replace(state, rate_scale=float(self.load.value)))
        )
        self.replicas.on_change("value", moved(self._counted))
        self.fewest.on_change("active", moved(self._sized))
        self.ttft.on_change(
            "value", moved(lambda state: replace(state, ttft_s=_limit(self.ttft.value)))
        )
        self.tpot.on_change(
            "value", moved(lambda state: replace(state, tpot_s=_limit(self.tpot.value, 1e-3)))
        )
        self.requests.on_change("value", moved(self._with_requests))

    def _with_policy(self, state: State) -> State:
        if self.policy.value == BY_HAND:
            return self._by_hand(state)
        return replace(state, policy=self.policy.value)

    def _by_hand(self, state: State) -> State:
        self._say(self.policy, value=BY_HAND)
        clocks = Hand(*(self.clock[p].value for p in (Phase.PREFILL, Phase.DECODE)))
        return replace(state, policy=clocks)

    def _with_model(self, state: State) -> State:
        engines = list(self._choices.engines[self.model.value])
        self._say(self.engine, options=engines, value=engines[0])
        return self._reranged(replace(state, model=self.model.value, engine=None))

    def _with_engine(self, state: State) -> State:
        return self._reranged(replace(state, engine=self.engine.value))

    def _reranged(self, state: State) -> State:
        """Return ``state`` with clocks that its model can be set to, and show them."""
        self._state = state
        self._rerange()
        return self._by_hand(state) if isinstance(state.policy, Hand) else state

    def _rerange(self) -> None:
        self._clocks = {phase: self._clocks_of(self._state, phase) for phase in Phase}
        for phase, slider in self.clock.items():
            clocks = self._clocks[phase]
            self._say(slider, **_range(phase, clocks), value=nearest(clocks.all_mhz, slider.value))

    def _counted(self, state: State) -> State:
        self._say(self.fewest, active=[])
        return replace(state, replicas=int(self.replicas.value))

    def _sized(self, state: State) -> State:
        return replace(state, replicas=None if self.fewest.active else int(self.replicas.value))

    def _with_requests(self, state: State) -> State:
        self._counts_itself = False
        asked = int(self.requests.value.replace(",", ""))
        return replace(state, limit=None if asked == self._choices.available else asked)

    def _requests(self, limit: int | None) -> str:
        available = self._choices.available
        return f"{min(limit or available, available):,}"

    def _say(self, widget: Widget, **values: Any) -> None:
        """Set ``widget`` without taking that for a user's move."""
        self._quiet = True
        try:
            widget.update(**values)
        finally:
            self._quiet = False

    def _enable(self) -> None:
        """Let alone what means nothing in this state."""
        sized = self._choices.sized[self._state.batching]
        self.replicas.disabled = self.fewest.disabled = not sized
        self.load.disabled = not self._choices.loads
        self.model.disabled = len(self.model.options) < 2
        self.engine.disabled = len(self.engine.options) < 2
        for phase, slider in self.clock.items():
            slider.disabled = len(self._clocks[phase].all_mhz) == 1


def _named(name: str, title: str) -> dict[str, Any]:
    return {
        "name": name,
        "html_id": name,
        "html_attributes": {"role": "group", "aria-label": title},
    }


def _range(phase: Phase, clocks: Clocks) -> dict[str, Any]:
    low_mhz, high_mhz = clocks.all_mhz[0], clocks.all_mhz[-1]
    title = f"{phase} clock, MHz"
    if low_mhz < clocks.measured_mhz:
        title += f" (measured from {clocks.measured_mhz:,.0f})"
    # One clock leaves nothing to move, but a slider must have a length.
    return {
        "title": title,
        "start": low_mhz,
        "end": max(high_mhz, low_mhz + 1),
        "step": _step(clocks),
    }


def _step(clocks: Clocks) -> float:
    return clocks.all_mhz[1] - clocks.all_mhz[0] if len(clocks.all_mhz) > 1 else 1.0


def _limit(value: str, unit_s: float = 1.0) -> float | None:
    return None if value == NO_LIMIT else round(float(value) * unit_s, 9)
