"""The texts of the page as HTML; what comes from files and users is escaped.

In: answers. Out: HTML.
"""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from simulate.explore.answer import Answer
from simulate.explore.figures import both, cards, headline, sections


def answer_html(answer: Answer) -> str:
    """Return what is read first of ``answer``, which has a document."""
    assert answer.document is not None
    return _render(
        "answer", headline=headline(answer.document), cards=cards(answer.document)
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


def status_html(kind: str, text: str) -> str:
    """Return one line; ``kind`` is ``status`` or ``error``."""
    return _render("status", kind=kind, text=text)


def asset(name: str) -> str:
    """Return a template or style of the page as it is."""
    source, _, _ = _environment().loader.get_source(_environment(), name)
    return source


def _render(name: str, **values: object) -> str:
    return _environment().get_template(f"{name}.html.jinja").render(**values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("simulate.explore", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
    )
