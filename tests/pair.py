"""A transmitter joined to a receiver through a channel, so that most tests are three lines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from hypothesis import settings as hypothesis_settings

from diode import events, frame, stamp
from diode.admission import Gate, Opener
from diode.assembly import Encloser, Signer
from diode.errors import SourceError
from diode.events import Key
from diode.limits import Limits
from diode.objects import Type
from diode.plan import Link, Settings
from diode.receiver import Receiver
from diode.transmitter import Transmitter

Channel = Callable[[list[np.ndarray]], list[np.ndarray]]


def examples(count: int) -> hypothesis_settings:
    """Hypothesis with that many examples, the same on every run."""
    return hypothesis_settings(max_examples=count, deadline=None, derandomize=True)


class BytesSource:
    """An object in memory."""

    type = Type.FILE

    def __init__(self, content: bytes, name: bytes = b"object", mtime: int | None = None) -> None:
        self.content = content
        self.name = name
        self.size = len(content)
        self.digest = hashlib.sha256(content).digest()
        self.mtime = mtime
        self.fails_at: int | None = None
        self.changed = False
        self.closed = False

    def read(self, offset: int, into: np.ndarray) -> None:
        if self.fails_at is not None and offset + len(into) > self.fails_at:
            raise SourceError("the source broke")
        into[:] = np.frombuffer(self.content, np.uint8)[offset : offset + len(into)]

    def check(self) -> None:
        if self.changed:
            raise SourceError("the source changed")

    def close(self) -> None:
        self.closed = True


def content(size: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def everything(transmitter: Transmitter) -> list[np.ndarray]:
    """All frames a transmitter has to send, one array each."""
    sent = []
    while (frames := transmitter.step(0.0)) is not None:
        sent += [p.copy() for p in frames.pieces()]
    return sent


def transmit(
    *objects: bytes | BytesSource,
    sender: int = 7,
    settings: Settings | None = None,
    link: Link | None = None,
    signer: Signer | None = None,
    encloser: Encloser | None = None,
) -> list[np.ndarray]:
    """The frames of these objects, numbered from 1."""
    keys = {"signer": signer, "encloser": encloser}
    transmitter = Transmitter(sender, settings or Settings(), link or Link(), **keys)
    for number, thing in enumerate(objects, 1):
        source = thing if isinstance(thing, BytesSource) else BytesSource(thing)
        transmitter.add(number, source)
    return everything(transmitter)


class Listener:
    """A receiver with a sink and a store in memory."""

    def __init__(
        self,
        limits: Limits | None = None,
        gate: Gate | None = None,
        opener: Opener | None = None,
    ) -> None:
        self.receiver = Receiver(limits, gate, opener)
        self.delivered: dict[Key, bytes] = {}
        self.events: list[events.Event] = []
        self.parked: dict[tuple[Key, int], dict[int, np.ndarray]] = {}
        self._parts: dict[Key, bytearray] = {}

    def hear(self, frames: list[np.ndarray], batch: int = 64) -> Listener:
        for first in range(0, len(frames), batch):
            rows = frame.Frames.of_pieces(frames[first : first + batch]).rows()
            rows = [r[stamp.check_rows(r)] for r in rows]
            self.take(self.receiver.receive([r for r in rows if len(r)], 0.0))
        return self

    def take(self, happened: list[events.Event]) -> None:
        for event in happened:
            match event:
                case events.ObjectAnnounced(key, manifest):
                    self._parts[key] = bytearray(manifest.size)
                case events.BlockRecovered(key, _, offset, data):
                    self._parts[key][offset : offset + len(data)] = data.tobytes()
                case events.ObjectCompleted(key, manifest):
                    part = bytes(self._parts.pop(key))
                    assert hashlib.sha256(part).digest() == manifest.digest
                    assert key not in self.delivered
                    self.delivered[key] = part
                    self.receiver.finish(key)
                case events.BlockParked(key, block, numbers, symbols):
                    kept = self.parked.setdefault((key, block), {})
                    kept.update(zip(numbers.tolist(), symbols, strict=True))
                case events.BlockWanted(key, block):
                    kept = self.parked[key, block]
                    numbers = np.array(list(kept), np.int64)
                    symbols = np.stack(list(kept.values()))
                    self.take(self.receiver.restore(key, block, numbers, symbols))
            self.events.append(event)

    def of(self, kind: type) -> list:
        return [e for e in self.events if isinstance(e, kind)]


def dropping(share: float, seed: int = 1) -> Channel:
    """Random loss of that share of the frames."""

    def channel(frames: list[np.ndarray]) -> list[np.ndarray]:
        keep = np.random.default_rng(seed).random(len(frames)) >= share
        return [f for f, k in zip(frames, keep, strict=True) if k]

    return channel


def crosses(
    *objects: bytes,
    channel: Channel = lambda frames: frames,
    settings: Settings | None = None,
    link: Link | None = None,
    limits: Limits | None = None,
) -> Listener:
    """Send, damage, hear; assert that every object arrived. Returns the listener."""
    listener = Listener(limits).hear(channel(transmit(*objects, settings=settings, link=link)))
    for number, thing in enumerate(objects, 1):
        assert listener.delivered.get(Key(7, number)) == thing, f"object {number}"
    return listener
