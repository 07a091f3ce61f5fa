"""The status page: `diode status --serve`, a receiver at a glance in a browser.

    reading (service/reading_health.py) ──> view.py ──> the page, and each second what it shows then

The page is complete as it is first sent and needs no script to be read; with one, what changes
comes as server-sent events. It can be looked at and nothing else (web.py), needs nothing from
anywhere else, and shows what the terminal shows, from the same `Health`.
"""

from __future__ import annotations

import importlib.resources
import json
import time
from functools import partial
from typing import TYPE_CHECKING

from diode.errors import NoState
from diode.page import view
from diode.web import Address, Answer, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diode.service.reading_health import Reading

EACH = 1.0
"""Seconds between two events."""


def server(address: str, load: Callable[[], Reading]) -> Server:
    """What shows it at HOST:PORT, listening already. UsageError where it cannot."""
    paths = {
        "/": Answer("text/html; charset=utf-8", lambda: view.page(load()).encode()),
        "/style.css": Answer("text/css; charset=utf-8", partial(_file, "style.css")),
        "/page.js": Answer("text/javascript; charset=utf-8", partial(_file, "page.js")),
        "/events": Answer("text/event-stream; charset=utf-8", stream=partial(_events, load)),
    }
    return Server(Address.parse(address), paths)


def serve(address: str, load: Callable[[], Reading], told: Callable[[str], object]) -> None:
    """Show it there until an exception ends it, KeyboardInterrupt as a rule.

    told: is told the page's address.
    """
    page = server(address, load)
    told(f"http://{page.address}/")
    if not page.address.loopback:
        told("everybody who reaches that address can look: there is no password")
    page.run()


def _events(load: Callable[[], Reading]) -> Iterator[bytes]:
    """What the page shows, each second, for as long as somebody listens."""
    yield b"retry: 2000\n\n"
    while True:
        try:
            said = {"html": view.content(reading := load()).text}
            said["title"] = view.title(reading)
        except NoState:
            said = {}  # it will be there again; the page sees that it hears nothing
        if said:
            yield f"data: {json.dumps(said)}\n\n".encode()
        time.sleep(EACH)


def _file(name: str) -> bytes:
    return importlib.resources.files("diode.page").joinpath(name).read_bytes()
