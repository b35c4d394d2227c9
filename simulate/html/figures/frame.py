"""An empty plot of the house's style, and colours that follow the page from light to dark.

In: labels and ranges. Out: a Bokeh figure; what is drawn in it carries the name of its colour.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from bokeh.models import ColumnDataSource, HoverTool, NoOverlap, NumeralTickFormatter, WheelZoomTool
from bokeh.plotting import figure

from simulate.html.palette import tokens

_LIGHT = tokens()["light"]

FONT = "system-ui, sans-serif"


_TOOLBAR = """
:focus-visible { outline: 3px solid var(--accent) !important; outline-offset: -3px; }
@media print { :host { visibility: hidden; } }
"""


def frame(x_label: str, y_label: str, height_px: int = 300, **more: Any) -> Any:
    """Return an empty figure as wide as its place; ``more`` goes to Bokeh as it is."""
    plot = figure(
        height=height_px,
        min_width=240,
        sizing_mode="stretch_width",
        tools="pan,box_zoom,reset,save",
        active_drag="box_zoom",
        toolbar_location="above",
        x_axis_label=x_label,
        y_axis_label=y_label,
        background_fill_color=_LIGHT["surface"],
        border_fill_color=_LIGHT["surface"],
        outline_line_color=None,
        min_border_right=12,
        **more,
    )
    # Zooms with the wheel only where the reader asked for it: the page scrolls otherwise.
    plot.add_tools(WheelZoomTool())
    plot.toolbar.logo = None
    plot.toolbar.stylesheets = [_TOOLBAR]
    for axis in plot.axis:
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.axis_label_text_font_size = "13px"
        axis.major_label_text_font_size = "12px"
        axis.axis_label_text_font_style = "normal"
        axis.minor_tick_line_color = None
        axis.major_label_policy = NoOverlap(min_distance=6)
    return plot


def plain_numbers(axis: Any, form: str = "0,0.[0000]") -> None:
    """Write the labels of ``axis`` as plain numbers, neither rounded nor with exponents."""
    axis.formatter = NumeralTickFormatter(format=form)


def draw(
    plot: Any,
    data: Mapping[str, Any] | ColumnDataSource,
    glyph: Any,
    colour: str,
    tags: Iterable[str] = (),
    name: str | None = None,
) -> Any:
    """Draw ``glyph`` over the columns of ``data`` in a colour, as :func:`coloured` and
    :func:`switched` say; ``name`` is what its hover calls it.
    """
    source = data if isinstance(data, ColumnDataSource) else ColumnDataSource(dict(data))
    drawn = plot.add_glyph(source, coloured(glyph, colour))
    drawn.name = name
    return switched(drawn, tags)


def coloured(drawn: Any, colour: str) -> Any:
    """Give a glyph or an annotation the colour of that name, now and when the scheme changes."""
    drawn.tags = [*drawn.tags, f"colour:{colour}"]
    for name in ("line_color", "fill_color", "text_color"):
        if name in drawn.properties() and getattr(drawn, name) is not None:
            setattr(drawn, name, _LIGHT[colour])
    return drawn


def switched(drawn: Any, tags: Iterable[str]) -> Any:
    """Let the page's switches of these tags show and hide what was drawn."""
    drawn.tags = [*drawn.tags, *tags]
    return drawn


def hover(plot: Any, renderers: list[Any], tips: list[tuple[str, str]], **more: Any) -> None:
    """Tell ``tips`` where the pointer is over any of ``renderers``."""
    plot.add_tools(HoverTool(renderers=renderers, tooltips=tips, **more))
