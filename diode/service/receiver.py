"""The receiving loop: carrier -> line -> receiver -> sink.

One thread reads, decodes and stores; `Session.run` returns when the carrier ends, when
enough was delivered, or when nothing was heard for the time allowed.

Trouble with the disk (DestinationError) ends nothing while there is something to hear. An object
that has no room is announced again with its next manifest; a block that cannot be written is
missing again, so that a later pass fills it; an object that is complete waits. Each checkpoint
tries again. The first failure and one a minute are told, all are counted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from diode import events
from diode.admission import Anyone, Gate, NoIdentity, Opener
from diode.errors import DestinationError
from diode.limits import Limits
from diode.ordering import AsTheyCome, GivenUp, Order, Turn
from diode.receiver import Receiver
from diode.sink.trouble import Lost

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
REUSED = (
    "its number was delivered before with other content: was the sender's state restored from a "
    "backup? Remove that state, so that it draws a new identity, and send again"
)
TOLD = 60.0
"""Seconds between two reports of trouble with the disk."""
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

    def trouble(self, error: DestinationError, needed: int, session: Session) -> None:
        """The disk does not take what came; `needed` bytes are still to be written."""

    def notice(self, text: str) -> None:
        """The sink has something to tell."""

    def held(self, key: Key, manifest: Manifest, session: Session) -> None:
        """A whole object waits for those before it."""

    def gave_up(self, gap: GivenUp, session: Session) -> None:
        """Objects that others waited for are waited for no longer."""

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
    gate: Gate = field(default_factory=Anyone)
    opener: Opener = field(default_factory=NoIdentity)
    order: Order = field(default_factory=AsTheyCome)
    receiver: Receiver = field(init=False)
    delivered: int = 0
    refused: int = 0
    known: int = 0
    """Objects heard that had been delivered before."""
    line_bytes: int = 0
    """Bytes heard, of whatever kind."""
    unwritten: int = 0
    """Times that something could not be written."""
    trouble: DestinationError | None = None
    """What the disk said last."""
    homeless: set[Key] = field(default_factory=set)
    """Objects that had no room when they were announced."""
    waiting: dict[Key, Manifest] = field(default_factory=dict)
    """Complete objects that cannot be delivered for now."""
    held: dict[Key, Manifest] = field(default_factory=dict)
    """Complete objects whose turn has not come."""
    stopped: bool = False
    """Whether `stop` was called."""
    started: float = 0.0
    last_frame: float = 0.0
    _checkpoint: float = 0.0
    _silent: set[int] = field(default_factory=set)
    _told: float | None = None
    _stop: Stop = field(default_factory=Stop)

    def __post_init__(self) -> None:
        self.receiver = Receiver(self.limits, self.gate, self.opener)

    def run(self, stop: Stop) -> None:
        """Receive until the carrier ends or `stop` says so; then keep what is unfinished."""
        self._stop = stop
        self.started = self.last_frame = self._checkpoint = self.clock()
        for old in self.sink.unfinished():
            self._act(self.receiver.resume(old.key, old.announcement, old.done, old.parked))
        self._pass_on_notices()
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
            self._keep()

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

    def lost(self, key: Key, why: str) -> None:
        """The disk has lost an unfinished object: its next manifest begins it anew."""
        self.waiting.pop(key, None)
        self.held.pop(key, None)
        incoming = self.receiver.forget(key)
        if incoming is not None:
            self.observer.refused(key, incoming.manifest, why, self)

    def evict(self, key: Key, why: str) -> None:
        """The sink had to drop an unfinished object."""
        self.waiting.pop(key, None)
        self.held.pop(key, None)
        incoming = self.receiver.forget(key)
        if incoming is not None:
            self.refused += 1
            self.observer.refused(key, incoming.manifest, why, self)

    def _enough(self) -> bool:
        idle = self._stop.idle
        silent = idle is not None and self.clock() - self.last_frame >= idle
        return self._counted() or silent or self._turned_away()

    def _turned_away(self) -> bool:
        """Whether too few are left to come: their senders are done and others were refused."""
        if self._stop.count is None or not self._silent or self.receiver.objects:
            return False
        refused = sum(key.sender in self._silent for key in self.receiver.quarantine.keys)
        return self._done + refused >= self._stop.count

    @property
    def _done(self) -> int:
        return self.delivered + self.refused + self.known

    @property
    def unaccepted(self) -> bool:
        """Whether fewer objects came than asked for, and some were refused."""
        count = self._stop.count
        return count is not None and self._done < count and self.receiver.quarantine.total > 0

    def _counted(self) -> bool:
        if self.stopped:
            return True
        # One that waits for room counts: whoever asked for so many is told that there is none.
        return self._stop.count is not None and self._done + len(self.waiting) >= self._stop.count

    def _hear(self, data: bytes) -> None:
        self.line_bytes += len(data)
        array = np.frombuffer(data, np.uint8)
        for start in range(0, len(array), PIECE):
            self._take(self.line.feed(array[start : start + PIECE]))
        now = self.clock()
        if now - self._checkpoint >= CHECKPOINT:
            self._checkpoint = now
            self._keep()

    def _keep(self) -> None:
        """A checkpoint: what came since the last one goes to disk, what waits is tried again."""
        for saved in self.receiver.save():
            try:
                self.sink.park(saved.key, saved.block, saved.numbers, saved.symbols)
            except DestinationError as error:
                self.receiver.unsave(saved.key, saved.block)
                self._troubled(error)
                break  # and what else came stays in memory until the next checkpoint
        try:
            self.sink.checkpoint()
            for key, manifest in list(self.waiting.items()):
                self._deliver(key, manifest)
                self._release(key.sender)
            for gap in self.order.overdue(self.clock()):
                self.sink.give_up(*gap)
                self.observer.gave_up(gap, self)
                self._release(gap.sender)
        except DestinationError as error:
            self._troubled(error)
        self._pass_on_notices()

    def _pass_on_notices(self) -> None:
        while self.sink.notices:
            self.observer.notice(self.sink.notices.pop(0))

    def _troubled(self, error: DestinationError) -> None:
        self.unwritten += 1
        self.trouble = error
        now = self.clock()
        if self._told is None or now - self._told >= TOLD:
            self._told = now
            self.observer.trouble(error, self.needed, self)

    @property
    def no_room(self) -> bool:
        """Whether something is not delivered because of trouble with the disk."""
        return bool(self.waiting or self.homeless or (self.unwritten and self.short()))

    @property
    def needed(self) -> int:
        """Bytes that the objects known so far still want to write, at least."""
        return sum(
            max(0, i.manifest.size - i.collector.done_count * i.collector.geometry.block_data)
            for i in self.receiver.objects.values()
        )

    def _take(self, batches: list[U8]) -> None:
        if batches:
            self._act(self.receiver.receive(batches, self.clock()))
            self.last_frame = self.clock()  # a slow disk is no silence of the line

    def _act(self, happened: Iterable[events.Event]) -> None:
        """Carry out what the receiver's events ask of the sink."""
        for event in happened:
            try:
                told = self._carry_out(event)
            except DestinationError as error:
                told = self._put_off(event, error)
            if told:
                self.observer.event(event, self)

    def _put_off(self, event: events.Event, error: DestinationError) -> bool:
        """The disk did not take it: see to it that it comes again."""
        self._troubled(error)
        match event:
            case events.ObjectAnnounced(key):
                self.receiver.forget(key)  # its next manifest announces it again
                if len(self.homeless) < self.limits.objects:
                    self.homeless.add(key)
                return False
            case events.BlockRecovered(key, block):
                self.receiver.begin_anew(key, [block])
            case _:
                pass
        return True

    def _carry_out(self, event: events.Event) -> bool:  # noqa: C901  a table of events
        """Do what one event asks of the sink; whether the observer should hear of it."""
        match event:
            case events.ObjectAnnounced(key, manifest, announcement):
                if not self.sink.announce(key, manifest, announcement):
                    self.receiver.finish(key)
                    self._heard_before(key, manifest)
                    self.order.settled(key)
                    self._release(key.sender)
                    return False
                self.homeless.discard(key)
            case events.BlockRecovered(key, block, offset, data):
                self.sink.write(key, block, offset, data)
            case events.BlockParked(key, block, numbers, symbols):
                self.sink.park(key, block, numbers, symbols)
            case events.BlockWanted(key, block):
                self._act(self.receiver.restore(key, block, *self.sink.parked(key, block)))
            case events.ObjectCompleted(key, manifest):
                incoming = self.receiver.objects.get(key)
                if incoming is not None and incoming.collector.complete and not self._counted():
                    self._complete(key, manifest)
            case events.ObjectEvicted(key, manifest):
                self.waiting.pop(key, None)
                self.sink.discard(key)
                self.refused += 1
                self.observer.refused(key, manifest, "too many unfinished objects", self)
            case events.ObjectVoided(key, manifest):
                self.waiting.pop(key, None)
                self.sink.void(key, manifest)
                self.refused += 1
                self.observer.refused(key, manifest, "void: its source failed", self)
                self.order.settled(key)
                self._release(key.sender)
            case events.SenderFellSilent(sender):
                self._silent = {s for s in self._silent if s in self.receiver.senders}
                self._silent.add(sender)
        return True

    def _heard_before(self, key: Key, manifest: Manifest) -> None:
        if self.sink.contradicts(key, manifest):
            self.refused += 1
            self.observer.refused(key, manifest, REUSED, self)
        else:
            self.known += 1
            self.observer.known(key, manifest, self)

    def _complete(self, key: Key, manifest: Manifest) -> None:
        """Deliver a whole object if it is its turn, and then those that waited for it."""
        lowest = min(k.number for k in self.receiver.objects if k.sender == key.sender)
        match self.order.turn(key, lowest, self.clock()):
            case Turn.HELD:
                if key not in self.held:
                    self.held[key] = manifest
                    self.observer.held(key, manifest, self)
            case Turn.LATE:
                self.sink.discard(key)
                self.receiver.finish(key)
                self.refused += 1
                self.observer.refused(key, manifest, "out of order: later ones came before", self)
            case Turn.DUE:
                self._deliver(key, manifest)
                self._release(key.sender)

    def _release(self, sender: int) -> None:
        """Deliver held objects of a sender as long as it is their turn."""
        while (key := self.order.due(sender)) is not None:
            manifest = self.held.pop(key, None)
            if manifest is not None:
                self._deliver(key, manifest)

    def _deliver(self, key: Key, manifest: Manifest) -> None:
        try:
            result = self.sink.deliver(key, manifest)
        except Lost as error:
            self._troubled(error)
            self.lost(key, str(error))
            return
        except DestinationError as error:
            self.waiting[key] = manifest
            self._troubled(error)
            return
        self.waiting.pop(key, None)
        if isinstance(result, list):
            self.receiver.begin_anew(key, result)
            self.observer.refused(key, manifest, "digest", self)
            return
        self.delivered += 1
        self.observer.delivered(key, manifest, result, self)
        self.receiver.finish(key)
        self.order.settled(key)
