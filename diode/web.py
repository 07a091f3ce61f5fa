"""A small web server for people and programs that look, and can do nothing else.

It answers GET and HEAD for the few paths that it has. Whoever can reach the port may be hostile, or
a page of somebody else's in the operator's own browser, so:

- `Host` has to be an address of this machine's, or the name it was told to listen on: a name that
  somebody else resolves to this machine (DNS rebinding) is refused.
- Answers forbid the browser everything but this origin's own style, script and event stream.
- There are `MOST` connections at a time. A request has `PATIENCE` seconds to arrive and so has each
  piece of an answer to be taken; then the connection is closed, whatever trickles.

A path gives a whole answer, or a `stream`: pieces one after the other until nobody listens.
"""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from diode.errors import UsageError
from diode.objects import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MOST = 16
PATIENCE = 10.0
NAMES = {"localhost", "localhost.localdomain", "ip6-localhost"}
"""Names that mean this machine wherever they are resolved."""
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path gives."""

    kind: str
    """Content-Type."""
    body: Callable[[], bytes] = lambda: b""
    stream: Callable[[], Iterator[bytes]] | None = None
    """Instead of a body, pieces as they come."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """HOST:PORT, with an IPv6 address in brackets. UsageError."""
        host, colon, port = text.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if not (colon and port.isascii() and port.isdigit() and int(port) < 1 << 16 and bare):
            raise UsageError(
                f"{escape(text)} is no HOST:PORT", hint="127.0.0.1:8080 is for this machine alone"
            )
        return cls(bare, int(port))

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host in NAMES:
            return True
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Server:
    """Listens from when it is made on, and answers once `run` or `start` is called."""

    def __init__(self, address: Address, paths: Mapping[str, Answer]) -> None:
        """UsageError where it cannot listen there."""
        try:
            family, _, _, _, where = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._inner = _Inner(family, where, address.host, paths)
        except OSError as error:
            busy = error.errno in (98, 48)  # EADDRINUSE of Linux and of BSD
            hint = "another program listens there: take another port" if busy else ""
            raise UsageError(
                f"cannot listen on {address}: {error.strerror or error}", hint=hint
            ) from error
        self.address = Address(address.host, self._inner.server_address[1])
        """With the port, where any was asked for (0)."""

    def run(self) -> None:
        """Answer until `close` is called by another thread, or an exception ends it."""
        self._inner.serve_forever(poll_interval=0.5)

    def start(self) -> None:
        """Answer in a thread of its own."""
        threading.Thread(target=self.run, name="web", daemon=True).start()

    def descriptors(self) -> set[int]:
        """What has to stay open."""
        return {self._inner.fileno()}

    def leave(self) -> None:
        """Another process listens there from now on."""
        self._inner.server_close()

    def close(self) -> None:
        """Listen no more, and close what is open."""
        self._inner.shutdown()
        self._inner.server_close()
        self._inner.open.close_late(math.inf)


@dataclass(slots=True)
class _Open:
    """Connections, and until when each has to have got on."""

    due: dict[socket.socket, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def got_on(self, connection: socket.socket) -> None:
        with self.lock:
            self.due[connection] = time.monotonic() + PATIENCE

    def over(self, connection: socket.socket) -> None:
        with self.lock:
            self.due.pop(connection, None)

    def close_late(self, now: float) -> None:
        """Shut down those that did not by then; their threads end with it."""
        with self.lock:
            for connection, due in self.due.items():
                if now > due:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)


class _Inner(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = MOST

    def __init__(self, family: int, where: Any, name: str, paths: Mapping[str, Answer]) -> None:
        self.address_family = family
        self.paths = paths
        self.host = name
        self.open = _Open()
        super().__init__(where, _Handler)

    def server_bind(self) -> None:
        """Without asking a name server what this machine is called."""
        if os.name == "posix":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.host, self.server_address[1]

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Whether there is room for one more."""
        return len(self.open.due) < MOST

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.got_on(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.over(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        self.open.close_late(time.monotonic())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Somebody went away in the middle: nothing to tell."""

    def is_ours(self, host: str) -> bool:
        """Whether a Host header names this machine."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.removeprefix("[").removesuffix("]").lower()
        if name in NAMES or name == self.host.lower():
            return True
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name)  # an address is nobody's to resolve
            return True
        return False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    server: _Inner
    timeout = PATIENCE

    def version_string(self) -> str:
        return "diode"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Who looks is not noted."""

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """In a line of text; nothing of the request comes back."""
        self._begin(HTTPStatus(code), "text/plain; charset=utf-8")
        with contextlib.suppress(OSError):
            self.wfile.write(f"{code} {HTTPStatus(code).phrase}\n".encode())

    def _answer(self, *, body: bool) -> None:
        if not self.server.is_ours(self.headers.get("Host") or ""):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return
        answer = self.server.paths.get(self.path.partition("?")[0])
        if answer is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        if answer.stream is None:
            self._whole(answer, body=body)
        else:
            self._begin(HTTPStatus.OK, answer.kind)
            if body:
                self._pieces(answer.stream())

    def _whole(self, answer: Answer, *, body: bool) -> None:
        content = answer.body()
        self._begin(HTTPStatus.OK, answer.kind, length=len(content))
        if body:
            self.wfile.write(content)

    def _pieces(self, pieces: Iterator[bytes]) -> None:
        with contextlib.suppress(OSError):
            for piece in pieces:
                self.wfile.write(piece)
                self.wfile.flush()
                self.server.open.got_on(self.connection)

    def _begin(self, status: HTTPStatus, kind: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        with contextlib.suppress(OSError):
            self.end_headers()
