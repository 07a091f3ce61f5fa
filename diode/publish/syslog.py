"""Syslog messages: `syslog://logs:514`, `?transport=tcp`, or `syslog:/dev/log` (a Unix socket).

What a syslog source has read goes out as it came. Any other record becomes a message of RFC 5424 of
facility local0 and severity info, or warning where its quality is not good, with the topic as its
application and the payload behind. Over TCP messages are counted (RFC 6587, 3.4.1).
"""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING

from diode import confine
from diode.errors import UsageError
from diode.objects import escape
from diode.publish.lines import iso
from diode.record import GOOD, QUALITIES

if TYPE_CHECKING:
    from diode.endpoint import Endpoint
    from diode.publish import Say
    from diode.service.record_process import Reading

INFO, WARNING = 16 * 8 + 6, 16 * 8 + 4
LONGEST_APP = 48
_UNFIT = re.compile(r"[^!-~]")
_MESSAGE = re.compile(rb"<[0-9]{1,3}>")


def message(one: Reading, host: str) -> bytes:
    """A record as a message."""
    if one.topic.startswith(b"syslog/") and _MESSAGE.match(one.payload):
        return one.payload.replace(b"\n", b" ")
    app = _UNFIT.sub("_", one.topic.decode())[-LONGEST_APP:]
    priority = INFO if one.quality == GOOD else WARNING
    told = f'[diode@32473 quality="{QUALITIES[one.quality]}" sequence="{one.sequence}"]'
    head = f"<{priority}>1 {iso(one.time) or '-'} {host} {app} - - {told} "
    return (head + escape(one.topic) + ": " + escape(one.payload)).encode()


class Sink:
    """Sends messages."""

    bounds = confine.CLIENT
    kept = ()

    def __init__(self, place: Endpoint) -> None:
        place.known("transport", "stale")
        self._place = place
        self._tcp = place.one_of("transport", "udp", "tcp") == "tcp"
        if not (place.host or place.path):
            raise UsageError(
                f"{place.shown}: to whom?", hint="syslog://HOST:514 or syslog:/dev/log"
            )
        self._host = _UNFIT.sub("_", os.uname().nodename) or "-"
        self._socket: socket.socket | None = None

    def open(self, say: Say) -> None:
        """It is connected with the first message."""

    def publish(self, readings: list[Reading]) -> None:
        if self._socket is None:
            self._socket = self._connected()
        try:
            for one in readings:
                data = message(one, self._host)
                if self._tcp:
                    data = b"%d " % len(data) + data
                self._socket.sendall(data)
        except OSError:
            self._socket.close()
            self._socket = None
            raise

    def _connected(self) -> socket.socket:
        place = self._place
        if not place.host:
            one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            one.connect(os.path.abspath(place.path))
            return one
        if self._tcp:
            return socket.create_connection((place.host, place.port or 514), 10)
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_DGRAM)[0]
        one = socket.socket(found[0], socket.SOCK_DGRAM)
        one.connect(found[4])
        return one
