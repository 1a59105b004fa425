"""`/progress`, `/metrics` and `/healthz` on one port.

Whether anybody listens changes nothing for the training: a port that is taken costs a warning.
"""

import logging
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final, Self

_SLOW_CLIENT_SECONDS: Final = 10

_log = logging.getLogger("azaion_jobs.supervisor")


@dataclass(frozen=True, slots=True)
class Page:
    """What is served at one path."""

    content_type: str
    body: Callable[[], bytes]
    """Raises Unhealthy where the answer is 503."""


class UnhealthyError(Exception):
    """The answer to `/healthz` is no; the text says why."""


class Pulse:
    """Says whether the main thread still goes round."""

    def __init__(self, longest: float = 120.0) -> None:
        self._longest = longest
        self._last = time.monotonic()

    def beat(self) -> None:
        """The main thread has come round."""
        self._last = time.monotonic()

    def page(self) -> bytes:
        """The body of `/healthz`."""
        silent = time.monotonic() - self._last
        if silent > self._longest:
            msg = f"The supervisor has not come round for {silent:.0f} s."
            raise UnhealthyError(msg)
        return b"ok\n"


class Server:
    """Serves pages from threads of its own until it is closed."""

    def __init__(self, server: "_Server") -> None:
        self._server = server
        self.port: int = server.server_address[1]
        threading.Thread(target=server.serve_forever, name="http", daemon=True).start()

    @classmethod
    def start(cls, port: int, pages: Mapping[str, Page], host: str = "") -> Self | None:
        """Listen on this port (0: any); None, after a warning, if it cannot be had."""
        handler = type("Handler", (_Handler,), {"pages": dict(pages)})
        try:
            return cls(_Server((host, port), handler))
        except OSError as error:
            _log.warning("Port %d cannot be had, so nobody can ask for progress: %s", port, error.strerror)
            return None

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def server_bind(self) -> None:
        """Bind without looking up the machine's name, which takes half a minute where there is no DNS."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base class
        """A client that went away is no event."""
        del request
        _log.debug("A request of %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    pages: ClassVar[Mapping[str, Page]] = {}
    timeout = _SLOW_CLIENT_SECONDS
    server_version = "azaion"
    sys_version = ""

    def do_GET(self) -> None:
        page = self.pages.get(self.path.partition("?")[0])
        if page is None:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"not found\n")
            return
        try:
            body = page.body()
        except UnhealthyError as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{error}\n".encode())
            return
        self._answer(HTTPStatus.OK, page.content_type, body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as in the base class
        """Requests are not logged: somebody asks every five seconds for eleven days."""

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
