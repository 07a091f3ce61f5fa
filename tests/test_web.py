"""The small web server: nothing but looking, whoever asks and however."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from diode import web
from diode.errors import UsageError
from diode.web import MOST, POLICY, Address, Answer, Server


def endless():
    while True:
        yield b"x" * 1000


@pytest.fixture(scope="module")
def server():
    paths = {
        "/": Answer("text/html; charset=utf-8", lambda: b"<p>hello"),
        "/stream": Answer("text/event-stream", stream=lambda: iter([b"one\n", b"two\n"])),
        "/endless": Answer("text/event-stream", stream=endless),
    }
    server = Server(Address.parse("127.0.0.1:0"), paths)
    server.start()
    yield server
    server.close()


def ask(server: Server, text: bytes | str, timeout: float = 10) -> bytes:
    """All that comes back."""
    with socket.create_connection((server.address.host, server.address.port), timeout) as line:
        line.sendall(text.encode() if isinstance(text, str) else text)
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := line.recv(65_536):
                got += piece
        return got


def get(server: Server, path: str = "/", host: str = "localhost", method: str = "GET") -> bytes:
    return ask(server, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")


def status(answer: bytes) -> int:
    return int(answer.split()[1])


def test_a_page_and_what_it_forbids_the_browser(server) -> None:
    answer = get(server)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status(answer) == 200
    assert body == b"<p>hello"
    for line in (f"Content-Security-Policy: {POLICY}", "X-Frame-Options: DENY"):
        assert line.encode() in head
    assert b"Set-Cookie" not in head
    assert b"Python" not in head
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY


def test_a_stream(server) -> None:
    assert get(server, "/stream").endswith(b"one\ntwo\n")


def test_head_has_no_body(server) -> None:
    assert get(server, method="HEAD").endswith(b"\r\n\r\n")
    assert get(server, "/endless", method="HEAD").endswith(b"\r\n\r\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_not_known(server, method) -> None:
    assert status(get(server, method=method)) == 501


@pytest.mark.parametrize("path", ["/x", "/../etc/passwd", "/style.css%00", "*", "/" + "a" * 70_000])
def test_other_paths_are_not_there_and_are_not_repeated(server, path) -> None:
    answer = get(server, path)
    assert status(answer) in (404, 414)
    assert b"passwd" not in answer


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("evil.example:8080", 421),
        ("localhost.evil.example", 421),
        ("", 421),
    ],
)
def test_a_name_that_is_not_ours_is_refused(server, host, code) -> None:
    assert status(get(server, host=host)) == code


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\r\n",
        b"\x00\xff\xfe\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"G" * 100_000,
    ],
)
def test_garbage_harms_nobody(server, text) -> None:
    ask(server, text)
    assert status(get(server)) == 200


def test_connections_are_bounded_and_those_that_trickle_are_closed(server, monkeypatch) -> None:
    monkeypatch.setattr(web, "PATIENCE", 1.0)
    where = (server.address.host, server.address.port)
    lines = [socket.create_connection(where, 10) for _ in range(MOST + 5)]
    try:
        started = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - started < 3:
                for line in lines[:MOST]:
                    line.sendall(b"G")  # never a whole request
                time.sleep(0.2)
        until = time.monotonic() + 10
        while status(get(server) or b"- 0") != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
    finally:
        for line in lines:
            line.close()


def test_who_does_not_read_is_left(server, monkeypatch) -> None:
    monkeypatch.setattr(web, "PATIENCE", 1.0)
    where = (server.address.host, server.address.port)
    lines = []
    for _ in range(MOST):
        line = socket.create_connection(where, 10)
        line.sendall(b"GET /endless HTTP/1.0\r\nHost: localhost\r\n\r\n")
        lines.append(line)
    until = time.monotonic() + 15
    while status(get(server) or b"- 0") != 200:
        assert time.monotonic() < until
        time.sleep(0.2)
    for line in lines:
        line.close()


def test_a_port_that_is_taken_is_told(server) -> None:
    with pytest.raises(UsageError, match="cannot listen") as told:
        Server(server.address, {})
    assert "another port" in told.value.hint


@pytest.mark.parametrize("text", ["8080", "127.0.0.1", ":80", "host:port", "host:99999", "h:-1"])
def test_what_is_no_address(text) -> None:
    with pytest.raises(UsageError):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("0.0.0.0:1", False),
        ("box:1", False),
    ],
)
def test_who_can_reach_it(text, loopback) -> None:
    assert Address.parse(text).loopback is loopback
    assert str(Address.parse(text)) == text
