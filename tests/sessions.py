"""A session of receiving in memory: pieces of line in, what the observer was told out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pair import BytesSource, content, everything

from diode import events, line
from diode.errors import DestinationError
from diode.events import Key
from diode.frame import Frames
from diode.incoming import Incoming
from diode.limits import Limits
from diode.objects import Manifest
from diode.ordering import GivenUp
from diode.plan import Link, Settings
from diode.seal import SecretKey
from diode.service.receiver import Session, Stop
from diode.sink import Delivered, Unpacked
from diode.sink.folder import Inbox
from diode.sink.stream import Output
from diode.transmitter import Transmitter

SMALL = Settings(symbol_size=64)
BIG = content(200_000)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Carrier:
    """Gives what is put in, piece by piece; None lets time pass, and the end is the end."""

    def __init__(self, pieces: Iterable[bytes | float | None], clock: Clock) -> None:
        self._pieces = iter(pieces)
        self._clock = clock
        self.asked: list[float | None] = []
        self.rate = None

    def read(self, timeout: float | None) -> bytes | None:
        self.asked.append(timeout)
        piece = next(self._pieces, b"")
        if isinstance(piece, float):
            self._clock.now += piece
            return self.read(timeout)
        if piece is None:
            self._clock.now += timeout or 0.0
        return piece

    def close(self) -> None: ...


class Observer:
    """Writes everything down."""

    def __init__(self) -> None:
        self.said: list[tuple] = []
        self.events: list[events.Event] = []
        self.ticks = 0

    def event(self, event: events.Event, session: Session) -> None:
        self.events.append(event)

    def delivered(self, key: Key, incoming: Incoming, how: Delivered, session: Session) -> None:
        assert incoming.manifest.size >= 0, "what is known of it may still be told"
        self.said.append(("delivered", key.number, how.path))

    def unpacked(self, key: Key, incoming: Incoming, how: Unpacked, session: Session) -> None:
        self.said.append(("unpacked", key.number, [where.path for _, where in how.files]))

    def known(self, key: Key, manifest: Manifest, session: Session) -> None:
        self.said.append(("known", key.number))

    def refused(self, key: Key, manifest: Manifest, why: str, session: Session) -> None:
        self.said.append(("refused", key.number, why))

    def trouble(self, error: DestinationError, needed: int, session: Session) -> None:
        self.said.append(("trouble", str(error), needed))

    def notice(self, text: str) -> None:
        self.said.append(("notice", text))

    def held(self, key: Key, manifest: Manifest, session: Session) -> None:
        self.said.append(("held", key.number))

    def gave_up(self, gap: GivenUp, session: Session) -> None:
        self.said.append(("gave up", gap.first, gap.last))

    def tick(self, session: Session) -> None:
        self.ticks += 1


def on_line(frames: list[np.ndarray]) -> bytes:
    return bytes(line.encoder("cobs").encode(Frames.of_pieces(frames)).data)


def capture(
    *objects: bytes | BytesSource,
    settings: Settings = SMALL,
    first: int = 1,
    signer: SecretKey | None = None,
) -> bytes:
    """The line's bytes of these objects."""
    transmitter = Transmitter(7, settings, Link(), highest_number=first - 1, signer=signer)
    for number, thing in enumerate(objects, first):
        source = thing if isinstance(thing, BytesSource) else BytesSource(thing, b"%d" % number)
        transmitter.add(number, source)
    return on_line(everything(transmitter))


def cut(data: bytes, size: int = 5000) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def mixed(data: bytes, count: int) -> list[bytes]:
    """The frames out of order, so that all blocks are begun; `count` in a piece."""
    frames = [frame + b"\0" for frame in data.split(b"\0")]
    order = np.random.default_rng(1).permutation(len(frames))
    rest = [frames[index] for index in order]
    return [b"".join(frames[:8])] + [
        b"".join(rest[at : at + count]) for at in range(0, len(rest), count)
    ]


def session_of(
    sink: Inbox | Output, *pieces: bytes | float | None, limits: Limits | None = None
) -> Session:
    clock = Clock()
    made = Session(
        Carrier(pieces, clock),
        line.decoder("cobs"),
        sink,
        Observer(),
        limits or Limits(),
        clock=clock,
    )
    sink.evicted = made.deliveries.evicted
    return made


def run(session: Session, **stop: float | None) -> list[tuple]:
    session.run(Stop(**stop))
    return session.observer.said
