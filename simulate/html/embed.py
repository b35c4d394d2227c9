"""Bokeh figures as text that a page holds: the same text each time, and no word of any network.

In: figures by the id of their place. Out: JSON for Bokeh's own JavaScript, and that JavaScript.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import bokeh
from bokeh.core.json_encoder import serialize_json
from bokeh.document import Document


def plots_json(figures: Mapping[str, Any]) -> str:
    """Return what ``Bokeh.embed.embed_items`` needs to draw each figure in the place of its id.

    Bokeh counts its models on through the whole process; here they are counted from the first.
    """
    document = Document()
    # Bokeh would look through all models again at each root that it is given.
    with document.models.freeze():
        for plot in figures.values():
            document.add_root(plot)
    ids: dict[str, str] = {}
    written = _renumbered(json.loads(serialize_json(document.to_json(deferred=False))), ids)
    roots = {ids[plot.id]: place for place, plot in figures.items()}
    items = [{"docid": "plots", "roots": roots, "root_ids": list(roots)}]
    text = json.dumps({"docs": {"plots": written}, "items": items}, separators=(",", ":"))
    # Nothing in it may end the script element that holds it.
    return text.replace("<", "\\u003c")


@cache
def bokeh_js() -> str:
    """Return the JavaScript that draws, as it comes with the installed Bokeh."""
    path = Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js"
    return path.read_text(encoding="utf-8").replace("</script", "<\\/script")


def _renumbered(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_renumbered(each, ids) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: ids.setdefault(each, f"m{len(ids)}")
        if key == "id" and isinstance(each, str)
        else _renumbered(each, ids)
        for key, each in value.items()
    }
