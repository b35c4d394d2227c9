"""One open page: controls on one side, the answer to what they say on the other.

In: a desk that answers. Out: a document of Bokeh's that asks whenever a control moves.
"""

import itertools
from collections.abc import Callable
from functools import partial

from bokeh.document import Document
from bokeh.models import Button, CustomJS, Div, InlineStyleSheet, Model, PreText, Select
from jinja2 import Template

from model.work import Phase
from simulate.explore.answer import Answer
from simulate.explore.controls import Controls
from simulate.explore.desk import Asker, Desk
from simulate.explore.figures import both
from simulate.explore.markup import (
    answer_html,
    asset,
    figures_html,
    page_template,
    status_html,
    warnings_html,
)
from simulate.explore.plots import LATENCIES, Plane, PowerOverTime
from simulate.explore.state import words_of

TRAIL = 40
"""How many former states are shown."""

COPY = "navigator.clipboard.writeText(line.text)"


class Page:
    """What one browser window shows."""

    def __init__(self, desk: Desk, document: Document) -> None:
        """Build the page of ``document`` and ask for the state that it begins with."""
        self._desk, self._document = desk, document
        self._asker = Asker(desk)
        self._trail: list[Answer] = [desk.first]
        style = InlineStyleSheet(css=asset("widgets.css"))
        self._controls = Controls(desk.choices, desk.begin, desk.clocks_of, style)
        self._plane, self._power = Plane(), PowerOverTime()

        def div(name: str, **attributes: str) -> Div:
            return Div(
                name=name,
                html_id=name,
                html_attributes=attributes,
                stylesheets=[style],
                sizing_mode="stretch_width",
            )

        self._status = div("status", role="status")
        self._answer, self._figures, self._warnings = map(div, ("answer", "figures", "warnings"))
        self._line = PreText(
            name="line", html_id="line", stylesheets=[style], sizing_mode="stretch_width"
        )
        self._copy = Button(name="copy", html_id="copy", label="Copy", stylesheets=[style])
        self._copy.js_on_click(CustomJS(args={"line": self._line}, code=COPY))
        self._copy.on_click(lambda: self._copy.update(label="Copied"))
        self._against = Select(
            name="against",
            html_id="against",
            title="latency",
            options=list(LATENCIES),
            value="E2E p95, s",
            stylesheets=[style],
        )
        self._against.on_change("value", lambda *_: self._show_plane())
        self._controls.on_move(self._ask)
        roots: tuple[Model, ...] = (
            *(self._status, self._answer, *self._controls.widgets, self._line, self._copy),
            *(self._against, self._plane.plot, self._power.plot, self._figures, self._warnings),
        )
        for root in roots:
            document.add_root(root)
        document.title = f"phasewatt: {desk.question}"
        document.template = page_template()
        document.template_variables.update(question=desk.question, style=asset("page.css"))
        document.on_session_destroyed(lambda _context: self._asker.give_up())
        self._show(desk.first)

    def _ask(self) -> None:
        self._status.text = status_html("status", "replaying ...")
        words = words_of(self._controls.state, self._desk.started)
        tell: Callable[[Answer], object] = lambda answer: self._document.add_next_tick_callback(
            partial(self._show, answer)
        )
        self._asker.ask(words, tell)
