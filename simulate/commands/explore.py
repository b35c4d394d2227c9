"""``simulate explore``: a local page on which clocks, load, fleet and limits are sliders."""

from typing import Any

import click

from phasewatt.console import note
from simulate.explore import PORT, explore
from simulate.options import REPLAY, epilog, options
from simulate.topics import ByTopic


@click.command("explore", cls=ByTopic, epilog=epilog())
@options(
    *REPLAY,
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=PORT,
        show_default=True,
        metavar="N",
        help="Port on this machine; 0: any that is free.",
    ),
    click.option("--no-browser", is_flag=True, help="Do not open a browser."),
)
def command(port: int, no_browser: bool, **words: Any) -> None:
    """Move clocks, load, replicas and limits on a local page, and see what they cost."""
    explore(words, port, lambda address: note(f"{address} (Ctrl-C ends)"), not no_browser)
