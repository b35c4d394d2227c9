"""The server of the page: on this machine alone, until Ctrl-C.

In: words, a port. Out: an address; pages are served from it with everything that they need.
"""

import logging
import os
import re
import socket
import webbrowser
from collections.abc import Callable
from contextlib import closing

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.routing import HostMatches, Rule, RuleRouter

from phasewatt.errors import BadOption
from simulate.explore.desk import Desk
from simulate.explore.page import Page
from simulate.words import Words

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")

FORGOTTEN_MS = 5000
"""How long after a page was closed, or when it never came back for its data, it is forgotten."""


def serve(words: Words, port: int, say: Callable[[str], None], browse: bool) -> None:
    """Serve pages; see :func:`simulate.explore.explore`."""
    with closing(_bound(port)) as bound:
        _serve(Desk(words), bound, say, browse)


def _serve(desk: Desk, bound: socket.socket, say: Callable[[str], None], browse: bool) -> None:
    port = bound.getsockname()[1]
    loop = IOLoop()
    server = BaseServer(loop, *_applications(desk, bound, port))
    server.start()
    address = f"http://{HOST}:{port}/"
    say(address)
    if browse:
        # A browser of the terminal would hold up the pages that it waits for.
        loop.run_in_executor(None, webbrowser.open, address)
    try:
        loop.start()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop(wait=False)
        desk.close()


def _bound(port: int) -> socket.socket:
    try:
        bound = socket.create_server((HOST, port))
    except OSError as error:
        raise BadOption(
            f"--port {port}: {os.strerror(error.errno or 0)}; expected a free one, or 0 for any"
        ) from None
    bound.setblocking(False)
    return bound


def _applications(desk: Desk, bound: socket.socket, port: int) -> tuple[BokehTornado, HTTPServer]:
    def build(document: Document) -> None:
        Page(desk, document)

    tornado = BokehTornado(
        {"/": Application(FunctionHandler(build))},
        # Another site's page in the same browser must not be able to ask.
        extra_websocket_origins=[f"{name}:{port}" for name in NAMES],
        # Other pages wait for what a page that was closed still asks.
        unused_session_lifetime_milliseconds=FORGOTTEN_MS,
        check_unused_sessions_milliseconds=FORGOTTEN_MS // 5,
    )
    # Bokeh would tell whoever was refused how to be let in.
    logging.getLogger("bokeh.server.views.ws").setLevel(logging.CRITICAL)
    # Another site's name may be made to lead here, too.
    here = HostMatches("|".join(map(re.escape, NAMES)))
    http = HTTPServer(RuleRouter([Rule(here, tornado)]))
    http.add_socket(bound)
    return tornado, http
