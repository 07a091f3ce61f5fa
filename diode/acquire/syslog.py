"""Syslog messages, RFC 5424 and 3164: `syslog://0.0.0.0:514` (UDP), `syslog:/run/diode/log` (Unix).

A message is a record of the topic `syslog/HOST/APP`, with its bytes as they came as payload,
measured when its time stamp says, if that is one of RFC 5424: those of 3164 have neither year nor
zone. What is no syslog message at all is of the topic `syslog/-/-`. Syslog acknowledges nothing, so
what comes faster than it is taken is dropped, counted and told.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
import time
from typing import TYPE_CHECKING

from diode import confine
from diode.acquire.lines import moment
from diode.errors import CarrierError, UsageError

if TYPE_CHECKING:
    from diode.endpoint import Endpoint
    from diode.service.gathering import Gathering

BUFFER = 1 << 22
"""Bytes of messages that the kernel keeps while this process is busy."""
LONGEST = 65_536
_NEW = re.compile(rb"<[0-9]{1,3}>1 (\S{1,64}) (\S{1,255}) (\S{1,48}) ")
_OLD = re.compile(
    rb"<[0-9]{1,3}>[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} (\S{1,255}) ([^\s:\[]{1,48})[:\[]"
)
_LOCAL = re.compile(rb"<[0-9]{1,3}>[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} ([^\s:\[]{1,48})[:\[]")
"""As the C library writes to a local socket: without a host."""
_UNFIT = re.compile(rb"[^A-Za-z0-9._:@-]")


def parsed(message: bytes) -> tuple[bytes, int | None]:
    """The topic of a message, and its time in nanoseconds since 1970 if it says one."""
    found = _NEW.match(message)
    if found:
        stamp, host, app = found.groups()
        at = None
        with contextlib.suppress(ValueError, OverflowError):
            at = moment(stamp.decode("ascii", "replace"))
        return _topic(host, app), at
    if found := _OLD.match(message):
        return _topic(*found.groups()), None
    if found := _LOCAL.match(message):
        return _topic(b"-", found[1]), None
    return _topic(b"-", b"-"), None


def _topic(host: bytes, app: bytes) -> bytes:
    return b"/".join([b"syslog", _UNFIT.sub(b"_", host)[:100], _UNFIT.sub(b"_", app)])


class Source:
    """Listens for messages."""

    kept = ()

    def __init__(self, place: Endpoint) -> None:
        place.known()
        self._place = place
        self._path = "" if place.host else os.path.abspath(place.path or "")
        self.bounds = confine.CLIENT
        if not place.host:
            folder = os.path.dirname(self._path)
            if not place.path or not os.path.isdir(folder):
                raise UsageError(
                    f"{place.shown}: there is no such folder",
                    hint="syslog://127.0.0.1:5514, or syslog:/run/diode/log",
                )
            self.bounds = confine.Bounds(sends=False, own=(folder,), network=True)

    def prepare(self) -> None:
        """Listen: a confined process makes no sockets in folders."""
        self.listening = self._bound()

    def run(self, gathering: Gathering) -> None:
        gathering.there()
        while True:
            message = self.listening.recv(LONGEST).rstrip(b"\r\n\0")
            topic, at = parsed(message)
            gathering.put(topic, message, time=time.time_ns() if at is None else at)

    def _bound(self) -> socket.socket:
        place = self._place
        one = None
        try:
            if self._path:
                with contextlib.suppress(FileNotFoundError):
                    if stat.S_ISSOCK(os.lstat(self._path).st_mode):
                        os.unlink(self._path)  # of an earlier run
                one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                one.bind(self._path)
                os.chmod(self._path, 0o666)  # noqa: S103  whoever has something to log
            else:
                found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_DGRAM)[0]
                one = socket.socket(found[0], socket.SOCK_DGRAM)
                one.bind(found[4])
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        except OSError as error:
            if one is not None:
                one.close()
            raise CarrierError(error.strerror or "it cannot listen there") from error
        return one
