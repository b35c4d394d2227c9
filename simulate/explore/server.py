"""The server of the page: on this machine alone, until Ctrl-C.

In: a desk, a port. Out: an address; pages are served from it with everything that they need.
"""

import webbrowser
from collections.abc import Callable
from functools import partial

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import Server
from tornado.ioloop import IOLoop

from phasewatt.errors import BadOption
from simulate.explore.desk import Desk
from simulate.explore.page import Page

HOST = "127.0.0.1"


def serve(desk: Desk, port: int, say: Callable[[str], None], browse: bool) -> None:
    """Serve pages of ``desk`` on ``port``, 0 for any that is free, until the user interrupts.

    ``say`` is told the address once it answers; ``browse`` opens it in the user's browser.

    Raises:
        BadOption: the port cannot be had.
    """
    server = _server(desk, port)
    address = f"http://{HOST}:{server.port}/"
    server.start()
    say(address)
    if browse:
        server.io_loop.add_callback(partial(webbrowser.open, address))
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop(wait=False)
        desk.close()


def _server(desk: Desk, port: int) -> Server:
    def build(document: Document) -> None:
        Page(desk, document)

    try:
        server = Server(
            {"/": Application(FunctionHandler(build))},
            io_loop=IOLoop(),
            address=HOST,
            port=port,
            # Another site's page in the same browser must not be able to ask.
            allow_websocket_origin=[f"{HOST}:{port}", f"localhost:{port}"],
        )
    except OSError as error:
        raise BadOption(
            f"--port {port}: {error.strerror or error}; expected a free one, or 0 for any"
        ) from None
    return server
