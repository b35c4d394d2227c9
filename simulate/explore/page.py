"""One open page: controls on one side, the answer to what they say on the other.

In: a desk that answers. Out: a document of Bokeh's that asks whenever a control moves.
"""

from functools import partial

from bokeh.document import Document
from bokeh.models import Button, CustomJS, Div, InlineStyleSheet, Model, PreText, Select

from model.work import Phase
from simulate.explore.answer import Answer
from simulate.explore.controls import Controls
from simulate.explore.desk import Asker, Desk
from simulate.explore.figures import both
from simulate.explore.markup import (
    answer_html,
    figures_html,
    page_template,
    status_html,
    style,
    warnings_html,
)
from simulate.explore.plots import LATENCIES, Plane, PowerOverTime
from simulate.explore.state import State

TRAIL = 40
"""How many former states are shown."""

COPY = "navigator.clipboard.writeText(line.text)"


class Page:
    """What one browser window shows."""

    def __init__(self, desk: Desk, document: Document) -> None:
        """Build the page of ``document`` and ask for the state that it begins with."""
        self._desk, self._document = desk, document
        self._asker = Asker(desk)
        self._trail: list[tuple[State, Answer]] = []
        sheet = InlineStyleSheet(css=style("widgets"))
        self._controls = Controls(desk.choices, desk.begin, desk.clocks_of, sheet)
        self._plane, self._power = Plane(), PowerOverTime()

        def div(name: str, **attributes: str) -> Div:
            return Div(
                name=name,
                html_id=name,
                html_attributes=attributes,
                stylesheets=[sheet],
                sizing_mode="stretch_width",
            )

        self._status = div("status", role="status")
        self._answer, self._figures, self._warnings = map(div, ("answer", "figures", "warnings"))
        self._line = PreText(
            name="line", html_id="line", stylesheets=[sheet], sizing_mode="stretch_width"
        )
        self._copy = Button(name="copy", html_id="copy", label="Copy", stylesheets=[sheet])
        self._copy.js_on_click(CustomJS(args={"line": self._line}, code=COPY))
        self._copy.on_click(lambda: self._copy.update(label="Copied"))
        self._back = Button(name="back", html_id="back", label="Back", stylesheets=[sheet])
        self._back.on_click(self._return)
        self._against = Select(
            name="against",
            html_id="against",
            title="latency",
            options=list(LATENCIES),
            value="E2E p95, s",
            stylesheets=[sheet],
        )
        self._against.on_change("value", lambda _name, _old, _new: self._show_plane())
        self._controls.on_move(self._ask)
        roots: tuple[Model, ...] = (
            *(
                self._status,
                self._answer,
                *self._controls.widgets,
                self._line,
                self._copy,
                self._back,
            ),
            *(self._against, self._plane.plot, self._power.plot, self._figures, self._warnings),
        )
        for root in roots:
            document.add_root(root)
        document.title = f"phasewatt: {desk.question}"
        document.template = page_template()
        document.template_variables.update(question=desk.question, style=style("page"))
        document.on_session_destroyed(lambda _context: self._asker.give_up())
        self._show(desk.begin, desk.first)

    def _ask(self) -> None:
        self._status.text = status_html("status", "replaying ...")

        def tell(state: State, answer: Answer) -> None:
            self._document.add_next_tick_callback(partial(self._show, state, answer))

        self._asker.ask(self._controls.state, self._controls.counts_itself, tell)

    def _return(self) -> None:
        """Go back to the last state of the trail that is not shown."""
        if self._trail and self._trail[-1][0] == self._controls.state:
            self._trail.pop()
        if self._trail:
            self._controls.go(self._trail[-1][0])
            self._ask()

    def _show(self, state: State, answer: Answer) -> None:
        self._line.text = answer.line
        self._copy.label = "Copy"
        if answer.document is None:
            self._status.text = status_html("error", answer.error or "")
            return
        _, part = both(answer.document)
        held_mhz = {phase: part["clocks"][phase.value]["held_mhz"] for phase in Phase}
        self._controls.follow(held_mhz, answer.document["replicas"], state.limit)
        self._status.text = status_html("status", self._replayed(answer), answer)
        self._answer.text = answer_html(answer)
        self._figures.text = figures_html(answer)
        self._warnings.text = warnings_html(answer)
        self._trail = [each for each in self._trail if each[0] != state]
        self._trail = [*self._trail[-TRAIL:], (state, answer)]
        self._back.disabled = len(self._trail) < 2
        self._show_plane()
        self._power.show(answer)

    def _show_plane(self) -> None:
        latency = self._against.value
        _, _, limit = LATENCIES[latency]
        limit_s = None if limit is None else getattr(self._controls.state, limit)
        self._plane.show([answer for _, answer in self._trail], latency, limit_s)

    def _replayed(self, answer: Answer) -> str:
        assert answer.document is not None
        requests, available = answer.document["trace"]["requests"], self._desk.choices.available
        which = (
            f"all {available:,} requests"
            if requests == available
            else f"the first {requests:,} of {available:,} requests"
        )
        return f"Replayed {which} in {answer.took_s:.2f} s, without intervals (--draws 0)."
