"""A page on which a planner moves sliders and sees what they cost: ``simulate explore``.

In: words. Out: a local page, until the user interrupts.
"""

from collections.abc import Callable

from simulate.words import Words

PORT = 8421


def explore(
    words: Words,
    port: int = PORT,
    say: Callable[[str], None] = lambda _address: None,
    browse: bool = True,
) -> None:
    """Serve pages that begin with ``words`` on ``port``, 0 for any, until the user interrupts.

    ``say`` is told the address once it answers; ``browse`` opens it in the user's browser.

    Raises:
        BadOption: the port cannot be had.
        UserError: ``words`` name what is not there, or a state that cannot be replayed.
    """
    from simulate.explore.server import serve  # Bokeh takes its time

    serve(words, port, say, browse)
