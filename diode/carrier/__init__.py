"""Carriers: the media that bytes travel on, opened by URL.

    serial:/dev/ttyUSB0?baud=115200&reopen=30     a serial line, 8N1
    file:PATH?append=1&rate=115200                raw line bytes in a file
    -?rate=115200                                 raw line bytes on stdout or stdin
    wav:PATH?modem=bell202                        sound in a file
    pcm:-?modem=bell202&format=s16le&rate=48000   sound as raw samples on stdout or stdin
    audio:?device=NAME&modem=cable                sound, live, on a sound card
    udp://HOST:PORT?rate=900M&mtu=1500            datagrams over one fibre strand

A carrier has one direction, and its type says so: `SendingCarrier` has no way to read and
`ReceivingCarrier` none to write, down to the mode of the descriptor beneath. A sending
carrier is told where frames end, because some media (datagrams) need to know; byte media
ignore it, and the line (line/) finds the frames again.

Sending carriers own the pacing: `write` blocks until the medium may have more, so that
at most about 50 ms of line time are ever out of the sender's hands (pace.py). `rate=` is in
bits per second, in the sound carriers (sound.py) samples per second; `rate` attributes are
bytes per second.

A member of the family is a module that offers KEYS, `facts`, `sending` and `receiving`
(`Member`), and a line in `CARRIERS`. Modules are imported when their scheme is used: a
sender on a pipe loads no serial code.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

from diode.carrier.url import CarrierFacts, CarrierUrl

if TYPE_CHECKING:
    from diode.carrier.pace import Clock, Sleep
    from diode.frame import Frames

__all__ = [
    "CARRIERS",
    "CarrierFacts",
    "CarrierUrl",
    "IntoCarrier",
    "Notice",
    "ReceivingCarrier",
    "SendingCarrier",
    "facts",
    "open_receiving",
    "open_sending",
    "parse",
]

Notice = Callable[[str], None]
"""Takes a sentence that the operator should see: a rounded baud rate, an adapter gone."""

CARRIERS = {
    "serial": "diode.carrier.serial",
    "file": "diode.carrier.file",
    "wav": "diode.carrier.wav",
    "pcm": "diode.carrier.pcm",
    "audio": "diode.carrier.audio",
    "udp": "diode.carrier.udp",
    "-": "diode.carrier.pipe",
}
"""Scheme to module."""


class SendingCarrier(Protocol):
    """A medium to transmit on."""

    rate: float | None
    """Bytes per second of line time; None: as fast as it goes."""

    def write(self, pieces: Frames) -> None:
        """Hand over line bytes; blocks for pacing. `ends` says where frames end on the line."""

    def drain(self) -> None:
        """Return when the last byte has left the kernel, as far as the platform tells."""

    def close(self) -> None:
        """Let go of the medium, without waiting. A second call does nothing."""


class ReceivingCarrier(Protocol):
    """A medium to listen to. One of sound also has `heard` (modem/hearing.py), one
    that counts what the medium or the kernel lost `counts`, by names of the `link` event.
    """

    rate: float | None
    """Bytes per second of line time; None when it has none."""

    def read(self, timeout: float | None) -> bytes | Frames | None:
        """What has arrived, at least one byte, once there is some; of datagrams, as pieces.

        b'' means that the carrier has ended, None that nothing came within `timeout` seconds
        (timeout None: wait without end).
        """

    def close(self) -> None:
        """Let go of the medium. A second call does nothing."""


ROOM = 1 << 16
"""Bytes that a carrier may want to read at once, at most."""


class IntoCarrier(ReceivingCarrier, Protocol):
    """A medium that reads straight into memory that is shared with another process (separate.py).

    For media that are so fast that a copy counts. Who has the method is known by it.
    """

    def read_into(self, room: memoryview, timeout: float | None) -> tuple[int, int] | None:
        """Read what has arrived into `room`: (bytes, piece). As `read`, None after the timeout,
        and (0, 0) at the end.

        piece: 0 for a stretch of a byte stream; else the size of the datagrams that stand there
        one behind the other, of which the last may be shorter. `room` has ROOM bytes or more.
        """


class Member(Protocol):
    """What a module in `CARRIERS` offers."""

    KEYS: frozenset[str]
    """The query keys it knows."""

    def facts(self, url: CarrierUrl) -> CarrierFacts: ...

    def sending(
        self, url: CarrierUrl, *, notice: Notice, clock: Clock, sleep: Sleep
    ) -> SendingCarrier: ...

    def receiving(
        self, url: CarrierUrl, *, notice: Notice, clock: Clock, sleep: Sleep
    ) -> ReceivingCarrier: ...


_log = logging.getLogger(__name__).warning


def parse(text: str) -> CarrierUrl:
    """A carrier URL taken apart and checked, all but the values; UsageError when it is wrong."""
    url = CarrierUrl.parse(text, CARRIERS)
    url.only(_member(url).KEYS)
    return url


def facts(url: str) -> CarrierFacts:
    """What the URL says about the carrier, without opening it. UsageError as `parse`."""
    parsed = parse(url)
    return _member(parsed).facts(parsed)


def open_sending(
    url: str,
    *,
    impair: str | None = None,
    lane: int = 0,
    notice: Notice = _log,
    clock: Clock = time.monotonic,
    sleep: Sleep = time.sleep,
) -> SendingCarrier:
    """Open a carrier for transmission, damaged by `impair` (impairment.py) if given.

    lane: which of several it is, so that not all have the same damage at the same time.
    Raises UsageError for a URL or a specification that is wrong, CarrierError when the
    carrier cannot be opened.
    """
    parsed = parse(url)
    if impair is None:
        return _member(parsed).sending(parsed, notice=notice, clock=clock, sleep=sleep)
    from diode.carrier.impaired import ImpairedSender, Impairment  # noqa: PLC0415 - test gear

    impairment = Impairment.parse(impair).of_lane(lane)
    carrier = _member(parsed).sending(parsed, notice=notice, clock=clock, sleep=sleep)
    return ImpairedSender(carrier, impairment)


def open_receiving(
    url: str,
    *,
    impair: str | None = None,
    lane: int = 0,
    notice: Notice = _log,
    clock: Clock = time.monotonic,
    sleep: Sleep = time.sleep,
) -> ReceivingCarrier:
    """Open a carrier for reception; otherwise as `open_sending`."""
    parsed = parse(url)
    if impair is None:
        return _member(parsed).receiving(parsed, notice=notice, clock=clock, sleep=sleep)
    from diode.carrier.impaired import ImpairedReceiver, Impairment  # noqa: PLC0415 - test gear

    impairment = Impairment.parse(impair).of_lane(lane)
    carrier = _member(parsed).receiving(parsed, notice=notice, clock=clock, sleep=sleep)
    datagrams = _member(parsed).facts(parsed).kind == "datagrams"
    return ImpairedReceiver(carrier, impairment, datagrams=datagrams, clock=clock)


def _member(url: CarrierUrl) -> Member:
    return cast("Member", importlib.import_module(CARRIERS[url.scheme]))
