"""The receiving loop: carrier -> line -> receiver -> sink.

One thread reads, decodes and stores; `Session.run` returns when the carrier ends, when
enough was delivered, or when nothing was heard for the time allowed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from diode import events
from diode.limits import Limits
from diode.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from diode.carrier import ReceivingCarrier
    from diode.events import Key
    from diode.frame import U8
    from diode.line import Decoder
    from diode.objects import Manifest
    from diode.sink import Delivered, Sink

PIECE = 1 << 18
"""Bytes of line handled at a time: what fits a processor's cache is fastest."""
CHECKPOINT = 1.0
"""Seconds between two checkpoints of unfinished objects."""
WAIT = 0.5


class Observer(Protocol):
    """Is told what happens, to show or to log it."""

    def event(self, event: events.Event, session: Session) -> None:
        """Something the receiver saw."""

    def delivered(self, key: Key, manifest: Manifest, how: Delivered, session: Session) -> None:
        """An object is in its place."""

    def known(self, key: Key, manifest: Manifest, session: Session) -> None:
        """An object is heard again that was delivered before."""

    def refused(self, key: Key, manifest: Manifest, why: str, session: Session) -> None:
        """An object will not be delivered, or must come again."""

    def tick(self, session: Session) -> None:
        """Some bytes, or some time, have passed."""


@dataclass(frozen=True, slots=True)
class Short:
    """An object that is not whole at the end of a session."""

    key: Key
    manifest: Manifest
    blocks_short: int
    blocks: int


@dataclass(slots=True)
class Stop:
    """When a session ends, besides the end of its carrier."""

    count: int | None = None
    idle: float | None = None


@dataclass(slots=True)
class Session:
    """One run of a receiver."""

    carrier: ReceivingCarrier
    line: Decoder
    sink: Sink
    observer: Observer
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], float] = time.monotonic
    receiver: Receiver = field(init=False)
    delivered: int = 0
    refused: int = 0
    known: int = 0
    """Objects heard that had been delivered before."""
    line_bytes: int = 0
    """Bytes heard, of whatever kind."""
    stopped: bool = False
    """Whether `stop` was called."""
    started: float = 0.0
    last_frame: float = 0.0
    _checkpoint: float = 0.0
    _stop: Stop = field(default_factory=Stop)

    def __post_init__(self) -> None:
        self.receiver = Receiver(self.limits)

    def run(self, stop: Stop) -> None:
        """Receive until the carrier ends or `stop` says so; then keep what is unfinished."""
        self._stop = stop
        self.started = self.last_frame = self._checkpoint = self.clock()
        for old in self.sink.unfinished():
            self._act(self.receiver.resume(old.key, old.announcement, old.done, old.parked))
        try:
            while not self._enough():
                data = self.carrier.read(WAIT if stop.idle is None else min(WAIT, stop.idle))
                if data == b"":
                    self._take(self.line.flush())
                    break
                self._hear(data or b"")
                self.observer.tick(self)
        finally:
            self._act(self.receiver.park_all())
            self.sink.checkpoint()

    def stop(self) -> None:
        """Make `run` return soon, with everything in order. May be called by a signal handler."""
        self.stopped = True

    def short(self) -> list[Short]:
        """Objects announced and not whole."""
        return [
            Short(
                key,
                incoming.manifest,
                incoming.collector.geometry.blocks - incoming.collector.done_count,
                incoming.collector.geometry.blocks,
            )
            for key, incoming in self.receiver.objects.items()
            if not incoming.collector.complete  # beyond the count asked for: of the next run
        ]

    def evict(self, key: Key, why: str) -> None:
        """The sink had to drop an unfinished object."""
        incoming = self.receiver.forget(key)
        if incoming is not None:
            self.refused += 1
            self.observer.refused(key, incoming.manifest, why, self)

    def _enough(self) -> bool:
        idle = self._stop.idle
        return self._counted() or (idle is not None and self.clock() - self.last_frame >= idle)

    def _counted(self) -> bool:
        if self.stopped:
            return True
        done = self.delivered + self.refused + self.known
        return self._stop.count is not None and done >= self._stop.count

    def _hear(self, data: bytes) -> None:
        self.line_bytes += len(data)
        array = np.frombuffer(data, np.uint8)
        for start in range(0, len(array), PIECE):
            self._take(self.line.feed(array[start : start + PIECE]))
        now = self.clock()
        if now - self._checkpoint >= CHECKPOINT:
            self._checkpoint = now
            self.sink.checkpoint()

    def _take(self, batches: list[U8]) -> None:
        if batches:
            self._act(self.receiver.receive(batches, self.clock()))
            self.last_frame = self.clock()  # a slow disk is no silence of the line

    def _act(self, happened: Iterable[events.Event]) -> None:  # noqa: C901  a table of events
        """Carry out what the receiver's events ask of the sink."""
        for event in happened:
            match event:
                case events.ObjectAnnounced(key, manifest, announcement):
                    if not self.sink.announce(key, manifest, announcement):
                        self.receiver.finish(key)
                        self.known += 1
                        self.observer.known(key, manifest, self)
                        continue
                case events.BlockRecovered(key, block, offset, data):
                    self.sink.write(key, block, offset, data)
                case events.BlockParked(key, block, numbers, symbols):
                    self.sink.park(key, block, numbers, symbols)
                case events.BlockWanted(key, block):
                    self._act(self.receiver.restore(key, block, *self.sink.parked(key, block)))
                case events.ObjectCompleted(key, manifest):
                    if key in self.receiver.objects and not self._counted():
                        self._deliver(key, manifest)
                case events.ObjectEvicted(key, manifest):
                    self.sink.discard(key)
                    self.refused += 1
                    self.observer.refused(key, manifest, "too many unfinished objects", self)
                case events.ObjectVoided(key, manifest):
                    self.sink.void(key, manifest)
                    self.refused += 1
                    self.observer.refused(key, manifest, "void: its source failed", self)
            self.observer.event(event, self)

    def _deliver(self, key: Key, manifest: Manifest) -> None:
        result = self.sink.deliver(key, manifest)
        if isinstance(result, list):
            self.receiver.begin_anew(key, result)
            self.observer.refused(key, manifest, "digest", self)
            return
        self.delivered += 1
        self.observer.delivered(key, manifest, result, self)
        self.receiver.finish(key)
