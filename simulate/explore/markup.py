"""The texts of the page as HTML; what comes from files and users is escaped.

In: answers. Out: HTML.
"""

from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from simulate.explore.answer import Answer
from simulate.explore.figures import below_measured, both, cards, headline, sections


def answer_html(answer: Answer) -> str:
    """Return what is read first of ``answer``, which has a document."""
    assert answer.document is not None
    alerts = (answer.saturated, below_measured(answer.document))
    return _render(
        "answer",
        headline=headline(answer.document),
        alerts=[alert for alert in alerts if alert is not None],
        cards=cards(answer.document),
    )


def figures_html(answer: Answer) -> str:
    """Return the table of all figures of ``answer``, which has a document."""
    assert answer.document is not None
    baseline, state = both(answer.document)
    return _render(
        "figures",
        baseline=baseline["policy"],
        state=state["policy"],
        sections=sections(answer.document),
    )


def warnings_html(answer: Answer) -> str:
    """Return what must be known of ``answer``, which has a document."""
    assert answer.document is not None
    provenance = answer.document["calibration"]["provenance"]
    calibration = f"{answer.document['calibration']['name']}: {provenance['kind']}"
    trace = f"{answer.document['trace']['name']}: {answer.document['trace']['source']['kind']}"
    return _render(
        "warnings",
        warnings=answer.document["warnings"],
        origin=f"Calibration {calibration}; {provenance['source']}. Trace {trace}; "
        f"{answer.document['trace']['source']['description']}.",
    )


def status_html(kind: str, text: str, answer: Answer | None = None) -> str:
    """Return one line, ``kind`` being ``status`` or ``error``, and ``answer`` in brief."""
    document = None if answer is None else answer.document
    shown = () if document is None else cards(document)
    brief = [f"{card.row.label}: {card.row.text(card.row.state)}" for card in shown]
    return _render("status", kind=kind, text=text, brief=brief)


def page_template() -> Template:
    """Return the template of the whole page, for Bokeh to fill."""
    template: Template = Template(_source("page.html"))
    return template


def style(name: str) -> str:
    """Return the rules of ``page`` or of its ``widgets``, which live apart from it."""
    return _source(f"{name}.css")


def _source(name: str) -> str:
    return files("simulate.explore").joinpath("templates", name).read_text(encoding="utf-8")


def _render(name: str, **values: object) -> str:
    return _environment().get_template(f"{name}.html").render(**values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("simulate.explore", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
    )
